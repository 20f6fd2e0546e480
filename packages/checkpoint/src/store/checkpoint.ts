import { createHash } from "node:crypto";
import { CairnError } from "@cairn/kv";
import { z } from "zod";
import { checkpointFile, parseCheckpointName } from "./checkpoint-name.ts";

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 hexadecimal digits");
const Position = z.int().min(0);
/** Names inside an archive: plain file names only, so nothing can be written outside the target directory. */
export const FileName = z
  .string()
  .max(255)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "expected a plain file name");

/** Digests of a log's whole past up to a transaction, as its index has them; compared by whoever has both. */
const ChainValueSchema = z.object({ txId: Position, history: Sha256, effects: Sha256 });
/** A checkpoint names the newest, some that are older and older, and those where others end. */
const MAX_CHAIN_VALUES = 250;

/** What a manifest must be; anything else is not a checkpoint. Source: docs/checkpoint-format.md. */
export const ManifestSchema = z.object({
  format: z.object({ index: z.int(), kv: z.string(), archive: z.string() }),
  log: z.object({ id: z.string().min(1), name: z.string().min(1), offset: Position }),
  txId: Position,
  txTime: z.iso.datetime(),
  anchor: z.object({ txId: Position, sha256: Sha256 }),
  /** Of an index that has such; those of Cairn before the fifth version have none. */
  chains: z.array(ChainValueSchema).max(MAX_CHAIN_VALUES).optional(),
  /** Of what transactions up to this one evicted, nothing is in the files; those of Cairn that did not look have none. */
  purged: Position.optional(),
  takenAt: z.iso.datetime(),
  node: z.string(),
  archive: z.object({ name: FileName, bytes: Position, sha256: Sha256 }),
  files: z.array(z.object({ name: FileName, bytes: Position, sha256: Sha256 })).min(1),
  documents: Position,
  version: z.string(),
});

/** A checkpoint's manifest, as stored beside its archive. Times are ISO-8601 in UTC, sizes bytes, digests lower-case hex. */
export type Manifest = z.infer<typeof ManifestSchema>;

/** The part of a manifest that only the index itself can tell; read from the captured copy, never from the live index. */
export type IndexState = Pick<
  Manifest,
  "log" | "txId" | "txTime" | "anchor" | "chains" | "purged" | "documents"
> & {
  readonly format: { readonly index: number; readonly kv: string };
};

/** Archive formats that this version writes and reads. Source: docs/checkpoint-format.md. */
export const ARCHIVE_FORMATS = { none: "tar/1", gzip: "tar+gzip/1" } as const;

const [COMMA, BRACKET, BRACE] = [0x2c, 0x5b, 0x7b];

const HINT =
  "Other checkpoints are not affected. If no node is writing this one, remove its files from the store.";

function corrupt(name: string, why: string, cause?: unknown): CairnError {
  return new CairnError(
    "CHECKPOINT_CORRUPT",
    `The manifest of ${name} is not one that Cairn wrote: ${why}.`,
    {
      hint: HINT,
      ...(cause === undefined ? {} : { cause }),
    },
  );
}

/** The text of a manifest as it lies in a store. */
export function encodeManifest(manifest: Manifest): string {
  const text = JSON.stringify(ManifestSchema.parse(manifest), null, 1);
  const checked = text.slice(0, -ENDING.length);
  return `${checked}${checksumMember(checked)}${ENDING}\n`;
}

const ENDING = "\n}";

/** The last member of a manifest: what it is of is the text before the comma. Without it, a changed digit would be another claim. */
function checksumMember(checked: string): string {
  return `,\n "sha256": "${createHash("sha256").update(checked).digest("hex")}"`;
}

/** Whether a manifest's text is what was written. Those with neither a checksum nor chains are of versions that wrote none. */
function isWhole(text: string, value: unknown): boolean {
  if (typeof value !== "object" || value === null || !("chains" in value || "sha256" in value)) return true;
  const end = text.lastIndexOf(',\n "sha256"');
  return end >= 0 && text.trimEnd() === `${text.slice(0, end)}${checksumMember(text.slice(0, end))}${ENDING}`;
}

/**
 * Reads the manifest of the checkpoint called `name`. `CHECKPOINT_CORRUPT` when it is not a manifest or belongs to another
 * name. Fields that this version does not know are dropped: a later one may have added them.
 */
export function decodeManifest(name: string, text: string): Manifest {
  if (isTooIntricate(text)) throw corrupt(name, "it is made of far more parts than it has room to describe");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) throw corrupt(name, "it is not JSON", error);
    throw error;
  }
  if (!isWhole(text, value)) throw corrupt(name, "its checksum is not that of its text");
  const parsed = ManifestSchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const where = issue === undefined ? "" : `${issue.path.join(".")}: ${issue.message}`;
    throw corrupt(name, where.replace(/\.$/, ""), parsed.error);
  }
  const manifest = parsed.data;
  const fault = inconsistency(name, manifest);
  if (fault !== undefined) throw corrupt(name, fault);
  return manifest;
}

/** The least that a manifest's text takes for each part that a parser makes an object or a list entry of, and what may be without. */
const CHARACTERS_A_PART = 20;
const SMALL_TEXT = 100_000;

/** Whether parsing would take many times the memory that the text does, which nothing that {@link encodeManifest} writes can. */
function isTooIntricate(text: string): boolean {
  if (text.length < SMALL_TEXT) return false;
  const most = text.length / CHARACTERS_A_PART;
  let parts = 0;
  for (let at = 0; at < text.length && parts <= most; at += 1) {
    const code = text.charCodeAt(at);
    if (code === COMMA || code === BRACKET || code === BRACE) parts += 1;
  }
  return parts > most;
}

function inconsistency(name: string, manifest: Manifest): string | undefined {
  const said = parseCheckpointName(name);
  if (said === undefined) return "it has no checkpoint's name";
  if (said.txId !== manifest.txId) return `it says transaction ${manifest.txId}`;
  if (said.takenAt !== Date.parse(manifest.takenAt))
    return `it says that it was taken at ${manifest.takenAt}`;
  if (manifest.archive.name !== checkpointFile(name, "archive"))
    return `it names the archive ${manifest.archive.name}`;
  if (manifest.anchor.txId !== manifest.txId) return "its anchor is not its last transaction";
  if (manifest.chains?.some(({ txId }) => txId > manifest.txId) === true)
    return "its chains go on after its last transaction";
  const names = new Set(manifest.files.map((file) => file.name));
  if (names.size !== manifest.files.length) return "it lists a file twice";
  return undefined;
}
