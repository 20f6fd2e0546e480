import { readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { CheckpointStore } from "@cairn/checkpoint";
import { faultyStore, type StoreFaults, unreachable } from "@cairn/checkpoint/testing";
import type { Chance } from "../../faults/odd-values.ts";

/** What happens to a store while a node joins from it. */
export interface JoinFault {
  readonly name: string;
  /** Whether the newest checkpoint is refused, so that an older one is restored. */
  readonly refuses?: true;
  /** Whether no read fails any more once one was answered. */
  readonly steady?: true;
  /** Whether the node cannot attach. */
  readonly detached?: true;
  /** Done before the node starts. */
  readonly first?: (scene: FaultScene) => Promise<void> | void;
  /** Done when the newest archive is about to be downloaded for the `nth` time. */
  readonly onOpen?: (scene: FaultScene, nth: number) => Promise<void> | void;
  /** Done after each part of an archive that is downloaded. */
  readonly between?: (scene: FaultScene) => Promise<void> | void;
}

export interface FaultScene {
  /** The folder of the store, which belongs to this join alone. */
  readonly folder: string;
  /** The names of the checkpoints, newest first. */
  readonly checkpoints: readonly [newest: string, older: string];
  readonly faults: StoreFaults;
  readonly chance: Chance;
}

const archiveOf = (name: string): string => `${name}.tar`;

function newest({ folder, checkpoints: [name] }: FaultScene): string {
  return path.join(folder, archiveOf(name));
}

/** Changes one bit, or a few, in the second half of the newest archive. */
async function damage(scene: FaultScene): Promise<void> {
  const { chance } = scene;
  const bytes = await readFile(newest(scene));
  const half = bytes.length >>> 1;
  for (let left = chance.pick([1, 1, 4, 16]); left > 0;) {
    const at = half + chance.below(half);
    // Padding consists of zeros, and means nothing.
    if (bytes[at] === 0) continue;
    bytes[at] = (bytes[at] ?? 0) ^ (1 << chance.below(8));
    left -= 1;
  }
  await put(scene, bytes);
}

/** Replaces the newest archive with the older one, or with as much of it as makes no difference to the size. */
async function replace(scene: FaultScene): Promise<void> {
  const { folder, checkpoints, chance } = scene;
  const older = await readFile(path.join(folder, archiveOf(checkpoints[1])));
  const bytes = await readFile(newest(scene));
  older.copy(bytes);
  await put(scene, chance.next() < 0.5 ? older : bytes);
}

/** Writes the newest archive in place, where those who have opened it see it, or as a new file. */
async function put(scene: FaultScene, bytes: Buffer): Promise<void> {
  const file = newest(scene);
  if (scene.chance.next() < 0.5) return await writeFile(file, bytes);
  await writeFile(`${file}.new`, bytes);
  await rename(`${file}.new`, file);
}

/** Removes the newest checkpoint as a sweep does: the manifest first. */
async function sweep({ folder, checkpoints: [name] }: FaultScene): Promise<void> {
  for (const part of [".json", ".tar"]) await rm(path.join(folder, name + part), { force: true });
}

/** The faults of consecutive rounds: in a third of them, the newest checkpoint is refused. */
export const JOIN_FAULTS: readonly JoinFault[] = [
  { name: "none", steady: true },
  { name: "damaged", refuses: true, first: damage },
  {
    name: "slow",
    steady: true,
    // Reads are waiting for the store when the restored index takes over.
    onOpen: ({ faults, chance }) => {
      faults.before = async ({ method }) => {
        if (method === "readRange") await delay(chance.below(300));
      };
    },
  },
  {
    name: "ranges fail",
    first: ({ faults, chance }) => {
      const share = chance.pick([0.01, 0.1, 0.5, 1]);
      faults.fail = ({ method }) =>
        method === "readRange" && chance.next() < share ? unreachable() : undefined;
    },
  },
  { name: "damaged after it was opened", refuses: true, onOpen: damage },
  { name: "cut off", onOpen: cutOff },
  { name: "no ranges", detached: true },
  { name: "replaced", refuses: true, first: replace },
  { name: "swept", between: async (scene) => (scene.chance.next() < 0.2 ? await sweep(scene) : undefined) },
  { name: "swept before it was opened", onOpen: sweep },
  { name: "replaced after it was opened", refuses: true, onOpen: replace },
  { name: "ends early", refuses: true, onOpen: endEarly },
];

/** The connection ends in the middle of the first or the first two downloads; meanwhile, ranges fail as well. */
async function cutOff(scene: FaultScene, nth: number): Promise<void> {
  const at = await placeInNewest(scene);
  const isCut = nth === 1 || (nth === 2 && scene.chance.next() < 0.5);
  scene.faults.cutAfter = () => (isCut ? at : undefined);
}

async function endEarly(scene: FaultScene): Promise<void> {
  const at = await placeInNewest(scene);
  scene.faults.endAfter = (name) => (name === archiveOf(scene.checkpoints[0]) ? at : undefined);
}

async function placeInNewest(scene: FaultScene): Promise<number> {
  return scene.chance.below((await readFile(newest(scene))).length);
}

/** Returns the store of a join, whose downloads wait for `before` at first and for `between` after each part. */
export function storeWith(
  fault: JoinFault,
  store: CheckpointStore,
  scene: FaultScene,
  waits: { readonly before: () => Promise<void>; readonly between: () => Promise<void> },
): CheckpointStore {
  const faulty = faultyStore(store, scene.faults);
  async function* parts(content: Readable): AsyncGenerator<unknown> {
    for await (const part of content) {
      yield part;
      await waits.between();
      await fault.between?.(scene);
    }
  }
  let opened = 0;
  const slow: CheckpointStore = {
    ...faulty,
    open: async (name, options) => {
      if (name === archiveOf(scene.checkpoints[0])) {
        await waits.before();
        opened += 1;
        await fault.onOpen?.(scene, opened);
      }
      const content = await faulty.open(name, options);
      content.on("error", () => undefined);
      return Readable.from(parts(content), { objectMode: false }).once("close", () => content.destroy());
    },
  };
  if (fault.detached !== true) return slow;
  const { openRanges: _, ...whole } = slow;
  return whole;
}
