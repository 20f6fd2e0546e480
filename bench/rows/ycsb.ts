import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Workspace } from "../data/workspace.ts";
import { settle, succeeds } from "../harness/command.ts";
import { startEtcdIfFound } from "../harness/etcd.ts";
import type { Figures } from "../harness/figures.ts";
import { startNodeIn } from "../harness/node-process.ts";
import { processorSeconds, quietWrittenBytes } from "../harness/process-use.ts";
import { startRedis } from "../harness/redis.ts";
import { type Contestant, ratioTarget, type Row, type Target } from "../harness/row.ts";
import { buildYcsb, type Ycsb, type YcsbServer } from "../harness/ycsb.ts";

const RECORDS = 100_000;
const SECONDS = 15;

const CAIRN = "cairn, HTTP";
const ETCD = "etcd, gRPC";
const ETCD_BOUNDED = "etcd, gRPC, scans with an estimated end";
const REDIS = "Redis, appendfsync always";

/** The workloads, in an order in which those that overwrite much come last, with the targets beside etcd. */
const WORKLOADS: Readonly<Record<string, { readonly rate?: number; readonly p99?: number }>> = {
  C: { rate: 2.8 },
  B: { rate: 1.7 },
  E: { rate: 3 },
  F: {},
  A: { rate: 1, p99: 1.3 },
  W: { rate: 0.8 },
};
const CPU_OF_OVERWRITE_US = 140;

/** YCSB's workloads on an embedded log, compared with etcd and Redis. */
export const ycsb: Row = {
  name: "ycsb",
  title: "reads (C), with 5 % (B) and 50 % (A) overwrites, modifications (F), scans (E), overwrites only (W)",
  async prepare(workspace) {
    const clients = await buildYcsb(workspace);
    const records = Math.min(RECORDS, workspace.records.count);
    const servers = await startServers(workspace, clients, { records });
    const contestants = Object.keys(WORKLOADS).flatMap((workload) =>
      servers.flatMap(([name, server]): Contestant[] => {
        const load = { workload, records, seconds: SECONDS };
        const run = (options: object) => () => measureRate(clients, server, { ...load, ...options });
        const isBounded = server.kind === "etcd" && workload === "E";
        return [
          { name: `${workload}: ${name}`, run: run({}) },
          ...(isBounded ? [{ name: `E: ${ETCD_BOUNDED}`, run: run({ bounded: true }) }] : []),
        ];
      }),
    );
    const measured = new Set(contestants.map(({ name }) => name));
    return { contestants, targets: targetsOf(measured) };
  },
};

/** Returns the targets, and ratios, of contestants that take part. */
function targetsOf(measured: ReadonlySet<string>): Target[] {
  const all = Object.entries(WORKLOADS).flatMap(([workload, { rate, p99 }]): Target[] => {
    const cairn = `${workload}: ${CAIRN}`;
    const etcd = `${workload}: ${workload === "E" ? ETCD_BOUNDED : ETCD}`;
    return [
      ratioTarget("ops/s", cairn, etcd, rate === undefined ? {} : { atLeast: rate }),
      ...(p99 === undefined ? [] : [ratioTarget("write p99, ms", cairn, etcd, { atMost: p99 })]),
      ratioTarget("ops/s", cairn, `${workload}: ${REDIS}`),
    ];
  });
  all.push(ratioTarget("ops/s", `E: ${CAIRN}`, `E: ${ETCD}`), {
    of: { contestant: `W: ${CAIRN}`, metric: "cpu us each" },
    atMost: CPU_OF_OVERWRITE_US,
  });
  return all.filter(({ to }) => to === undefined || measured.has(to.contestant));
}

async function measureRate(
  clients: Ycsb,
  server: YcsbServer,
  options: Parameters<Ycsb>[1],
): Promise<Figures> {
  await settle();
  const begin = processorSeconds(server.pid);
  const { operations, seconds, scans, scanned, writes, p50, p99 } = await clients(server, options);
  const cpu = processorSeconds(server.pid) - begin;
  return {
    "ops/s": operations / seconds,
    "cpu us each": (1e6 * cpu) / operations,
    ...(scans === 0 ? {} : { "documents a scan": scanned / scans }),
    ...(writes === 0 ? {} : { "write p50, ms": p50, "write p99, ms": p99 }),
  };
}

/** Overwrites of few large and of many small documents. */
const OVERWRITES = {
  "zipfian, 1,000 characters": { records: RECORDS, operations: 150_000 },
  "scattered, 300 characters": {
    records: 1_000_000,
    operations: 240_000,
    fields: 1,
    characters: 300,
    uniform: true,
  },
} as const;
const BYTES_FOR_A_BYTE = 6;

