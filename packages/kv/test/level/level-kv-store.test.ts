import { levelProvider } from "../../src/level/level-kv-store.ts";
import { kvStoreSuite } from "../../testing/kv-store-suite.ts";

kvStoreSuite("LevelDB", { provider: levelProvider() });
