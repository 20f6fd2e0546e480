import type { Phase } from "@cairn/client";
import type { CairnError } from "@cairn/kv";
import type { IndexPosition } from "../index/index-position.ts";
import type { IndexStore } from "../index/index-store.ts";
import type { TxLog } from "../log/tx-log.ts";

/** The view of this node that comparisons use: its current index and log, and its reactions to a wrong index. */
export interface ComparedNode {
  readonly phase: Phase;
  readonly failure: CairnError | undefined;
  readonly log: TxLog | undefined;
  readonly index: IndexStore | undefined;
  readonly position: Pick<IndexPosition, "reached">;
  /** True if the index was found to agree with the log and has not been put in doubt since then. */
  readonly agrees: boolean;
  /** Reports an error that occurred while `index` was in use. */
  suspect(index: IndexStore, error: unknown): void;
  /** `live` is the replacement's folder, if any. Returns false if there is none, or if the index was left before. */
  replace(index: IndexStore, error: CairnError, live: string | undefined): boolean;
  /** Permanently stops serving an index, because it is impossible to decide whether the index is right. */
  halt(index: IndexStore, error: CairnError): void;
}
