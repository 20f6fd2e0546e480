import type { Phase } from "@cairn/client";
import type { CairnError } from "@cairn/kv";
import type { IndexPosition } from "../index/index-position.ts";
import type { IndexStore } from "../index/index-store.ts";
import type { TxLog } from "../log/tx-log.ts";

/** This node, as far as it is compared with others: its current index and log, and its reactions to an index that proves wrong. */
export interface ComparedNode {
  readonly phase: Phase;
  readonly failure: CairnError | undefined;
  readonly log: TxLog | undefined;
  readonly index: IndexStore | undefined;
  readonly position: Pick<IndexPosition, "reached">;
  /** Whether the index was found to agree with the log, and nothing has cast doubt on this since. */
  readonly agrees: boolean;
  /** Reports an error from using `index`. */
  suspect(index: IndexStore, error: unknown): void;
  /**
   * Leaves an index that does not match the log. `live`, if given, is the folder of the index that replaces it. Returns false if the index
   * was left already, or nothing replaces it.
   */
  replace(index: IndexStore, error: CairnError, live: string | undefined): boolean;
  /** Permanently stops serving an index, because it cannot be decided whether the index is right. */
  halt(index: IndexStore, error: CairnError): void;
}
