import { execFileSync } from "node:child_process";
import {
  cp,
  link as hardLink,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import path from "node:path";
import { extendedRecord, type ForgedEntry, forgeArchive, sha256 } from "./forged-archive.ts";
import { type Chance, spoilRecord } from "./odd-values.ts";

/** The folder of a store, and one beside it that nobody may write to. */
export interface Damaged {
  readonly store: string;
  readonly outside: string;
  readonly chance: Chance;
}

/** Does something to a store that no Cairn would do; answers what, for whoever reads of a seed that failed. */
export type Damage = (damaged: Damaged) => Promise<string>;

/** A longer one is of the odd ones, which cannot be written again. */
const LONGEST_MANIFEST = 200_000;
const TEN_GIGABYTES = 10 * 2 ** 30;
const NEVER_TAKEN = "checkpoint-99-2026-11-20T06-12-26.123Z-1f3a9c0e";

/** The kinds of damage; what is harder on a reader stands more than once. */
export const DAMAGES: readonly [Damage, ...Damage[]] = [
  flipBytes,
  flipBytes,
  cut,
  extend,
  swap,
  renameFile,
  remove,
  pretendNewer,
  foreign,
  foreign,
  link,
  link,
  spoilManifest,
  spoilManifest,
  forge,
  forge,
  mangleLease,
  mangleLease,
  mangleReservations,
  mangleMarks,
  changeTime,
];

async function flipBytes(damaged: Damaged): Promise<string> {
  const file = await pickFile(damaged);
  const content = await readFile(path.join(damaged.store, file));
  const count = 1 + damaged.chance.below(8);
  for (let n = 0; n < count && content.length > 0; n += 1) {
    const at = damaged.chance.below(content.length);
    content.writeUInt8(content.readUInt8(at) ^ (1 << damaged.chance.below(8)), at);
  }
  await writeFile(path.join(damaged.store, file), content);
  return `${count} bytes of ${file} flipped`;
}

async function cut(damaged: Damaged): Promise<string> {
  const file = await pickFile(damaged);
  const { size } = await stat(path.join(damaged.store, file));
  const left = damaged.chance.below(size + 1);
  await truncate(path.join(damaged.store, file), left);
  return `${file} cut to ${left} of ${size} bytes`;
}

async function extend(damaged: Damaged): Promise<string> {
  const file = await pickFile(damaged);
  const { size } = await stat(path.join(damaged.store, file));
  const to = damaged.chance.pick([size + 1, size + 512, size + 1_000_000, TEN_GIGABYTES]);
  await truncate(path.join(damaged.store, file), to);
  return `${file} extended from ${size} to ${to} bytes`;
}

async function swap(damaged: Damaged): Promise<string> {
  const [one, other] = [await pickFile(damaged), await pickFile(damaged)];
  const at = (name: string): string => path.join(damaged.store, name);
  if (one === other) return "no damage";
  await rename(at(one), at("swapping"));
  await rename(at(other), at(one));
  await rename(at("swapping"), at(other));
  return `${one} and ${other} swapped`;
}

async function renameFile(damaged: Damaged): Promise<string> {
  const file = await pickFile(damaged);
  const ending = damaged.chance.pick([".tar", ".json", ".verified.json", ".tar.gz", "~"]);
  const name = damaged.chance.pick([NEVER_TAKEN + ending, file + ending, "copy of it", "in-progress.json"]);
  await rename(path.join(damaged.store, file), path.join(damaged.store, name));
  return `${file} renamed to ${name}`;
}

async function remove(damaged: Damaged): Promise<string> {
  const file = await pickFile(damaged);
  await rm(path.join(damaged.store, file));
  return `${file} removed`;
}

/** A copy of a checkpoint under the name of a newer one, with a manifest that says so. */
async function pretendNewer(damaged: Damaged): Promise<string> {
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
  await put(damaged, `${NEVER_TAKEN}.json`, JSON.stringify(newer));
  return `${name} copied as ${NEVER_TAKEN}`;
}

async function foreign({ store, chance }: Damaged): Promise<string> {
  const name = chance.pick([
    "README",
    ".hidden",
    "checkpoint-",
    "checkpoint-.json",
    "with\nline break",
    "ünï-日本.tar",
    "lost+found",
    `${NEVER_TAKEN}.json`,
    `${NEVER_TAKEN}.tar`,
    `${NEVER_TAKEN}.verified.json`,
    "checkpoint-folder",
    ".tmp-0123456789abcdef",
    ".tmp-claim-in-progress.json-0123456789abcdef",
    "reservations",
    "in-progress.json",
  ]);
  const target = path.join(store, name);
  await rm(target, { recursive: true, force: true });
  const kind = chance.pick(["file", "folder", "full folder", "pipe"]);
  if (kind === "file") await writeFile(target, "not ours");
  else if (kind === "pipe") execFileSync("mkfifo", [target]);
  else await mkdir(target);
  if (kind === "full folder") await writeFile(path.join(target, `${NEVER_TAKEN}.json`), "{}");
  // Old, so that it would pass for what a dead writer left.
  if (chance.next() < 0.5) await utimes(target, 1, 1);
  return `a foreign ${kind} ${JSON.stringify(name)}`;
}

async function link(damaged: Damaged): Promise<string> {
  const { store, outside, chance } = damaged;
  const name = chance.pick([
    await pickFile(damaged),
    "checkpoint-link",
    `${NEVER_TAKEN}.json`,
    "in-progress.json",
    "reservations",
    ".tmp-0123456789abcdef",
  ]);
  const to = chance.pick([
    name,
    "nowhere",
    outside,
    path.join(outside, "kept.txt"),
    `${path.join(outside, "kept.txt")}/below`,
    await pickFile(damaged),
    ".",
    "/dev/zero",
  ]);
  await rm(path.join(store, name), { recursive: true, force: true });
  await symlink(to, path.join(store, name));
  return `${name} made a link to ${to}`;
}

async function spoilManifest(damaged: Damaged): Promise<string> {
  const name = await pickCheckpoint(damaged);
  const before = await readFile(path.join(damaged.store, `${name}.json`), "utf8");
  const text = spoilRecord(before, damaged.chance);
  await put(damaged, `${name}.json`, text);
  return `the manifest of ${name} now ${text.length} characters: ${text.slice(0, 300)}`;
}

/** An archive that may not be, with a manifest that has its digest. */
async function forge(damaged: Damaged): Promise<string> {
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
    JSON.stringify({
      ...manifest,
      archive: { name: `${name}.tar`, bytes: archive.length, sha256: sha256(archive) },
      files: chance.next() < 0.5 || listed.length === 0 ? manifest.files : listed,
    }),
  );
  return `the archive of ${name} forged: ${JSON.stringify(entries)}`;
}

