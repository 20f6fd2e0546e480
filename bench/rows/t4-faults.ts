import { mkdir, rm } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { type BesideT4, countUnreadable, openBesideT4, putEach } from "../data/beside-t4.ts";
import { type BucketPlace, over } from "../data/bucket.ts";
import { newCairn, newT4, type Running, type Subject } from "../data/t4-subjects.ts";
import type { Figures } from "../harness/figures.ts";
import { type Contestant, type Row, type Target } from "../harness/row.ts";
import { LATE_UPLOAD } from "../harness/t4.ts";

const RECORDS = 20_000;
const CHANGED = 200;
/** T4 closes a segment of its log, and uploads it, after 10 s. */
const AWAY_SECONDS = 15;
const BACK_SECONDS = 5;
const UPLOAD_SECONDS = 6;
const WRITERS = 4;
const READ = 100;
/** A link on which the upload of a checkpoint of all records takes some seconds, in bytes per second. */
const SLOW = 1_000_000;
const KILL_AFTER_BYTES = 2_000_000;
const POLL_MS = 10;
const IN_UPLOADS = "killed in an upload";
const DAMAGED = "newest checkpoint damaged";
const AWAY = "S3 away";
const PROBLEMS = "problems reported at the start";

/** Faults of S3, of what is stored there, and of a node that uploads. */
interface Scene extends BesideT4 {
  readonly subject: Subject;
  readonly place: BucketPlace;
  /** Returns a new folder for a node. */
  readonly folder: () => Promise<string>;
}

const FAULTS: Readonly<Record<string, (scene: Scene) => Promise<Figures>>> = {
  [DAMAGED]: damageCheckpoint,
  [AWAY]: takeS3Away,
  [IN_UPLOADS]: killInUpload,
};

/** What Cairn and T4 do when something breaks. */
export const t4Faults: Row = {
  name: "t4-faults",
  title: "a damaged checkpoint, S3 away, kill -9 in an upload, beside T4",
  async prepare(workspace) {
    const beside = await openBesideT4(workspace, Math.min(RECORDS, workspace.records.count));
    const subjects: Readonly<Record<string, () => Promise<Subject>>> = {
      cairn: () => newCairn(beside),
      T4: () => Promise.resolve(newT4(beside, [])),
      "T4, late uploads": () => Promise.resolve(newT4(beside, [LATE_UPLOAD])),
    };
    const contestants = Object.entries(FAULTS).flatMap(([fault, cause]) =>
      Object.entries(subjects).map(([name, make]): Contestant => ({
        name: `${fault}: ${name}`,
        run: () => onStage(beside, make, cause),
      })),
    );
    return { contestants, targets: TARGETS };
  },
};

const TARGETS: readonly Target[] = [
  { of: { contestant: `${DAMAGED}: cairn`, metric: PROBLEMS }, atLeast: 1 },
  none(DAMAGED, "unreadable records"),
  none(AWAY, "unreadable of 100"),
  none(AWAY, "failed puts"),
  none(AWAY, "failed puts once it is back"),
  none(IN_UPLOADS, "missing after a restart"),
  none(IN_UPLOADS, "missing after a wipe"),
];

function none(fault: string, metric: string): Target {
  return { of: { contestant: `${fault}: cairn`, metric }, atMost: 0 };
}

async function onStage(
  beside: BesideT4,
  make: () => Promise<Subject>,
  cause: (scene: Scene) => Promise<Figures>,
): Promise<Figures> {
  const place = beside.newPlace();
  const folders: string[] = [];
  const folder = async (): Promise<string> => {
    const dir = beside.workspace.fresh("faults");
    await mkdir(dir);
    folders.push(dir);
    return dir;
  };
  try {
    return await cause({ ...beside, subject: await make(), place, folder });
  } finally {
    await beside.server.empty(place);
    for (const dir of folders) await rm(dir, { recursive: true });
  }
}

