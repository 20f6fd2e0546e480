import type { TxId } from "@cairn/client";
import type { CairnError } from "@cairn/kv";
import type { IndexStore } from "../index/index-store.ts";
import type { NodeLife } from "./node-life.ts";

/** What reads need of a {@link NodeLife}. */
export interface ReadableLife extends Pick<
  NodeLife,
  "phase" | "agrees" | "failure" | "position" | "log" | "services" | "index"
> {
  readonly ownIndexes?: NodeLife["ownIndexes"];
  /** The oldest state that reads may be of. */
  readonly floor?: TxId;
  /** The error of a read that needs what comes after the index, if nothing ever will. */
  readonly ending?: CairnError;
  /** Reports an error in the use of `index`, and returns the one that the caller throws. */
  suspect(index: IndexStore, error: unknown): unknown;
}
