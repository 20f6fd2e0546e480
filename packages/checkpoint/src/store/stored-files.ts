import { createHash } from "node:crypto";
import { CairnError, systemErrorCode } from "@cairn/kv";
import type { StoredContent } from "./checkpoint-store.ts";

/** The prefix of unfinished files, which are never listed. */
export const TEMPORARY_PREFIX = ".tmp-";

const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,200}$/;

/** Returns whether a store may contain a file of this name: plain characters, at most one folder, nothing hidden. */
export function isStoreName(name: string): boolean {
  const segments = name.split("/");
  return segments.length <= 2 && segments.every((segment) => SEGMENT.test(segment));
}

/** Throws `CHECKPOINT_CORRUPT`: names also come from manifests and users, and must not lead out of the store. */
export function requireStoreName(name: string): void {
  if (isStoreName(name)) return;
  throw new CairnError(
    "CHECKPOINT_CORRUPT",
    `${JSON.stringify(name)} cannot be the name of a file in a store.`,
    "Names must consist of letters, digits, dots, dashes and underscores, with at most one folder.",
  );
}

const PLAIN_ID = /^[A-Za-z0-9._-]{1,64}$/;

/** The id or, if it could not be part of a file's name, the first 32 hexadecimal digits of its SHA-256. */
export function idInName(logId: string): string {
  return PLAIN_ID.test(logId) ? logId : createHash("sha256").update(logId).digest("hex").slice(0, 32);
}

/** The maximum size, in bytes, of a file that {@link CheckpointStore.read} reads into memory. */
export const MAX_SMALL_FILE_BYTES = 64 * 1024 * 1024;

export function tooLarge(name: string, bytes: number): CairnError {
  return new CairnError(
    "CHECKPOINT_CORRUPT",
    `${name} has ${bytes} bytes, which is too large for a file of this kind.`,
    "Remove it from the store: Cairn did not write it.",
  );
}

/** Returns the error for a folder, pipe or device in place of a small file. */
export function notAFile(name: string): CairnError {
  return new CairnError(
    "CHECKPOINT_CORRUPT",
    `${name} is not a regular file.`,
    "Remove it from the store: Cairn did not create it.",
  );
}

export const STORE_FULL_HINT =
  "Free some space, raise the quota, or set a retention-policy that keeps fewer checkpoints: if there is still no space, the next node that saves removes the others first. If segments of a log backup fill it, remove the oldest ones: cairn log backup prune --through N, where N is at most the last transaction of a verified checkpoint (cairn checkpoint list). If the log is embedded, stop the node first.";

export function alreadyThere(name: string, location: string): CairnError {
  return new CairnError(
    "CONFLICT",
    `${name} is already in ${location}.`,
    "Find the process that wrote this file. Files in a store are never overwritten.",
  );
}

export function notThere(name: string, location: string): CairnError {
  return new CairnError(
    "NOT_FOUND",
    `${name} is not in ${location}.`,
    "List the files of the store again: a retention policy may just have removed this one.",
  );
}

export function endsEarly(name: string, location: string, end: number): CairnError {
  return new CairnError(
    "CHECKPOINT_CORRUPT",
    `${name} in ${location} has fewer than ${end} bytes, so a part of it is missing.`,
    "Copy the file again from an intact store, or remove the checkpoint to which it belongs.",
  );
}

/** Yields what a store returned for a file. Throws `STORE_UNREACHABLE` if its stream was destroyed without an error. */
export async function* storedChunks(
  name: string,
  content: StoredContent,
  signal?: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  try {
    yield* content as AsyncIterable<Buffer>;
  } catch (error) {
    signal?.throwIfAborted();
    if (systemErrorCode(error) !== "ERR_STREAM_PREMATURE_CLOSE") throw error;
    throw new CairnError("STORE_UNREACHABLE", `The stream of ${name} ended early.`, {
      hint: "Find out why the store ends what is read from it early. A node tries again by itself.",
      cause: error,
    });
  }
}

export function contentTag(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}