/** Runs a node while `work` is done. */
async function running<T>(
  { subject, place }: Scene,
  choice: { readonly dir: string; readonly place?: BucketPlace },
  work: (node: Running) => Promise<T>,
): Promise<T> {
  const node = await subject.start({ place, ...choice });
  try {
    return await work(node);
  } finally {
    await node.process.stop();
  }
}

/** Changes a byte in the newest of two checkpoints, and lets a node with a wiped disk join. */
async function damageCheckpoint(scene: Scene): Promise<Figures> {
  const { records, subject, place, folder, server } = scene;
  const dir = await folder();
  await running(scene, { dir }, (node) => putEach(scene, node.client, { records }));
  await running(scene, { dir }, async (node) => {
    await node.save();
    await putEach(scene, node.client, { records: CHANGED });
  });
  await running(scene, { dir }, (node) => node.save());
  const name = await subject.newestObject(place);
  const content = await server.read(place, name);
  const at = Math.floor(content.length * 0.3);
  content[at] = (content[at] ?? 0) ^ 0x55;
  await server.write(place, name, content);
  return await running(scene, { dir: await folder() }, async (node) => ({
    [PROBLEMS]: await node.problems(),
    "unreadable records": await countUnreadable(scene, node.client, { records }),
  }));
}

/** Takes S3 away from a node that accepts puts, and gives it back. */
async function takeS3Away(scene: Scene): Promise<Figures> {
  const { records, place, folder, server } = scene;
  const link = await server.link();
  try {
    return await running(scene, { dir: await folder(), place: over(link, place) }, async (node) => {
      await putEach(scene, node.client, { records });
      link.cut(true);
      const put = { records: 1e9, workers: WRITERS, tolerate: "2s" };
      const away = await putEach(scene, node.client, { ...put, from: records, seconds: AWAY_SECONDS });
      const unreadable = await countUnreadable(scene, node.client, { records: READ });
      const { status } = await fetch(node.health);
      link.cut(false);
      const from = 2 * records + away.operations + away.failed;
      const back = await putEach(scene, node.client, { ...put, from, seconds: BACK_SECONDS });
      return {
        "puts/s": away.operations / away.seconds,
        "failed puts": away.failed,
        [`unreadable of ${READ}`]: unreadable,
        "health, HTTP status": status,
        "puts/s once it is back": back.operations / back.seconds,
        "failed puts once it is back": back.failed,
      };
    });
  } finally {
    await link.close();
  }
}

/** Kills a node that uploads a checkpoint and accepts puts; starts it again, and then another one with a wiped disk. */
async function killInUpload(scene: Scene): Promise<Figures> {
  const { records, place, folder, server, newPlace } = scene;
  const dir = await folder();
  await running(scene, { dir }, (node) => putEach(scene, node.client, { records }));
  const link = await server.link(SLOW);
  const put = { from: records, records: 1e9, workers: 1, tolerate: "30s", seconds: UPLOAD_SECONDS };
  let acknowledged = 0;
  try {
    await running(scene, { dir, place: over(link, place) }, async (node) => {
      const begin = link.sentBytes();
      await node.beginSaving();
      const putting = putEach(scene, node.client, put);
      while (link.sentBytes() < begin + KILL_AFTER_BYTES) await delay(POLL_MS);
      process.kill(node.process.pid, "SIGKILL");
      acknowledged = (await putting).operations;
    });
  } finally {
    await link.close();
  }
  // The node that starts again uploads what it has on its disk, which must not help the one with a wiped disk.
  const copy = newPlace();
  await server.copy(place, copy);
  const missing = (node: Running): Promise<number> =>
    countUnreadable(scene, node.client, { records: records + acknowledged });
  try {
    return {
      "acknowledged puts": acknowledged,
      "missing after a wipe": await running(scene, { dir: await folder(), place: copy }, missing),
      "missing after a restart": await running(scene, { dir }, missing),
    };
  } finally {
    await server.empty(copy);
  }
}
