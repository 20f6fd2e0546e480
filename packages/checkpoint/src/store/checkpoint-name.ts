/** What a checkpoint's name says: `checkpoint-<tx-id>-<2026-11-20T06-12-26.123Z>-<8 hex>`. */
export interface CheckpointName {
  readonly txId: number;
  /** By the store's clock, milliseconds since 1970. */
  readonly takenAt: number;
  /** Eight random hexadecimal digits: two nodes that save at one instant do not meet in one name. */
  readonly suffix: string;
}

/** The parts of a checkpoint in a store; {@link checkpointFile} names them. */
export type CheckpointPart = "archive" | "manifest" | "verified";

/** What all files of all checkpoints begin with. */
export const CHECKPOINT_PREFIX = "checkpoint-";

const EXTENSIONS: Readonly<Record<CheckpointPart, string>> = {
  archive: ".tar",
  manifest: ".json",
  verified: ".verified.json",
};

// No transaction's id has more than the 16 digits of 2^53 - 1.
const NAME =
  /^checkpoint-(0|[1-9]\d{0,15})-(\d{4}-\d{2}-\d{2})T(\d{2})-(\d{2})-(\d{2}\.\d{3})Z-([0-9a-f]{8})$/;

/** The name of a checkpoint. Its time has no colons, so that it is a file name on every system. */
export function formatCheckpointName(name: CheckpointName): string {
  const time = new Date(name.takenAt).toISOString().replaceAll(":", "-");
  return `${CHECKPOINT_PREFIX}${name.txId}-${time}-${name.suffix}`;
}

/** What `text` says, or undefined when it is not exactly a name that {@link formatCheckpointName} gives. */
export function parseCheckpointName(text: string): CheckpointName | undefined {
  const match = NAME.exec(text);
  if (match === null) return undefined;
  const [, tx = "", day = "", hours = "", minutes = "", seconds = "", suffix = ""] = match;
  const name = { txId: Number(tx), takenAt: Date.parse(`${day}T${hours}:${minutes}:${seconds}Z`), suffix };
  if (!Number.isSafeInteger(name.txId) || Number.isNaN(name.takenAt)) return undefined;
  // 2026-02-31 is read as a day of March; only what is written back the same is one of our names.
  return formatCheckpointName(name) === text ? name : undefined;
}

/** The file of a checkpoint's part, relative to the store. */
export function checkpointFile(checkpoint: string, part: CheckpointPart): string {
  return checkpoint + EXTENSIONS[part];
}

/** Which checkpoint and part a file of a store is, or undefined for a foreign one. */
export function parseCheckpointFile(
  file: string,
): { readonly checkpoint: string; readonly part: CheckpointPart } | undefined {
  // ".verified.json" also ends with ".json", so the longer extension is tried first.
  for (const part of ["verified", "manifest", "archive"] as const) {
    if (!file.endsWith(EXTENSIONS[part])) continue;
    const checkpoint = file.slice(0, -EXTENSIONS[part].length);
    return parseCheckpointName(checkpoint) === undefined ? undefined : { checkpoint, part };
  }
  return undefined;
}

/** Orders names newest first: tx-id (as a number), then time, then suffix so that every node sees one order. */
export function newestFirst(a: CheckpointName, b: CheckpointName): number {
  if (a.txId !== b.txId) return b.txId - a.txId;
  if (a.takenAt !== b.takenAt) return b.takenAt - a.takenAt;
  return a.suffix < b.suffix ? 1 : a.suffix > b.suffix ? -1 : 0;
}
