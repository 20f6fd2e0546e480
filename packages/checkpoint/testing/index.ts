export { checkpointStoreSuite } from "./checkpoint-store-suite.ts";
export type { CheckpointStoreSuite } from "./checkpoint-store-suite.ts";
export { encryptionWith, keyFile, newIdentity } from "./encryption-keys.ts";
export { faultyStore, unreachable } from "./faulty-store.ts";
export type { StoreCall, StoreFaults } from "./faulty-store.ts";
export { memoryStore } from "./memory-store.ts";
export { manualClock } from "./manual-clock.ts";
export type { ManualClock } from "./manual-clock.ts";
export { beginLife } from "./simulation/node-life.ts";
export type { NodeLife } from "./simulation/node-life.ts";
export { seededRandom } from "./simulation/seeded-random.ts";
export type { SeededRandom } from "./simulation/seeded-random.ts";
export { transportOf } from "./simulation/simulated-network.ts";
export type { Network } from "./simulation/simulated-network.ts";
export { simulatedStore } from "./simulation/simulated-store.ts";
export type {
  RequestKind,
  SimulatedFile,
  StoreContents,
  StoreWatcher,
  Transport,
} from "./simulation/simulated-store.ts";
export { drawChart } from "./simulation/svg-chart.ts";
export type { Chart, Panel, Series } from "./simulation/svg-chart.ts";
export { virtualTime } from "./simulation/virtual-time.ts";
export type { VirtualTime } from "./simulation/virtual-time.ts";
