import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { SystemCall } from "./system-calls.ts";
import { type Choices, type DiskState, TracedDisk, type TracedFile } from "./traced-disk.ts";

/** The maximum number of pages, sizes and names that are omitted one by one for each instant. */
const MOST_LOST = 60;

/** A state of the disk that a power loss may leave, and the reports that the program made before the power loss. */
export interface CrashState {
  readonly files: DiskState;
  readonly told: readonly string[];
  /** The instant and the choice, with which the state can be found again. */
  readonly name: string;
}

/**
 * Yields the states that a power loss may leave at every instant before a flush and after a report of the program
 * (other instants leave no other states): all data that was not flushed exists, or none, or everything except one page,
 * one file's size, or one name. At each instant, also yields `random` states of any combination.
 */
export function* crashStates(
  calls: readonly SystemCall[],
  root: string,
  random: { readonly states: number; readonly next: () => number },
): Generator<CrashState, void, void> {
  const disk = new TracedDisk(root);
  const seen: Seen = { states: new Set(), digests: new WeakMap() };
  const begun = new Map<SystemCall, (file: TracedFile | undefined) => number>();
  const events = calls.flatMap((call) => {
    const ends = [{ line: call.done, call, ends: true }];
    return TracedDisk.flushes(call) ? [{ line: call.begun - 0.5, call, ends: false }, ...ends] : ends;
  });
  for (const { line, call, ends } of events.toSorted((a, b) => a.line - b.line)) {
    if (!ends) {
      begun.set(call, disk.mark());
      continue;
    }
    const told = disk.told.length;
    if (TracedDisk.flushes(call)) yield* statesNow(disk, line, seen, random);
    disk.apply(call, begun.get(call) ?? (() => 0));
    if (disk.told.length > told) yield* statesNow(disk, line, seen, random);
  }
  yield* statesNow(disk, Number.POSITIVE_INFINITY, seen, random);
}

function* statesNow(
  disk: TracedDisk,
  line: number,
  seen: Seen,
  random: { readonly states: number; readonly next: () => number },
): Generator<CrashState, void, void> {
  const told = [...disk.told];
  const below = (limit: number): number => Math.floor(random.next() * limit);
  const all = new Counted();
  const choices: [string, Choices][] = [
    ["all", all],
    ["nothing", { names: () => 0, name: () => false, page: () => 0, size: () => 0 }],
    ["names alone", { names: (count) => count, name: () => true, page: () => 0, size: () => 0 }],
    ["sizes alone", { names: (count) => count, name: () => true, page: () => 0, size: (count) => count }],
    ["contents alone", { names: () => 0, name: () => false, page: (count) => count, size: (count) => count }],
  ];
  for (const [name, choice] of choices) yield* once(name, disk.state(choice));
  for (let lost = 0; lost < all.asked; lost += Math.ceil(all.asked / MOST_LOST)) {
    yield* once(`all but ${lost}`, disk.state(new Counted(lost)));
  }
  for (let round = 0; round < random.states; round += 1) {
    const early = random.next() < 0.5;
    const arrives = random.next();
    const choose = (count: number): number => {
      const dice = random.next();
      return dice < arrives ? count : dice < arrives + (1 - arrives) / 2 ? 0 : below(count + 1);
    };
    const choice = {
      names: (count: number) => (random.next() < 0.5 ? count : below(count + 1)),
      name: () => early && random.next() < 0.5,
      page: choose,
      size: choose,
    };
    yield* once(`random ${round}`, disk.state(choice));
  }

  function* once(name: string, files: DiskState): Generator<CrashState, void, void> {
    const lines = [...files].map(
      ([path, content]) => `${path} ${content === undefined ? "" : digestOf(content)}`,
    );
    const state = createHash("sha1")
      .update([...told, ...lines].join("\n"))
      .digest("hex");
    if (seen.states.has(state)) return;
    seen.states.add(state);
    yield { files, told, name: `${name} at line ${line + 1}` };
  }

  function digestOf(content: Buffer): string {
    const digest = seen.digests.get(content) ?? createHash("sha1").update(content).digest("hex");
    seen.digests.set(content, digest);
    return digest;
  }
}

interface Seen {
  readonly states: Set<string>;
  readonly digests: WeakMap<Buffer, string>;
}

/** Chooses the newest of everything, except for choice number `lost` if it is given. */
class Counted implements Choices {
  readonly #lost: number | undefined;
  asked = 0;

  constructor(lost?: number) {
    this.#lost = lost;
  }

  names(count: number): number {
    return this.#newest(count);
  }

  name(): boolean {
    return true;
  }

  page(count: number): number {
    return this.#newest(count);
  }

  size(count: number): number {
    return this.#newest(count);
  }

  #newest(count: number): number {
    const isLost = this.asked++ === this.#lost;
    return isLost ? count - 1 : count;
  }
}

/** Writes a state's files below `root`. */
export async function putState(state: DiskState, root: string): Promise<void> {
  await mkdir(root, { recursive: true });
  for (const [path, content] of state) {
    await mkdir(content === undefined ? join(root, path) : dirname(join(root, path)), { recursive: true });
    if (content !== undefined) await writeFile(join(root, path), content);
  }
}
