import { CairnError } from "@cairn/kv";

/** What names of files that are not finished begin with; they never list. */
export const TEMPORARY_PREFIX = ".tmp-";

const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,200}$/;

/** Whether a store may hold a file of this name: plain characters, at most one folder, nothing hidden. */
export function isStoreName(name: string): boolean {
  const segments = name.split("/");
  return segments.length <= 2 && segments.every((segment) => SEGMENT.test(segment));
}

/** Refuses names that could lead out of the store; they come from manifests and users too. */
export function requireStoreName(name: string): void {
  if (isStoreName(name)) return;
  throw new CairnError(
    "CHECKPOINT_CORRUPT",
    `${JSON.stringify(name)} cannot be the name of a file in a store.`,
    {
      hint: "Names are letters, digits, dots, dashes and underlines, with at most one folder.",
    },
  );
}

/** The largest small file: what {@link CheckpointStore.read} holds in memory. */
export const SMALL_FILE_LIMIT = 64 * 1024 * 1024;

/** A small file that is none. */
export function tooLarge(name: string, bytes: number): CairnError {
  return new CairnError("CHECKPOINT_CORRUPT", `${name} has ${bytes} bytes, too many for what it should be.`, {
    hint: "Cairn did not write it; remove it from the store.",
  });
}

/** A folder, pipe or device where a small file should be. */
export function notAFile(name: string): CairnError {
  return new CairnError("CHECKPOINT_CORRUPT", `${name} is not a plain file.`, {
    hint: "Cairn did not make it; remove it from the store.",
  });
}

/** A file that was there before. */
export function alreadyThere(name: string, location: string): CairnError {
  return new CairnError("CONFLICT", `${name} is already in ${location}.`, {
    hint: "Files in a store are never overwritten; another one was written under this name.",
  });
}

/** A file that is gone or never was. */
export function notThere(name: string, location: string): CairnError {
  return new CairnError("NOT_FOUND", `${name} is not in ${location}.`, {
    hint: "It may just have been removed by a retention policy.",
  });
}
