import { execFileSync } from "node:child_process";
import { mkdir, readFile, rename, rm, stat, symlink, truncate, utimes, writeFile } from "node:fs/promises";
import path from "node:path";
import { type Damaged, NEVER_TAKEN, pickCheckpoint, pickFile } from "./damaged-folder.ts";

const TEN_GIGABYTES = 10 * 2 ** 30;

/** Flips bits, like a failing disk. */
export async function flipBytes(damaged: Damaged): Promise<string> {
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

/** Flips one bit of a file in an archive, but never a bit of the padding. */
export async function flipContent(damaged: Damaged): Promise<string> {
  const file = `${await pickCheckpoint(damaged)}.tar`;
  const content = await readFile(path.join(damaged.store, file));
  let at = damaged.chance.below(content.length);
  while (at > 0 && content[at] === 0) at -= 1;
  if (content.length > 0) content.writeUInt8(content.readUInt8(at) ^ (1 << damaged.chance.below(8)), at);
  await writeFile(path.join(damaged.store, file), content);
  return `a bit of byte ${at} of ${file} flipped`;
}

/** Truncates a file, like an interrupted copy. */
export async function cut(damaged: Damaged): Promise<string> {
  const file = await pickFile(damaged);
  const { size } = await stat(path.join(damaged.store, file));
  const left = damaged.chance.below(size + 1);
  await truncate(path.join(damaged.store, file), left);
  return `${file} cut to ${left} of ${size} bytes`;
}

/** Extends a file, up to a size larger than a disk. */
export async function extend(damaged: Damaged): Promise<string> {
  const file = await pickFile(damaged);
  const { size } = await stat(path.join(damaged.store, file));
  const to = damaged.chance.pick([size + 1, size + 512, size + 1_000_000, TEN_GIGABYTES]);
  await truncate(path.join(damaged.store, file), to);
  return `${file} extended from ${size} to ${to} bytes`;
}

/** Swaps two files. */
export async function swap(damaged: Damaged): Promise<string> {
  const [one, other] = [await pickFile(damaged), await pickFile(damaged)];
  const at = (name: string): string => path.join(damaged.store, name);
  if (one === other) return "no damage";
  await rename(at(one), at("swapping"));
  await rename(at(other), at(one));
  await rename(at("swapping"), at(other));
  return `${one} and ${other} swapped`;
}

/** Gives a file a name with a different meaning, or with none. */
export async function renameFile(damaged: Damaged): Promise<string> {
  const file = await pickFile(damaged);
  const ending = damaged.chance.pick([".tar", ".json", ".verified.json", ".tar.gz", "~"]);
  const name = damaged.chance.pick([NEVER_TAKEN + ending, file + ending, "copy of it", "in-progress.json"]);
  await rename(path.join(damaged.store, file), path.join(damaged.store, name));
  return `${file} renamed to ${name}`;
}

/** Removes a file. */
export async function remove(damaged: Damaged): Promise<string> {
  const file = await pickFile(damaged);
  await rm(path.join(damaged.store, file));
  return `${file} removed`;
}

/** Puts a foreign file or folder into the store, possibly in place of one of Cairn's. */
export async function foreign({ store, chance }: Damaged): Promise<string> {
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
  // The entry is old, so that it can be mistaken for a dead writer's leftover.
  if (chance.next() < 0.5) await utimes(target, 1, 1);
  return `a foreign ${kind} ${JSON.stringify(name)}`;
}

/** Creates a symbolic link to an arbitrary target. */
export async function link(damaged: Damaged): Promise<string> {
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
  return `${name} replaced by a link to ${to}`;
}

/** Changes a file's modification time. */
export async function changeTime(damaged: Damaged): Promise<string> {
  const file = await pickFile(damaged);
  const time = damaged.chance.pick([0, 1, 2 ** 33]);
  await utimes(path.join(damaged.store, file), time, time);
  return `${file} is of ${new Date(time * 1_000).toISOString()}`;
}
