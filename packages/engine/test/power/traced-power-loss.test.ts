import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { crashStates, type CrashState } from "./crash-states.ts";
import { judge } from "./power-scenes.ts";
import { parseCalls, recordCalls } from "./system-calls.ts";

/** The number of states of each scene that `pnpm soak power` tries; undefined in the suite, which has no trace. */
const STATES = process.env["CAIRN_SOAK_ROUNDS"];
const SEED = Number(process.env["CAIRN_SOAK_SEED"] ?? 1);
const SCENES = STATES === undefined ? [] : ["log", "index", "node"];
/** The number of states that are tried at each instant in addition to the regular ones. */
const RANDOM_STATES = 40;

function hex(text: string): string {
  return `"${Buffer.from(text)
    .toString("hex")
    .replaceAll(/../g, (byte) => `\\x${byte}`)}"`;
}

function traceOf(lines: readonly string[]): string {
  return lines.map((line) => `7 ${line}`).join("\n");
}

function statesOf(lines: readonly string[]): string[] {
  const calls = parseCalls(traceOf(lines));
  const found = crashStates(calls, "/root", { states: 200, next: seeded(3) });
  return [...found].map(({ files, told }) => {
    const shown = [...files].map(([name, content]) => `${name}=${content?.toString("latin1") ?? ""}`);
    return `${shown.toSorted().join(" ")}|${told.join(",")}`;
  });
}

describe("the states that a power loss may leave, rebuilt from a trace of system calls,", () => {
  const create = (name: string, fd: number): string =>
    `openat(AT_FDCWD, ${hex(`/root/${name}`)}, O_WRONLY|O_CREAT|O_TRUNC, 0666) = ${fd}`;
  const write = (fd: number, text: string): string =>
    `write(${fd}, ${hex(text)}, ${text.length}) = ${text.length}`;
  const rename = `rename(${hex("/root/a")}, ${hex("/root/b")}) = 0`;
  const openRoot = `openat(AT_FDCWD, ${hex("/root")}, O_RDONLY) = 9`;

  it("may have a name without its content, and have the content only of flushed files", () => {
    expect(statesOf([create("a", 3), write(3, "x")]).toSorted()).toEqual(
      ["a=x|", "a=\0|", "a=|", "|"].toSorted(),
    );
    expect(statesOf([create("a", 3), write(3, "x"), "fsync(3) = 0", 'write(1, "\\x6b", 1) = 1'])).toContain(
      "a=x|k",
    );
    expect(
      statesOf([create("a", 3), write(3, "x"), "fsync(3) = 0", 'write(1, "\\x6b", 1) = 1']),
    ).not.toContain("a=|k");
  });

  it("have a new name, or the old one, until its folder is flushed", () => {
    const before = [create("a", 3), write(3, "x"), "fsync(3) = 0", openRoot, "fsync(9) = 0", rename];
    const told = write(1, "told");
    expect(
      statesOf([...before, told])
        .filter((state) => state.endsWith("told"))
        .toSorted(),
    ).toEqual(["a=x|told", "b=x|told"]);
    expect(statesOf([...before, "fsync(9) = 0", told]).filter((state) => state.endsWith("told"))).toEqual([
      "b=x|told",
    ]);
  });

  it("may or may not have data that was written after a flush had begun", () => {
    const lines = [
      "7 fsync(3 <unfinished ...>",
      `8 ${write(3, "y")}`,
      "7 <... fsync resumed>) = 0",
      `7 ${write(1, "k")}`,
    ];
    const trace = `${traceOf([create("a", 3), write(3, "x")])}\n${lines.join("\n")}`;
    const found = [...crashStates(parseCalls(trace), "/root", { states: 50, next: seeded(1) })];
    const after = found
      .filter(({ told }) => told.length > 0)
      .map(({ files }) => files.get("a")?.toString("latin1"));
    expect(after).toContain("x");
    expect(after).toContain("xy");
    expect(after).not.toContain("");
  });

  it("may lack any single page of several", () => {
    const pages = ["a", "b", "c"].map((letter) => letter.repeat(4_096));
    const found = statesOf([create("f", 3), ...pages.map((page) => write(3, page))]);
    for (const page of pages) {
      expect(found).toContain(`f=${pages.join("").replace(page, "\0".repeat(4_096))}|`);
    }
  });

  const folders: string[] = [];
  afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))));

  it.each(SCENES)(
    "lose no acknowledged data, and are not refused if they are intact: %s",
    { timeout: 7_200_000 },
    async (scene) => {
      const folder = await mkdtemp(join(tmpdir(), "cairn-traced-"));
      folders.push(folder);
      const root = join(folder, "root");
      await mkdir(root);
      const child = fileURLToPath(new URL("../../dist/test/power/power-child.js", import.meta.url));
      const calls = await recordCalls([process.execPath, child, scene, root], join(folder, "trace"));
      const states = (): Iterable<CrashState> =>
        crashStates(calls, root, { states: RANDOM_STATES, next: seeded(SEED) });
      let count = 0;
      for (const _ of states()) count += 1;
      const next = seeded(SEED + 1);
      const came: Record<string, number> = {};
      const wrong: string[] = [];
      let tried = 0;
      for (const state of states()) {
        if (next() * count >= Number(STATES)) continue;
        tried += 1;
        try {
          const what = await judge(scene, state);
          came[what] = (came[what] ?? 0) + 1;
        } catch (error) {
          wrong.push(`${state.name}: ${String(error)}`);
        }
      }
      process.stdout.write(
        `${scene}: ${calls.length} calls, ${count} states, ${tried} tried with seed ${SEED}: ${JSON.stringify(came)}, wrong ${wrong.length}\n`,
      );
      expect(wrong.slice(0, 20)).toEqual([]);
    },
  );
});

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
