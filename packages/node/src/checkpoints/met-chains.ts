import type { CheckpointStore, Manifest } from "@cairn/checkpoint";
import type { CairnError } from "@cairn/kv";
import type { Chains } from "@cairn/client";

/** Somebody else's chains: a node's, or those of the index in a checkpoint. */
export interface Met {
  /** For people: `node b`, `the checkpoint …`. */
  readonly who: string;
  /** Whether only those who may write to the checkpoint store can have said it; what comes over the network anybody may have sent. */
  readonly isStored: boolean;
  /** The id of the log. */
  readonly log: string;
  readonly chains: { readonly version: number; readonly values: Chains };
}

/** That they differ from those of this node's index. `settled`: the index was found to be what the log gives, there. */
export interface Difference {
  readonly error: CairnError;
  readonly settled: boolean;
}

/** Compares them with those of this node's index; undefined where both agree as far as both know, or nothing can be said. */
export type Meet = (met: Met) => Promise<Difference | undefined>;

/** What a checkpoint's manifest says. */
export function metCheckpoint(name: string, store: CheckpointStore, manifest: Manifest): Met {
  const { node, log, format, chains = [] } = manifest;
  const who = `the checkpoint ${name} of node ${node} in ${store.location}`;
  return { who, isStored: true, log: log.id, chains: { version: format.index, values: chains } };
}
