import { mkdir, rm } from "node:fs/promises";
import { freePort } from "@cairn/log-nats/testing";
import { ownIndexes, type OwnKeeping } from "../data/own-documents.ts";
import { ownFolder, ownLog, ownNodeConfig, putOwnIndexBack } from "../data/own-nodes.ts";
import type { Workspace } from "../data/workspace.ts";
import { copyDirectory, settle } from "../harness/command.ts";
import type { Figures } from "../harness/figures.ts";
import { readOverHttp } from "../harness/http-reads.ts";
import { joinAsProcess } from "../harness/node-process.ts";
import { type Contestant, ratioTarget, type Row, type Target } from "../harness/row.ts";

const TABLE: OwnKeeping = { text: false };
const TEXT: OwnKeeping = { text: true };

const STATES = "states";
const REPLAY = "replay";

/** Reading the states of changed documents, compared with replaying the transactions that changed them. */
export const ownFollow: Row = {
  name: "own-follow",
  title: "the states of the last 10 % of the transactions, against a replay of them",
  async prepare(workspace) {
    const { dir, earlier, after, transactions } = await workspace.own.documents();
    const ready = async (index: string): Promise<number> => {
      const config = ownNodeConfig(index, { ownLog: ownLog(dir) });
      const { "to ready, cpu s": seconds = Number.NaN } = await workspace.run("start and catch up", {
        config,
      });
      return seconds;
    };
    return {
      contestants: [
        {
          name: STATES,
          run: async () => {
            const { "states cpu s": seconds = Number.NaN } = await workspace.run("read states", {
              config: ownNodeConfig(dir),
              after,
              documents: transactions,
            });
            return { "tx/cpu s": transactions / seconds };
          },
        },
        {
          name: REPLAY,
          run: async () => {
            const behind = workspace.fresh("behind");
            await copyDirectory(earlier, behind);
            const replayed = await ready(behind);
            // It has caught up now, so this is only the start.
            const started = await ready(behind);
            await rm(behind, { recursive: true });
            return { "tx/cpu s": transactions / (replayed - started) };
          },
        },
      ],
      targets: [ratioTarget("tx/cpu s", STATES, REPLAY, { atLeast: 1 })],
    };
  },
};

const BUILT = { table: "cairn, table and 2 indexes", text: "cairn, with full text" };
const BARE = { table: "SQLite, table and 2 indexes", text: "SQLite, with full text" };

/** Building an own index from a node's index, compared with SQLite. */
export const ownBuild: Row = {
  name: "own-build",
  title: "an own index from the node's index, against the same rows from memory into SQLite",
  async prepare(workspace) {
    const { dir } = await workspace.own.documents();
    const { count } = workspace.records;
    const built = (name: string, keeping: OwnKeeping): Contestant => ({
      name,
      run: async () => {
        const figures = await workspace.run("build own index", { config: ownNodeConfig(dir, { keeping }) });
        await rm(ownFolder(dir), { recursive: true });
        return figures;
      },
    });
    const bare = (name: string, text: boolean): Contestant => ({
      name,
      run: async () => {
        const path = workspace.fresh("sqlite");
        const figures = await workspace.run("write SQLite", { path, count, text });
        await rm(path);
        return figures;
      },
    });
    return {
      contestants: [
        built(BUILT.table, TABLE),
        bare(BARE.table, false),
        built(BUILT.text, TEXT),
        bare(BARE.text, true),
      ],
      targets: [
        ratioTarget("rows/s", BUILT.table, BARE.table, { atLeast: 0.35 }),
        ratioTarget("rows/s", BUILT.text, BARE.text, { atLeast: 0.6 }),
        ratioTarget("rows/cpu s", BUILT.table, BARE.table),
        ratioTarget("rows/cpu s", BUILT.text, BARE.text),
      ],
    };
  },
};

const PLAIN = "without own indexes";
const RESTORED = "own index from a checkpoint";
const REBUILT = "own index by rebuild";

/** The time until a joining node and its own index are ready. */
export const ownJoin: Row = {
  name: "own-join",
  title: "from the start of a process until its own index with full text is live",
  async prepare(workspace) {
    const { dir: documentsDir } = await workspace.own.documents();
    const keeping = { ...TEXT, checkpoint: true };
    const plain = await workspace.own.checkpoint(undefined);
    const withIndex = await workspace.own.checkpoint(keeping);
    const joining = (
      name: string,
      { store, megabytes }: typeof plain,
      indexes: object | undefined,
    ): Contestant => ({
      name,
      run: async () => {
        const dir = workspace.fresh("joining");
        await mkdir(dir);
        await settle();
        const documents = workspace.records.count;
        const place = { dir, ownLog: ownLog(documentsDir), checkpoints: store, indexes };
        const figures = await joinAsProcess({ ...place, documents });
        await rm(dir, { recursive: true });
        return { ...figures, MB: megabytes, "ms/MB": (1_000 * (figures["s"] ?? Number.NaN)) / megabytes };
      },
    });
    return {
      contestants: [
        joining(PLAIN, plain, undefined),
        joining(RESTORED, withIndex, ownIndexes(keeping)),
        joining(REBUILT, plain, ownIndexes(keeping)),
      ],
      targets: [
        ratioTarget("ms/MB", RESTORED, PLAIN, { atMost: 1.2 }),
        ratioTarget("s", REBUILT, RESTORED, { atLeast: 5 }),
      ],
    };
  },
};

const LIVE = "own index live";
const WRITER_SECONDS = 6;

