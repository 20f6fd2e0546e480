import { memoryProvider } from "../src/memory-kv-store.ts";
import { kvStoreSuite } from "../testing/kv-store-suite.ts";

kvStoreSuite("memory", { provider: memoryProvider() });
