import type { KvStore } from "@cairn/kv";
import type { IndexState } from "../rows/index-state.ts";

export interface Upgrading {
  readonly signal?: AbortSignal | undefined;
  /** Called with the number of documents whose rows have been read, and the number of all. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Changes the rows of an index of one version into those of the next, except its state row. */
export type UpgradeStep = (kv: KvStore, state: IndexState, upgrading: Upgrading) => Promise<void>;
