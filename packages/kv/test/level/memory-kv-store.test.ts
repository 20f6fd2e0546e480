import { memoryProvider } from "../../src/level/memory-kv-store.ts";
import { kvStoreSuite } from "../../testing/kv-store-suite.ts";

kvStoreSuite("memory", { provider: memoryProvider() });
