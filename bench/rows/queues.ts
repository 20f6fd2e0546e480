import { randomUUID } from "node:crypto";
import { nodeConfig } from "../data/node-config.ts";
import { succeeds } from "../harness/command.ts";
import { startNodeIn } from "../harness/node-process.ts";
import { startRedis } from "../harness/redis.ts";
import { type Contestant, ratioTarget, type Row, type Target } from "../harness/row.ts";

const ENTRIES = 100_000;
/** The number of entries where a handler waits. SQLite gets a tenth where each entry has a commit of its own. */
const FEWER_ENTRIES = 20_000;
const AT_ONCE = 32;
const FEW = 10_000;
const MANY = 1_000_000;

const CAIRN = "cairn, embedded log";
const REDIS = "Redis, lists, appendfsync always";
const SQLITE = "SQLite, a table, a commit for each change";
const SQLITE_GROUPS = "SQLite, a table, a commit for 32 changes";
const BESIDE_FEW = "cairn, a director's start, beside 10,000 finished";
const BESIDE_MANY = "cairn, a director's start, beside 1,000,000 finished";
const ONE = "cairn, NATS, one director";
const THREE = "cairn, NATS, three directors";
const BACKLOG_ONE = "cairn, NATS, a backlog, one director";
const BACKLOG_FOUR = "cairn, NATS, a backlog, four directors";

/** Entries from being enqueued until they are finished, compared with queues in Redis and SQLite. */
export const queues: Row = {
  name: "queues",
  title:
    "entries of a queue until they are finished, 32 at once; the start of a director; directors over HTTP",
  async prepare(workspace) {
    const load = { entries: ENTRIES, atOnce: AT_ONCE };
    const { url } = await workspace.natsServer();
    const onNats = await startNodeIn(workspace, "queues", { url, stream: `queues-${randomUUID()}` });
    const filled = async (finished: number): Promise<object> => {
      const config = nodeConfig({ dir: workspace.fresh("queue") });
      workspace.onProgress(`a queue with ${finished} finished entries`);
      await workspace.run("fill queue", { config, finished });
      return config;
    };
    const [few, many] = [await filled(FEW), await filled(MANY)];
    const directing = (name: string, directors: number): Contestant => ({
      name,
      run: () =>
        workspace.run("direct over HTTP", {
          port: onNats.port,
          directors,
          entries: FEWER_ENTRIES,
          concurrency: AT_ONCE,
          waitMs: 20,
          queue: `jobs-${randomUUID()}`,
        }),
    });
    const backlog = (name: string, directors: number): Contestant => ({
      name,
      run: () =>
        workspace.run("direct over HTTP", {
          port: onNats.port,
          directors,
          entries: 400,
          concurrency: 4,
          waitMs: 50,
          queue: `jobs-${randomUUID()}`,
          shards: 8,
          isBacklog: true,
        }),
    });
    const contestants: Contestant[] = [
      {
        name: CAIRN,
        run: () =>
          workspace.run("queue in cairn", { ...load, config: nodeConfig({ dir: workspace.fresh("queue") }) }),
      },
      { name: BESIDE_FEW, run: () => workspace.run("start director", { config: few }) },
      { name: BESIDE_MANY, run: () => workspace.run("start director", { config: many }) },
      directing(ONE, 1),
      directing(THREE, 3),
      backlog(BACKLOG_ONE, 1),
      backlog(BACKLOG_FOUR, 4),
    ];
    const targets: Target[] = [
      ratioTarget("ms to hand out", BESIDE_MANY, BESIDE_FEW, { atMost: 1.5 }),
      ratioTarget("entries/s", THREE, ONE, { atLeast: 2 }),
      ratioTarget("entries/s", BACKLOG_FOUR, BACKLOG_ONE, { atLeast: 3 }),
    ];
    if (succeeds("redis-server", ["--version"])) {
      const redis = await startRedis(workspace.fresh("redis"));
      workspace.atClose(() => redis.stop());
      contestants.push({
        name: REDIS,
        run: () => workspace.run("queue in redis", { ...load, port: redis.port }),
      });
      targets.push(ratioTarget("entries/s", CAIRN, REDIS, { atLeast: 1 }));
    } else
      workspace.onProgress("there is no redis-server on the PATH (Debian: redis-server), so it is left out");
    if (succeeds("python3", ["-c", "import sqlite3"])) {
      const run = (atOnce: number, entries: number) => () =>
        workspace.run("queue in sqlite", { file: workspace.fresh("queue.sqlite"), entries, atOnce });
      contestants.push(
        { name: SQLITE, run: run(1, FEWER_ENTRIES / 10) },
        { name: SQLITE_GROUPS, run: run(AT_ONCE, ENTRIES) },
      );
      targets.push(
        ratioTarget("entries/s", CAIRN, SQLITE, { atLeast: 1 }),
        ratioTarget("entries/s", CAIRN, SQLITE_GROUPS),
      );
    } else workspace.onProgress("there is no python3 with sqlite3 on the PATH, so SQLite is left out");
    return { contestants, targets };
  },
};
