import { CairnError } from "@cairn/kv/tables";
import type { Manifest } from "./checkpoint.ts";

const HINT = "An older checkpoint is tried next; remove this one, or copy it again from where it is whole.";

/** `CHECKPOINT_CORRUPT` for the archive of `manifest`; `why` completes "it is damaged". */
export function corrupt({ archive }: Manifest, why: string, cause?: unknown): CairnError {
  return new CairnError("CHECKPOINT_CORRUPT", `${archive.name} is damaged: ${why}.`, { hint: HINT, cause });
}

/** `CHECKPOINT_INCOMPLETE` for the archive of `manifest`; `why` completes "it is incomplete". */
export function incomplete({ archive }: Manifest, why: string): CairnError {
  return new CairnError("CHECKPOINT_INCOMPLETE", `${archive.name} is incomplete: ${why}.`, { hint: HINT });
}
