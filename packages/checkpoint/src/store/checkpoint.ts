import { createHash } from "node:crypto";
import { CairnError } from "@cairn/kv";
import { z } from "zod";

/** The parts of a checkpoint's name: `checkpoint-<tx-id>-<2026-11-20T06-12-26.123Z>-<8 hex>`. */
export interface CheckpointName {
  readonly txId: number;
  /** Milliseconds since 1970 by the store's clock. */
  readonly takenAt: number;
  /** Eight random hexadecimal digits, so that nodes that save at the same moment use different names. */
  readonly suffix: string;
}

/** The files of a checkpoint in a store; {@link checkpointFile} names them. */
export type CheckpointPart = "archive" | "manifest" | "verified" | "damaged";

export const CHECKPOINT_PREFIX = "checkpoint-";

const EXTENSIONS: Readonly<Record<CheckpointPart, string>> = {
  archive: ".tar",
  manifest: ".json",
  verified: ".verified.json",
  damaged: ".damaged.json",
};

// Transaction ids have at most 16 digits, because the largest is 2^53 - 1.
const NAME =
  /^checkpoint-(0|[1-9]\d{0,15})-(\d{4}-\d{2}-\d{2})T(\d{2})-(\d{2})-(\d{2}\.\d{3})Z-([0-9a-f]{8})$/;

/** Formats the name of a checkpoint. Its time has no colons, so that it is a valid file name on every system. */
export function formatCheckpointName(name: CheckpointName): string {
  const time = new Date(name.takenAt).toISOString().replaceAll(":", "-");
  return `${CHECKPOINT_PREFIX}${name.txId}-${time}-${name.suffix}`;
}

/** Parses a name; undefined if it is not exactly what {@link formatCheckpointName} returns. */
export function parseCheckpointName(text: string): CheckpointName | undefined {
  const match = NAME.exec(text);
  if (match === null) return undefined;
  const [, tx = "", day = "", hours = "", minutes = "", seconds = "", suffix = ""] = match;
  const name = { txId: Number(tx), takenAt: Date.parse(`${day}T${hours}:${minutes}:${seconds}Z`), suffix };
  if (!Number.isSafeInteger(name.txId) || Number.isNaN(name.takenAt)) return undefined;
  // 2026-02-31 is parsed as a day in March, so a valid name must survive parsing and formatting unchanged.
  return formatCheckpointName(name) === text ? name : undefined;
}

export function checkpointFile(checkpoint: string, part: CheckpointPart): string {
  return checkpoint + EXTENSIONS[part];
}

export function parseCheckpointFile(
  file: string,
): { readonly checkpoint: string; readonly part: CheckpointPart } | undefined {
  // ".verified.json" also ends with ".json", so the longer extensions come first.
  for (const part of ["verified", "damaged", "manifest", "archive"] as const) {
    if (!file.endsWith(EXTENSIONS[part])) continue;
    const checkpoint = file.slice(0, -EXTENSIONS[part].length);
    return parseCheckpointName(checkpoint) === undefined ? undefined : { checkpoint, part };
  }
  return undefined;
}

/** Orders by numeric transaction id, then by time, then by suffix, so that the order is the same on every node. */
export function newestFirst(a: CheckpointName, b: CheckpointName): number {
  if (a.txId !== b.txId) return b.txId - a.txId;
  if (a.takenAt !== b.takenAt) return b.takenAt - a.takenAt;
  return a.suffix < b.suffix ? 1 : a.suffix > b.suffix ? -1 : 0;
}

/** Compares the names of two checkpoints; false if one of them is not such a name. */
export function isNewer(name: string, other: string): boolean {
  const [one, two] = [parseCheckpointName(name), parseCheckpointName(other)];
  return one !== undefined && two !== undefined && newestFirst(one, two) < 0;
}

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 hexadecimal digits");
const Position = z.int().min(0);
/** Only plain file names are valid, so that nothing can be written outside the target directory. */
export const FileName = z
  .string()
  .max(255)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "expected a plain file name");

/** Digests of a log's whole history up to a transaction. Values at the same transaction can be compared. */
const ChainValueSchema = z.object({ txId: Position, history: Sha256, effects: Sha256 });
/** A manifest has the newest, some at increasing distances before it, and those at which other checkpoints end. */
const MAX_CHAIN_VALUES = 250;

/** The format of a manifest, as specified in docs/internals/checkpoint-format.md. Anything else is not a checkpoint. */
export const ManifestSchema = z.object({
  format: z.object({ index: z.int(), kv: z.string(), archive: z.string() }),
  log: z.object({ id: z.string().min(1), name: z.string().min(1), offset: Position }),
  txId: Position,
  txTime: z.iso.datetime(),
  anchor: z.object({ txId: Position, sha256: Sha256 }),
  chains: z.array(ChainValueSchema).max(MAX_CHAIN_VALUES),
  /** The transaction up to which the log could not show the history when a node continued it. */
  unshown: Position.optional(),
  /** The transaction up to which the files contain no evicted content. */
  purged: Position,
  takenAt: z.iso.datetime(),
  /** The time from the beginning of the save to the manifest (ms). */
  durationMs: Position,
  node: z.string(),
  archive: z.object({ name: FileName, bytes: Position }),
  files: z.array(z.object({ name: FileName, bytes: Position, sha256: Sha256 })).min(1),
  documents: Position,
  version: z.string(),
});

