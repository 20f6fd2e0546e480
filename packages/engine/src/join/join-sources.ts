import { backoffMs, systemClock, unlessAborted, isCairnError, LastKnown } from "@cairn/kv";
import { CHECKPOINT_PREFIX, type CheckpointStore } from "@cairn/checkpoint";
import { madeOnce } from "@cairn/text";
import type { LogHistory } from "../backup/log-with-backup.ts";
import type { TxLog } from "../log/tx-log.ts";

/** The pauses between checks, which grow because each check lists every store. */
const PAUSES = { firstMs: 1_000, maxMs: 15_000 };

const STORE_LIMIT_MS = 5_000;

/** A node that could not join waits for a change of its sources, because each attempt may spend hours on a restore. */
export class JoinSources {
  readonly #log: TxLog;
  readonly #first: LastKnown<number>;
  readonly #contents: LastKnown<string>;
  /** What a store last held stays valid while it is away: its absence is no change, and must not hide others. */
  readonly #stored = new Map<CheckpointStore, LastKnown<string>>();
  #seen = "";

  /** `history` is the log combined with its backups. */
  constructor(log: TxLog, history: LogHistory) {
    this.#log = log;
    this.#first = new LastKnown(async () => (await history.bounds()).first, STORE_LIMIT_MS);
    this.#contents = new LastKnown(async () => (await history.contents?.()) ?? "", STORE_LIMIT_MS);
  }

  /**
   * Resolves when the log, its first message, the segments of its backup or the checkpoints in `stores` have changed
   * since the last check, or when `signal` is aborted. A store that does not respond counts as unchanged.
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

  /** Describes the sources; undefined if the log does not respond, or `signal` is aborted first. */
  async #look(stores: readonly CheckpointStore[], signal: AbortSignal): Promise<string | undefined> {
    try {
      return await unlessAborted(this.#describe(stores), signal);
    } catch (error) {
      if (signal.aborted || isCairnError(error)) return undefined;
      throw error;
    }
  }

  async #describe(stores: readonly CheckpointStore[]): Promise<string> {
    const listings = stores.map(async (store) => {
      const known = madeOnce(this.#stored, store, () => new LastKnown(() => listed(store), STORE_LIMIT_MS));
      return await known.current();
    });
    return (await Promise.all([this.#lookAtLog(), ...listings])).join("\n");
  }

  async #lookAtLog(): Promise<string> {
    if (!(await this.#log.exists())) return "no log";
    const [id, { first }] = [await this.#log.id(), await this.#log.bounds()];
    // Both of these wait for the stores that contain backups.
    const [readable, contents] = await Promise.all([this.#first.current(), this.#contents.current()]);
    return `log ${id} ${first} ${readable} ${contents}`;
  }
}

async function listed(store: CheckpointStore): Promise<string> {
  const files = await store.list(CHECKPOINT_PREFIX);
  return files
    .map(({ name, bytes, modifiedAt }) => `${store.location} ${name} ${bytes} ${modifiedAt}`)
    .join("\n");
}
