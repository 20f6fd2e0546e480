import { cp, link as hardLink, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { idInName } from "@cairn/checkpoint";
import { type Damaged, NEVER_TAKEN, pickCheckpoint, put } from "./damaged-folder.ts";
import { extendedRecord, type ForgedEntry, forgeArchive, sha256 } from "./forged-archive.ts";
import { spoilRecord } from "./odd-values.ts";
import { sealedManifest } from "@cairn/test-support/stores/sealed-manifest";

/** The maximum size in bytes of a manifest that is parsed. A larger one is treated as an empty one. */
const LONGEST_MANIFEST = 200_000;

/** Copies a checkpoint under the name of a newer one, with a matching manifest. */
export async function pretendNewer(damaged: Damaged): Promise<string> {
  const name = await pickCheckpoint(damaged);
  const manifest = await readManifest(damaged, name);
  await rm(path.join(damaged.store, `${NEVER_TAKEN}.tar`), { recursive: true, force: true });
  await hardLink(path.join(damaged.store, `${name}.tar`), path.join(damaged.store, `${NEVER_TAKEN}.tar`));
  const newer = {
    ...manifest,
    txId: 99,
    anchor: { ...manifest.anchor, txId: damaged.chance.pick([99, manifest.anchor?.txId ?? 0]) },
    takenAt: "2026-11-20T06:12:26.123Z",
    archive: { ...manifest.archive, name: `${NEVER_TAKEN}.tar` },
  };
  await put(damaged, `${NEVER_TAKEN}.json`, sealedManifest(newer));
  return `${name} copied as ${NEVER_TAKEN}`;
}

/** Replaces a manifest with odd JSON. */
export async function spoilManifest(damaged: Damaged): Promise<string> {
  const name = await pickCheckpoint(damaged);
  const before = await readFile(path.join(damaged.store, `${name}.json`), "utf8");
  const spoilt = spoilRecord(before, damaged.chance);
  const text = damaged.chance.next() < 0.5 ? spoilt : resealed(spoilt);
  await put(damaged, `${name}.json`, text);
  return `the manifest of ${name} now ${text.length} characters: ${text.slice(0, 300)}`;
}

/** Renews the checksum, like an attacker who knows the format. Values other than maps stay unchanged. */
function resealed(text: string): string {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === "object" && value !== null ? sealedManifest(value) : text;
  } catch (error) {
    // What is nested too deeply is read, but not written.
    if (error instanceof SyntaxError || error instanceof RangeError) return text;
    throw error;
  }
}

/** Replaces an archive with a forbidden one, and puts its size into the manifest. */
export async function forge(damaged: Damaged): Promise<string> {
  const name = await pickCheckpoint(damaged);
  const manifest = await readManifest(damaged, name);
  const { chance, outside } = damaged;
  const evil = chance.pick([
    "../../outside/evil",
    path.join(outside, "evil"),
    "..",
    "a/../../evil",
    "CURRENT",
    "evil\0",
  ]);
  const content = Buffer.from("evil");
  const kinds: [ForgedEntry[], ...ForgedEntry[][]] = [
    [{ path: evil, content }],
    [
      { path: evil, type: "2", linkPath: outside },
      { path: `${evil}/kept.txt`, content },
    ],
    [{ path: evil, type: "1", linkPath: path.join(outside, "kept.txt") }],
    [{ path: evil, type: "5" }],
    [
      { path: "CURRENT", content },
      { path: "CURRENT", content },
    ],
    [
      { path: "x", type: "x", content: extendedRecord("path", evil) },
      { path: "CURRENT", content },
    ],
    [
      { path: "x", type: "g", content: extendedRecord("size", "99999999999") },
      { path: "CURRENT", content },
    ],
    [
      { path: "././@LongLink", type: "L", content: Buffer.from(`${evil}\0`) },
      { path: "CURRENT", content },
    ],
    [{ path: "CURRENT", type: "S", content, size: 2 ** 40 }],
    [{ path: "CURRENT", content, size: chance.pick([2 ** 40, -1, 2 ** 52]) }],
    [{ path: "CURRENT", type: "3" }],
    [],
  ];
  const entries = chance.pick(kinds);
  const archive = forgeArchive(entries);
  await put(damaged, `${name}.tar`, archive);
  const listed = entries.map((entry) => ({
    name: chance.next() < 0.5 ? "CURRENT" : entry.path,
    bytes: entry.size ?? entry.content?.length ?? 0,
    sha256: sha256(entry.content ?? Buffer.alloc(0)),
  }));
  await put(
    damaged,
    `${name}.json`,
    sealedManifest({
      ...manifest,
      archive: { name: `${name}.tar`, bytes: archive.length },
      files: chance.next() < 0.5 || listed.length === 0 ? manifest.files : listed,
    }),
  );
  return `the archive of ${name} forged: ${JSON.stringify(entries)}`;
}