/** Times are in ISO 8601 and UTC, sizes in bytes, and digests in lower-case hexadecimal. */
export type Manifest = z.infer<typeof ManifestSchema>;

export interface StoredManifest extends Manifest {
  /** The checksum at its end, which identifies the checkpoint: it covers the digests of all files. */
  readonly sha256: string;
}

/** What comes from the index itself. It is read from the captured copy, never from the live index. */
export type CapturedState = Pick<
  Manifest,
  "log" | "txId" | "txTime" | "anchor" | "chains" | "unshown" | "purged" | "documents"
> & {
  readonly format: { readonly index: number; readonly kv: string };
};

/** Error codes that indicate damage to the checkpoint itself, as opposed to the disk, the store or the log. */
export const DAMAGE_CODES: ReadonlySet<string> = new Set([
  "CHECKPOINT_CORRUPT",
  "CHECKPOINT_INCOMPLETE",
  "INDEX_CORRUPT",
]);

const [COMMA, BRACKET, BRACE] = [0x2c, 0x5b, 0x7b];

/** Returns `CHECKPOINT_CORRUPT` for the manifest of the checkpoint `name`; `why` is a clause. */
export function invalidManifest(name: string, why: string, cause?: unknown): CairnError {
  const hint =
    "If no node is writing this checkpoint, remove its files from the store. Other checkpoints are not affected.";
  return new CairnError("CHECKPOINT_CORRUPT", `The manifest of ${name} is invalid: ${why}.`, { hint, cause });
}

export function encodeManifest(manifest: Manifest): { readonly text: string; readonly sha256: string } {
  const text = JSON.stringify(ManifestSchema.parse(manifest), null, 1);
  const checked = text.slice(0, -ENDING.length);
  const sha256 = checksumOf(checked);
  return { text: `${checked}${checksumMember(sha256)}${ENDING}\n`, sha256 };
}

const ENDING = "\n}";

/** The last member is a checksum of the text before its comma. Without it, a changed digit would go unnoticed. */
function checksumMember(checksum: string): string {
  return `,\n "sha256": "${checksum}"`;
}

function checksumOf(checked: string): string {
  return createHash("sha256").update(checked).digest("hex");
}

/** Returns the checksum of a manifest's text; undefined if the text was changed, or has none. */
function verifiedChecksum(text: string): string | undefined {
  const end = text.lastIndexOf(',\n "sha256"');
  if (end < 0) return undefined;
  const checksum = checksumOf(text.slice(0, end));
  const whole = `${text.slice(0, end)}${checksumMember(checksum)}${ENDING}`;
  return text.trimEnd() === whole ? checksum : undefined;
}

/** Throws `CHECKPOINT_CORRUPT` if invalid or of another checkpoint. Drops fields that a later version added. */
export function decodeManifest(name: string, text: string): StoredManifest {
  const value = parseManifestText(name, text);
  const sha256 = verifiedChecksum(text);
  if (sha256 === undefined) throw invalidManifest(name, "its checksum does not match its text");
  const parsed = ManifestSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const where = issue === undefined ? "" : `${issue.path.join(".")}: ${issue.message}`;
    throw invalidManifest(name, where.replace(/\.$/, ""), parsed.error);
  }
  const manifest = parsed.data;
  const fault = inconsistency(name, manifest);
  if (fault !== undefined) throw invalidManifest(name, fault);
  return { ...manifest, sha256 };
}

/** Parses the text of a manifest as JSON. Throws `CHECKPOINT_CORRUPT` if that fails or would take too much memory. */
export function parseManifestText(name: string, text: string): unknown {
  if (isTooIntricate(text))
    throw invalidManifest(name, "it has far more entries than a manifest of its length");
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) throw invalidManifest(name, "it is not JSON", error);
    throw error;
  }
}

/** The minimum average number of characters per object or list entry in a manifest. */
const MIN_CHARACTERS_PER_PART = 20;
/** The length below which a string is always parsed. */
const SMALL_TEXT_LENGTH = 100_000;

/** True if parsing would take many times the string's memory. False for results of {@link encodeManifest}. */
function isTooIntricate(text: string): boolean {
  if (text.length < SMALL_TEXT_LENGTH) return false;
  const most = text.length / MIN_CHARACTERS_PER_PART;
  let parts = 0;
  for (let at = 0; at < text.length && parts <= most; at += 1) {
    const code = text.charCodeAt(at);
    if (code === COMMA || code === BRACKET || code === BRACE) parts += 1;
  }
  return parts > most;
}

function inconsistency(name: string, manifest: Manifest): string | undefined {
  const said = parseCheckpointName(name);
  if (said === undefined) return "its name is not a checkpoint's name";
  if (said.txId !== manifest.txId) return `it describes transaction ${manifest.txId}`;
  if (said.takenAt !== Date.parse(manifest.takenAt)) return `it was taken at ${manifest.takenAt}`;
  if (manifest.archive.name !== checkpointFile(name, "archive"))
    return `it names the archive ${manifest.archive.name}`;
  if (manifest.anchor.txId !== manifest.txId) return "its anchor is not that of its last transaction";
  if (manifest.chains.some(({ txId }) => txId > manifest.txId))
    return "its chains continue after its last transaction";
  const names = new Set(manifest.files.map((file) => file.name));
  if (names.size !== manifest.files.length) return "it lists a file twice";
  return undefined;
}
