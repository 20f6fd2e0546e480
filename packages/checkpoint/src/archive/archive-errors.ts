import { CairnError } from "@cairn/kv/threads";
import type { Manifest } from "../store/checkpoint.ts";

const HINT = "Remove this checkpoint, or copy it again from an intact store. An older one is tried next.";

/** Returns `CHECKPOINT_CORRUPT` for the archive of `manifest`; `why` is a clause that explains the damage. */
export function corrupt({ archive }: Manifest, why: string, cause?: unknown): CairnError {
  return new CairnError("CHECKPOINT_CORRUPT", `${archive.name} is damaged: ${why}.`, { hint: HINT, cause });
}

/** Returns `CHECKPOINT_INCOMPLETE` for the archive of `manifest`; `why` is a clause that explains what is missing. */
export function incomplete({ archive }: Manifest, why: string): CairnError {
  return new CairnError("CHECKPOINT_INCOMPLETE", `${archive.name} is incomplete: ${why}.`, { hint: HINT });
}

/** Returns `CHECKPOINT_INCOMPLETE` for an archive whose length in the store differs from the number of bytes sent. */
export function truncatedUpload(archive: string, has: number, sent: number): CairnError {
  return new CairnError(
    "CHECKPOINT_INCOMPLETE",
    `The store kept ${has} of the ${sent} bytes of ${archive}.`,
    {
      hint: "Nothing was published. If this happens again, replace the store: it does not preserve the data written to it.",
    },
  );
}
