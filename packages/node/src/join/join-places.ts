import { CHECKPOINT_PREFIX, type CheckpointStore, type Clock, systemClock } from "@cairn/checkpoint";
import { backoffMs, isCairnError } from "@cairn/kv";
import type { TxLog } from "../log/tx-log.ts";

/** A look lists each store once. */
const PAUSES = { firstMs: 1_000, maxMs: 15_000 };

/**
 * Where a node that could not join looks again: nothing is restored, which may take hours, before there is something else to join from than
 * at the last time.
 */
export class JoinPlaces {
  readonly #log: TxLog;
  readonly #clock: Clock;
  #seen = "";

  constructor(log: TxLog, clock = systemClock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Resolves when the checkpoints in the stores, the log, or its beginning, are not what they were, or `signal` is aborted. */
  async changed(stores: readonly CheckpointStore[], signal: AbortSignal): Promise<void> {
    for (let looks = 0; await this.#clock.wait(backoffMs(looks, PAUSES), signal); looks += 1) {
      const found = await this.#look(stores);
      if (found !== undefined && found !== this.#seen) {
        this.#seen = found;
        return;
      }
    }
  }

  async #lookAtLog(): Promise<string> {
    if (!(await this.#log.exists())) return "no log";
    const { first } = await this.#log.bounds();
    return `log ${await this.#log.id()} ${first}`;
  }

  /** All that there is, as text; undefined where somebody does not answer. */
  async #look(stores: readonly CheckpointStore[]): Promise<string | undefined> {
    try {
      const lines = [await this.#lookAtLog()];
      for (const store of stores) {
        for (const { name, bytes, modifiedAt } of await store.list(CHECKPOINT_PREFIX)) {
          lines.push(`${store.location} ${name} ${bytes} ${modifiedAt}`);
        }
      }
      return lines.join("\n");
    } catch (error) {
      if (isCairnError(error)) return undefined;
      throw error;
    }
  }
}
