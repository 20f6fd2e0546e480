import {
  backoffMs,
  CHECKPOINT_PREFIX,
  type CheckpointStore,
  systemClock,
  unlessAborted,
} from "@cairn/checkpoint";
import { isCairnError } from "@cairn/kv";
import type { TxLog } from "../log/tx-log.ts";

/** The pauses between checks, which grow because each check lists every store. */
const PAUSES = { firstMs: 1_000, maxMs: 15_000 };

/**
 * The sources from which a node could join: its log and the checkpoints in its stores. A node that could not join waits for these to
 * change, because each attempt may spend hours on restoring a checkpoint.
 */
export class JoinSources {
  readonly #log: TxLog;
  /** The result of the last check, as a string. */
  #seen = "";

  constructor(log: TxLog) {
    this.#log = log;
  }

  /**
   * Resolves when the log, its first message, the segments of its backup or the checkpoints in `stores` have changed
   * since the last check, or when `signal` is aborted.
   */
  async changed(stores: readonly CheckpointStore[], signal: AbortSignal): Promise<void> {
    for (let looks = 0; await systemClock.wait(backoffMs(looks, PAUSES), signal); looks += 1) {
      const found = await this.#look(stores, signal);
      if (found !== undefined && found !== this.#seen) {
        this.#seen = found;
        return;
      }
    }
  }

  /**
   * Returns the current state of the sources as a string; undefined if the log or a store does not respond, or `signal`
   * is aborted first.
   */
  async #look(stores: readonly CheckpointStore[], signal: AbortSignal): Promise<string | undefined> {
    try {
      return await unlessAborted(this.#describe(stores), signal);
    } catch (error) {
      if (signal.aborted || isCairnError(error)) return undefined;
      throw error;
    }
  }

  async #describe(stores: readonly CheckpointStore[]): Promise<string> {
    const lines = [await this.#lookAtLog()];
    for (const store of stores) {
      for (const { name, bytes, modifiedAt } of await store.list(CHECKPOINT_PREFIX)) {
        lines.push(`${store.location} ${name} ${bytes} ${modifiedAt}`);
      }
    }
    return lines.join("\n");
  }

  async #lookAtLog(): Promise<string> {
    if (!(await this.#log.exists())) return "no log";
    const { first } = await this.#log.bounds();
    return `log ${await this.#log.id()} ${first} ${(await this.#log.contents?.()) ?? ""}`;
  }
}
