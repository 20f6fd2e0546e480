export { checkpointStoreSuite } from "./checkpoint-store-suite.ts";
export type { CheckpointStoreSuite } from "./checkpoint-store-suite.ts";
export { faultyStore, unreachable } from "./faulty-store.ts";
export type { StoreCall, StoreFaults } from "./faulty-store.ts";
export { manualClock } from "./manual-clock.ts";
export type { ManualClock } from "./manual-clock.ts";
