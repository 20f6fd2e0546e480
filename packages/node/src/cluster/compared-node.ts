import type { Phase } from "@cairn/client";
import type { CairnError } from "@cairn/kv";
import type { IndexPosition } from "../index/index-position.ts";
import type { IndexStore } from "../index/index-store.ts";
import type { TxLog } from "../log/tx-log.ts";

/** This node, as far as it is compared with others: its index and log now, and what to do about an index that proves wrong. */
export interface ComparedNode {
  readonly phase: Phase;
  readonly failure: CairnError | undefined;
  readonly log: TxLog | undefined;
  readonly index: IndexStore | undefined;
  readonly position: Pick<IndexPosition, "reached">;
  /** Whether the index was found to agree with the log, and nothing has put that in doubt since. */
  readonly agrees: boolean;
  /** Reports an error from using `index`. */
  suspect(index: IndexStore, error: unknown): void;
  /**
   * Leaves an index that does not match the log. `live`, if given, is the folder of the index that takes its place. Returns false if the
   * index was left already, or nothing takes its place.
   */
  replace(index: IndexStore, error: CairnError, live: string | undefined): boolean;
  /** Stops serving an index permanently, because it cannot be decided whether it is right. */
  halt(index: IndexStore, error: CairnError): void;
}
