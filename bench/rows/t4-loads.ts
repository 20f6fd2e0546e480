import { mkdir, rm } from "node:fs/promises";
import {
  BACKUP_EVERY,
  backedUp,
  type BesideT4,
  cairnServer,
  firstLook,
  putEach,
  saveCheckpoint,
  uploadedLog,
} from "../data/beside-t4.ts";
import { type BucketPlace, over } from "../data/bucket.ts";
import { newestT4Checkpoint } from "../data/t4-checkpoints.ts";
import { seconds, settle } from "../harness/command.ts";
import type { Figures } from "../harness/figures.ts";
import type { LimitedLink } from "../harness/limited-link.ts";
import { startNodeProcess } from "../harness/node-process.ts";
import { processorSeconds } from "../harness/process-use.ts";
import type { Contestant } from "../harness/row.ts";
import { LATE_UPLOAD, startT4 } from "../harness/t4.ts";
import type { YcsbServer } from "../harness/ycsb.ts";

export const LOAD_CAIRN = "load, then 1 % again: cairn";
export const LOAD_T4 = "load, then 1 % again: T4";
const MB = 1e6;
const CHANGED_PART = 0.01;

/** What a load and its uploads are measured with. Each round has a folder, and a place in S3, of its own. */
interface Loading extends BesideT4 {
  readonly dir: string;
  readonly place: BucketPlace;
  /** The link over which `place` is reached. */
  readonly link: LimitedLink;
}

/** Loading all records, a checkpoint of them, and another one after 1 % of them was overwritten. */
export function loadContestants(beside: BesideT4): Contestant[] {
  const loading = (name: string, measure: (loading: Loading) => Promise<Figures>): Contestant => ({
    name,
    run: async () => {
      const { workspace, server, newPlace } = beside;
      const [dir, place, link] = [workspace.fresh("loading"), newPlace(), await server.link()];
      await mkdir(dir);
      try {
        return await measure({ ...beside, dir, place: over(link, place), link });
      } finally {
        await link.close();
        await server.empty(place);
        await rm(dir, { recursive: true });
      }
    },
  });
  return [loading(LOAD_CAIRN, loadCairn), loading(LOAD_T4, loadT4)];
}

async function loadCairn(loading: Loading): Promise<Figures> {
  const { dir, place, link, records } = loading;
  const node = await startNodeProcess({ dir, checkpoints: place, backUp: BACKUP_EVERY });
  try {
    await firstLook(node);
    const load = await measureLoad(loading, cairnServer(node));
    const log = await sent(link, () => backedUp(node));
    let archive = 0;
    const save = async (): Promise<void> => {
      archive = await saveCheckpoint(node);
    };
    const first = await saving(link, save);
    const changed = await sent(link, async () => {
      await putEach(loading, cairnServer(node), { records: Math.round(records * CHANGED_PART) });
      await backedUp(node);
    });
    const figures = { ...load, "load, MB up": load["load, MB up"] + log, "checkpoint, MB": archive / MB };
    return { ...figures, ...named("checkpoint", first), ...afterChange(changed, await saving(link, save)) };
  } finally {
    await node.stop();
  }
}

async function loadT4(loading: Loading): Promise<Figures> {
  const { dir, place, link, program, records } = loading;
  const changes = Math.round(records * CHANGED_PART);
  // The put after the others is the one that begins the checkpoint, so that its time can be measured.
  const start = (entries: number): ReturnType<typeof startT4> =>
    startT4(program, { dir, place, flags: [LATE_UPLOAD, `--checkpoint-entries=${entries + 1}`] });
  let t4 = await start(records);
  try {
    const load = await measureLoad(loading, t4.client);
    const log = await sent(link, () => uploadedLog(dir));
    const save = async (count: number): Promise<void> => {
      await putEach(loading, t4.client, { records: 1, workers: 1 });
      await t4.checkpoints(count);
    };
    const first = await saving(link, () => save(1));
    const archive = await checkpointSize(loading);
    await t4.stop();
    t4 = await start(changes);
    await t4.checkpoints(1);
    await uploadedLog(dir);
    const changed = await sent(link, async () => {
      await putEach(loading, t4.client, { records: changes });
      await uploadedLog(dir);
    });
    const figures = { ...load, "load, MB up": load["load, MB up"] + log, "checkpoint, MB": archive / MB };
    return {
      ...figures,
      ...named("checkpoint", first),
      ...afterChange(changed, await saving(link, () => save(2))),
    };
  } finally {
    await t4.stop();
  }
}

type Load = Readonly<Record<"puts/s" | "p50, ms" | "p99, ms" | "cpu us each" | "load, MB up", number>>;

async function measureLoad(loading: Loading, to: YcsbServer): Promise<Load> {
  const { link, records } = loading;
  await settle();
  const cpu = processorSeconds(to.pid);
  const before = link.sentBytes();
  const { operations, seconds: took, p50, p99 } = await putEach(loading, to, { records });
  return {
    "puts/s": operations / took,
    "p50, ms": p50,
    "p99, ms": p99,
    "cpu us each": (1e6 * (processorSeconds(to.pid) - cpu)) / operations,
    "load, MB up": (link.sentBytes() - before) / MB,
  };
}

interface Saving {
  readonly s: number;
  readonly megabytes: number;
}

async function saving(link: LimitedLink, save: () => Promise<unknown>): Promise<Saving> {
  await settle();
  const before = link.sentBytes();
  const s = await seconds(save);
  return { s, megabytes: (link.sentBytes() - before) / MB };
}

function named(what: string, { s, megabytes }: Saving): Figures {
  return { [`${what}, s`]: s, [`${what}, MB up`]: megabytes };
}

function afterChange(log: number, checkpoint: Saving): Figures {
  return { "1 % again: log, MB up": log, ...named("1 % again: checkpoint", checkpoint) };
}

/** Returns the megabytes that are sent over a link during `work`. */
async function sent(link: LimitedLink, work: () => Promise<void>): Promise<number> {
  const before = link.sentBytes();
  await work();
  return (link.sentBytes() - before) / MB;
}

async function checkpointSize({ server, place }: Loading): Promise<number> {
  const { tables, others } = await newestT4Checkpoint(server, place);
  return [...tables.values(), ...others.values()].reduce((sum, bytes) => sum + bytes, 0);
}