/** Writes a lease that does not come from any of these nodes. */
export async function mangleLease(damaged: Damaged): Promise<string> {
  const { chance } = damaged;
  const expiresAt = new Date(Date.now() + chance.pick([-1_000, 60_000, 10 ** 13])).toISOString();
  const lease = {
    owner: "other",
    nonce: "0011",
    archive: `${NEVER_TAKEN}.tar`,
    progress: { bytes: 1 },
    expiresAt,
  };
  const text = chance.next() < 0.4 ? JSON.stringify(lease) : spoilRecord(JSON.stringify(lease), chance);
  const { log } = await readManifest(damaged, await pickCheckpoint(damaged));
  await put(damaged, `in-progress-${idInName(String(chance.pick([log?.id, "another log"])))}.json`, text);
  return `a lease: ${text.slice(0, 300)}`;
}

/** Writes reservations that do not come from any of these nodes. */
export async function mangleReservations(damaged: Damaged): Promise<string> {
  const { store, chance } = damaged;
  const folder = path.join(store, "reservations");
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  const count = chance.pick([1, 3, 200]);
  let text = "";
  for (let n = 0; n < count; n += 1) {
    const expiresAt = new Date(Date.now() + chance.pick([-1_000, 60_000, 10 ** 13])).toISOString();
    text = JSON.stringify({ checkpoint: await pickCheckpoint(damaged), node: "other", expiresAt });
    if (count < 200 && chance.next() < 0.5) text = spoilRecord(text, chance);
    await writeFile(path.join(folder, `${n}.json`), text);
  }
  if (chance.next() < 0.2)
    await cp(folder, path.join(folder, "deeper"), { recursive: true, filter: notInto(folder) });
  return `${count} reservations, the last: ${text.slice(0, 300)}`;
}

/** Writes a mark for a checkpoint that was never verified. */
export async function mangleMarks(damaged: Damaged): Promise<string> {
  const name = await pickCheckpoint(damaged);
  const { sha256: manifest } = await readManifest(damaged, name);
  const mark = {
    verifiedAt: damaged.chance.pick(["2026-11-20T06:12:26.123Z", "9999-12-31T23:59:59.999Z"]),
    node: "other",
    digest: `sha256:${"0".repeat(64)}`,
    manifest,
  };
  const text = spoilRecord(JSON.stringify(mark), damaged.chance);
  await put(damaged, `${name}.verified.json`, text);
  return `the mark of ${name}: ${text.slice(0, 300)}`;
}

interface LooseManifest {
  readonly archive?: object;
  readonly sha256?: string;
  readonly log?: { readonly id?: unknown } | null;
  readonly anchor?: { readonly txId?: number };
  readonly files?: unknown;
}

/** Reads the readable part of a manifest, which may have any content after several kinds of damage. */
async function readManifest({ store }: Damaged, name: string): Promise<LooseManifest> {
  const text = await readFile(path.join(store, `${name}.json`), "utf8");
  if (text.length > LONGEST_MANIFEST) return {};
  try {
    return { ...(JSON.parse(text) as LooseManifest | null) };
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

/** Returns a filter for copies, because a folder cannot be copied into itself. */
function notInto(folder: string): (source: string) => boolean {
  const own = path.join(folder, "deeper");
  return (source) => !source.startsWith(own);
}