/** The bytes that overwrites cost on the disk, compared with etcd. */
export const amplification: Row = {
  name: "amplification",
  title: "bytes written to the disk for each byte of documents that are overwritten",
  async prepare(workspace) {
    const clients = await buildYcsb(workspace);
    const part = Math.min(1, workspace.records.count / OVERWRITES["scattered, 300 characters"].records);
    const contestants: Contestant[] = [];
    for (const [what, { records, operations, ...load }] of Object.entries(OVERWRITES)) {
      const options = { ...load, records: Math.ceil(records * part) };
      const overwriting = { ...options, workload: "W", operations: Math.ceil(operations * part) };
      const servers = await startServers(workspace, clients, options, { redis: false });
      for (const [name, server, dir] of servers)
        contestants.push({
          name: `${name}, ${what}`,
          run: () => measureBytes(clients, server, overwriting, dir),
        });
    }
    const measured = new Set(contestants.map(({ name }) => name));
    const targets = Object.keys(OVERWRITES).flatMap((what, at): Target[] => {
      const [cairn, etcd] = [`${CAIRN}, ${what}`, `${ETCD}, ${what}`];
      return [
        ...(at === 0 ? [{ of: { contestant: cairn, metric: ON_DISK }, atMost: BYTES_FOR_A_BYTE }] : []),
        ...(measured.has(etcd) ? [ratioTarget(ON_DISK, cairn, etcd)] : []),
      ];
    });
    return { contestants, targets };
  },
};

const ON_DISK = "bytes on disk for a byte";

/** Overwrites documents, and waits until the server has compacted what it will. */
async function measureBytes(
  clients: Ycsb,
  server: YcsbServer,
  options: Parameters<Ycsb>[1],
  dir: string | undefined,
): Promise<Figures> {
  await settle();
  const tables = async (): Promise<Figures> => (dir === undefined ? {} : await tableBytes(dir));
  const [bytesBefore, tablesBefore] = [await quietWrittenBytes(server.pid), await tables()];
  const { writtenBytes } = await clients(server, options);
  const bytes = (await quietWrittenBytes(server.pid)) - bytesBefore;
  const written = Object.entries(await tables()).map(([folder, after]) => [
    `tables of the ${folder} alone`,
    (after - (tablesBefore[folder] ?? 0)) / writtenBytes,
  ]);
  return { [ON_DISK]: bytes / writtenBytes, ...(Object.fromEntries(written) as Figures) };
}

const TABLES_WRITTEN = /(?:Level-0 table #\d+: |Compacted .* => )(\d+) bytes/g;

/** Returns the bytes of all tables that LevelDB reports for the log and for the index of a node that still runs. */
async function tableBytes(dir: string): Promise<Figures> {
  const logs = (await readdir(dir, { recursive: true })).filter((path) => path.endsWith("/LOG"));
  const sums = logs.map(async (path) => {
    const text = await readFile(join(dir, path), "utf8");
    const bytes = [...text.matchAll(TABLES_WRITTEN)].reduce((sum, [, count]) => sum + Number(count), 0);
    return [path.startsWith("index/") ? "index" : "log", bytes];
  });
  return Object.fromEntries(await Promise.all(sums)) as Figures;
}

/** Starts Cairn and the peers that there are, and loads the records. The folder is that of Cairn's node. */
async function startServers(
  workspace: Workspace,
  clients: Ycsb,
  options: Parameters<Ycsb>[1],
  { redis: wantsRedis } = { redis: true },
): Promise<readonly (readonly [name: string, server: YcsbServer, dir?: string])[]> {
  const etcd = await startEtcdIfFound(workspace);
  const node = await startNodeIn(workspace, "ycsb");
  const servers: [string, YcsbServer, string?][] = [
    ...(etcd === undefined ? [] : [[ETCD, { kind: "etcd", ...etcd }] satisfies [string, YcsbServer]]),
    [CAIRN, { kind: "cairn", ...node }, node.dir],
  ];
  if (wantsRedis && succeeds("redis-server", ["--version"])) {
    const redis = await startRedis(workspace.fresh("redis"));
    workspace.atClose(() => redis.stop());
    servers.push([REDIS, { kind: "redis", ...redis }]);
  } else if (wantsRedis)
    workspace.onProgress("there is no redis-server on the PATH (Debian: redis-server), so it is left out");
  for (const [name, server] of servers) {
    workspace.onProgress(`loading ${String(options["records"])} records: ${name}`);
    await clients(server, { ...options, workload: "load" });
  }
  return servers;
}
