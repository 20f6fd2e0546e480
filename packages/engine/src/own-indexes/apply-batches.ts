import { Semaphore } from "@cairn/kv";
import type { TxId } from "@cairn/client";
import type { IndexThread } from "./index-thread.ts";
import type { FedBatch } from "./state-feed.ts";

/** The number of batches that an index may have been sent and not applied. */
const MAX_BATCHES = 4;

interface AppliedBatches {
  /** Called when the index contains everything up to a transaction. */
  onApplied(txId: TxId): void;
  /** Called with whether the index has everything that it could have, whenever that may have changed. */
  onState(isLive: boolean): void;
  /** Called when a batch could not be applied. The batches are then to end. */
  onError(error: unknown): void;
}

/** Applies batches until they end. `batches` gets a function to call with whether they are of the present. */
export async function applyBatches(
  thread: Pick<IndexThread, "apply">,
  batches: (onLive: (isLive: boolean) => void) => AsyncIterable<FedBatch>,
  { onApplied, onState, onError }: AppliedBatches,
): Promise<void> {
  const slots = new Semaphore(MAX_BATCHES);
  let sent = 0;
  let isFedLive = false;
  const apply = async (batch: FedBatch, done: () => void): Promise<void> => {
    try {
      await thread.apply(batch);
      sent -= 1;
      if (batch.complete) onApplied(batch.txId);
      if (sent === 0) onState(isFedLive);
    } catch (error) {
      onError(error);
    } finally {
      done();
    }
  };
  const onLive = (isLive: boolean): void => {
    isFedLive = isLive;
    if (!isLive || sent === 0) onState(isLive);
  };
  for await (const batch of batches(onLive)) {
    const done = await slots.acquire();
    sent += 1;
    void apply(batch, done);
  }
}
