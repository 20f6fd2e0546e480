export { commitSeed } from "./commit-seed.ts";
export { kvStoreSuite } from "./kv-store-suite.ts";
export type { KvStoreSuiteOptions } from "./kv-store-suite.ts";
export { ALONE, filesWith, token } from "./kv-purge-suite.ts";
export { CountedWriter, countedBatch, countedRow, expectWhole } from "./counted-rows.ts";