/** The slowdown of writers by a live own index, and how soon it contains what they write. */
export const ownWriter: Row = {
  name: "own-writer",
  title: "scattered updates beside a live own index (table and 2 indexes), and its lag at 2,000/s",
  async prepare(workspace) {
    const writing = async (name: string, keeping?: OwnKeeping): Promise<Contestant> => {
      const dir = await workspace.own.copy(keeping);
      const load = { documents: workspace.records.count, seconds: WRITER_SECONDS };
      const config = ownNodeConfig(dir, { keeping });
      const hasIndex = keeping !== undefined;
      return { name, run: () => workspace.run("write beside own index", { dir, config, hasIndex, ...load }) };
    };
    return {
      contestants: [await writing(PLAIN), await writing(LIVE, TABLE)],
      targets: [
        ...[500, 2_000].flatMap((rate): Target[] => [
          ratioTarget(`p50 at ${rate}/s, ms`, LIVE, PLAIN),
          ratioTarget(`p99 at ${rate}/s, ms`, LIVE, PLAIN, { atMost: 1.2 }),
        ]),
        ratioTarget("tx/s", LIVE, PLAIN, { atLeast: 0.55 }),
        { of: { contestant: LIVE, metric: "lag p99, ms" }, atMost: 100 },
      ],
    };
  },
};

const CAPTURED = "checkpoints with and without it";
const CAPTURE_SECONDS = 5;

/** How long an own index waits while it is captured. */
export const ownCapture: Row = {
  name: "own-capture",
  title: "the lag of an own index with full text at 500/s, as a checkpoint with it begins, and without it",
  async prepare(workspace) {
    const dir = await workspace.own.copy(TEXT);
    const measure = async (checkpoint: boolean): Promise<{ during: number; before: number }> => {
      const checkpoints = workspace.fresh("store");
      const config = ownNodeConfig(dir, { keeping: { ...TEXT, checkpoint }, checkpoints });
      const load = { documents: workspace.records.count, seconds: CAPTURE_SECONDS };
      const figures = await workspace.run("capture own index", { dir, config, ...load });
      await rm(checkpoints, { recursive: true, force: true });
      const {
        "longest wait during, ms": during = Number.NaN,
        "longest wait before, ms": before = Number.NaN,
      } = figures;
      return { during, before };
    };
    return {
      contestants: [
        {
          name: CAPTURED,
          run: async () => {
            const without = await measure(false);
            const withIt = await measure(true);
            return {
              "longest wait before, ms": withIt.before,
              "longest wait without, ms": without.during,
              "longest wait with, ms": withIt.during,
              "longest wait more, ms": withIt.during - without.during,
            };
          },
        },
      ],
      targets: [{ of: { contestant: CAPTURED, metric: "longest wait more, ms" }, atMost: 50 }],
    };
  },
};

const DOCUMENT = "GET of a document";
const SQL_ROW = "a row by its key in SQL";
const SQL_READS = 50_000;

/** Reading rows of an own index over HTTP, compared with documents. */
export const sql: Row = {
  name: "sql",
  title: "rows of an own index by their keys over HTTP on 32 connections, against documents",
  async prepare(workspace) {
    const config = ownNodeConfig(await workspace.own.copy(TABLE), { keeping: TABLE });
    const load = { count: workspace.records.count, reads: SQL_READS };
    return {
      contestants: [
        { name: DOCUMENT, run: () => readOverHttp(workspace, { config }, { ...load, own: "documents" }) },
        { name: SQL_ROW, run: () => readOverHttp(workspace, { config }, { ...load, own: "rows" }) },
      ],
      targets: [ratioTarget("reads/s", SQL_ROW, DOCUMENT, { atLeast: 0.35 })],
    };
  },
};

const BLOCKS = "with an own index, more than without";

/** How long the work for an own index blocks the node's event loop. */
export const ownLoop: Row = {
  name: "own-loop",
  title: "the longest block of the node's event loop: build, catch-up, query of 8 MB, capture",
  async prepare(workspace) {
    const { earlier } = await workspace.own.documents();
    const dir = await workspace.own.copy(undefined);
    const measure = (
      hasIndex: boolean,
      seconds: number,
      work: readonly ("query" | "capture")[],
    ): Promise<Figures> => measureOnce(workspace, dir, { hasIndex, seconds, work });
    const phases = ["query", "capture"] as const;
    return {
      contestants: [
        {
          name: BLOCKS,
          run: async () => {
            const built = await measure(true, 0, phases);
            await putOwnIndexBack(dir, earlier);
            const caught = await measure(true, 0, []);
            await rm(ownFolder(dir), { recursive: true });
            const idle = await measure(false, built["live, s"] ?? 0, phases);
            const idleAgain = await measure(false, caught["live, s"] ?? 0, []);
            return {
              ...more("build", built["live, ms"], idle["live, ms"]),
              ...more("catch-up", caught["live, ms"], idleAgain["live, ms"]),
              ...more("query", built["query, ms"], idle["query, ms"]),
              ...more("capture", built["capture, ms"], idle["capture, ms"]),
            };
          },
        },
      ],
      targets: ["build", "catch-up", "query", "capture"].map((name) => ({
        of: { contestant: BLOCKS, metric: `${name}, ms more` },
        atMost: 20,
      })),
    };
  },
};

function more(name: string, block = Number.NaN, without = Number.NaN): Figures {
  return { [`${name}, ms`]: block, [`${name}, ms more`]: block - without };
}

async function measureOnce(
  workspace: Workspace,
  dir: string,
  input: { hasIndex: boolean; seconds: number; work: readonly ("query" | "capture")[] },
): Promise<Figures> {
  const port = await freePort();
  const checkpoints = workspace.fresh("store");
  const keeping = input.hasIndex ? { ...TABLE, checkpoint: true } : undefined;
  const config = ownNodeConfig(dir, { keeping, checkpoints, port });
  const figures = await workspace.run("measure blocks", { config, port, ...input });
  await rm(checkpoints, { recursive: true, force: true });
  return figures;
}