async function mangleLease(damaged: Damaged): Promise<string> {
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
  await put(damaged, "in-progress.json", text);
  return `a lease: ${text.slice(0, 300)}`;
}

async function mangleReservations(damaged: Damaged): Promise<string> {
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

async function mangleMarks(damaged: Damaged): Promise<string> {
  const name = await pickCheckpoint(damaged);
  const { archive } = await readManifest(damaged, name);
  const mark = {
    verifiedAt: damaged.chance.pick(["2026-11-20T06:12:26.123Z", "9999-12-31T23:59:59.999Z"]),
    node: "other",
    digest: `sha256:${"0".repeat(64)}`,
    archive: archive?.sha256,
  };
  const text = spoilRecord(JSON.stringify(mark), damaged.chance);
  await put(damaged, `${name}.verified.json`, text);
  return `the mark of ${name}: ${text.slice(0, 300)}`;
}

async function changeTime(damaged: Damaged): Promise<string> {
  const file = await pickFile(damaged);
  const time = damaged.chance.pick([0, 1, 2 ** 33]);
  await utimes(path.join(damaged.store, file), time, time);
  return `${file} is of ${new Date(time * 1_000).toISOString()}`;
}

/** Anew: what is there may be a link or a pipe by now. */
async function put({ store }: Damaged, name: string, content: string | Buffer): Promise<void> {
  await rm(path.join(store, name), { recursive: true, force: true });
  await writeFile(path.join(store, name), content);
}

interface LooseManifest {
  readonly archive?: { readonly sha256?: string };
  readonly anchor?: { readonly txId?: number };
  readonly files?: unknown;
}

/** What can be read of a manifest: damage upon damage, it may be anything by now. */
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

async function pickFile({ store, chance }: Damaged): Promise<string> {
  const files = (await readdir(store, { withFileTypes: true })).filter((entry) => entry.isFile());
  const [first = "", ...rest] = files.map(({ name }) => name).toSorted();
  return chance.pick([first, ...rest]);
}

async function pickCheckpoint({ store, chance }: Damaged): Promise<string> {
  const files = (await readdir(store, { withFileTypes: true })).filter((entry) => entry.isFile());
  const manifests = files
    .map(({ name }) => name)
    .filter((name) => /^checkpoint-\d.*Z-[0-9a-f]{8}\.json$/.test(name));
  const [first = `${NEVER_TAKEN}.json`, ...rest] = manifests.toSorted();
  return chance.pick([first, ...rest]).slice(0, -".json".length);
}

/** A folder cannot be copied into itself. */
function notInto(folder: string): (source: string) => boolean {
  const own = path.join(folder, "deeper");
  return (source) => !source.startsWith(own);
}
