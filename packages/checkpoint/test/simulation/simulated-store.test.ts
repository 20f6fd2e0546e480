import { checkpointStoreSuite } from "../../testing/index.ts";
import { simulatedStore } from "../../testing/simulation/simulated-store.ts";
import type { StoreContents, Transport } from "../../testing/simulation/simulated-store.ts";

/** A transport that always reaches the store immediately. */
const DIRECT: Transport = {
  request: async (_, work) => work(),
  transfer: async () => undefined,
};

for (const exclusive of [true, false]) {
  const contents = (): StoreContents => ({
    files: new Map(),
    now: Date.now,
    exclusive,
    atomic: exclusive,
    writes: 0,
  });
  checkpointStoreSuite(`a simulated store, ${exclusive ? "exclusive" : "not exclusive"}, without faults`, {
    open: async () => simulatedStore(contents(), DIRECT),
  });
}
