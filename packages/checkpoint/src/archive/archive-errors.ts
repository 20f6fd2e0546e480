import { CairnError } from "@cairn/kv/threads";
import type { Manifest } from "../store/checkpoint.ts";

const HINT =
  "Verify it again with cairn checkpoint verify, because a transfer can change what is intact. If it is damaged, copy it again from an intact store, or remove it once another one is verified. Nodes that join use another one, if there is one.";

/** Returns `CHECKPOINT_CORRUPT` for the archive of `manifest`; `why` is a clause that explains the damage. */
export function corruptArchive({ archive }: Manifest, why: string, cause?: unknown): CairnError {
  return new CairnError("CHECKPOINT_CORRUPT", `${archive.name} is damaged: ${why}.`, { hint: HINT, cause });
}

export function incompleteArchive({ archive }: Manifest, why: string): CairnError {
  return new CairnError("CHECKPOINT_INCOMPLETE", `${archive.name} is incomplete: ${why}.`, HINT);
}
