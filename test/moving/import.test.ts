// @module-tag nats
// @module-tag rest/etcd
// @module-tag rest/redis
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { startNatsServer } from "@cairn/log-nats/testing";
import { Cluster, Redis } from "ioredis";
import { openRedis } from "@cairn/cli/src/moving/redis-source";
import { connect, headers } from "nats";
import { describe, expect, it, onTestFinished } from "vitest";
import { CAIRN, NodeProcess, runCairn, runCairnOrThrow } from "@cairn/test-support/cairn-process";
import { startEtcd, startRedis } from "@cairn/test-support/source-servers";
import { startStallingProxy } from "@cairn/test-support/stalling-proxy";
import { type Expected, filledEtcd, filledNatsKv, filledRedis, type FilledSource } from "./filled-sources.ts";

/** The number of keys in each source. 100,000 is a campaign of some minutes. */
const KEYS = Number(process.env["CAIRN_TEST_IMPORT_KEYS"] ?? 3_000);
/** The bytes of requests after which an import is killed: about half of them, including more than one request. */
const KILLED_AFTER_BYTES = KEYS * 500;
const TIMEOUT_MS = Math.max(180_000, KEYS * 20);

async function folder(): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), "cairn-moving-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function startNode(): Promise<string> {
  const node = NodeProcess.start({ id: "node-1", dir: await folder() });
  onTestFinished(() => node.kill());
  await node.ready();
  return await node.url();
}

/** The summary that `cairn import --json` prints. */
interface Summary {
  readonly records: number;
  readonly written: number;
  readonly unchanged: number;
  readonly refused: number;
}

async function importFrom(source: FilledSource, url: string): Promise<Summary> {
  const { stdout } = await runCairnOrThrow(["import", ...source.command, "--json", "--url", url]);
  return JSON.parse(stdout) as Summary;
}

/** Runs an import whose connections stall in the middle, and kills it there. */
async function killHalfway(source: FilledSource, url: string): Promise<void> {
  const proxy = await startStallingProxy(url, KILLED_AFTER_BYTES);
  const child = spawn(process.execPath, [CAIRN, "import", ...source.command, "--url", proxy.url], {
    stdio: "ignore",
  });
  const exited = once(child, "exit");
  await Promise.race([
    proxy.stalled,
    exited.then(([code]) => Promise.reject(new Error(`the import ended with ${String(code)}`))),
  ]);
  child.kill("SIGKILL");
  await exited;
  proxy.close();
}

async function countOf(url: string, bucket: string): Promise<number> {
  const answer = await fetch(`${url}/api/v1/buckets?linearizable=true`);
  const buckets = (await answer.json()) as { name: string; documents: number }[];
  return buckets.find(({ name }) => name === bucket)?.documents ?? 0;
}

/** Returns the documents of a bucket as JSON by name, from an export. */
async function contentOf(url: string, bucket: string): Promise<Expected> {
  const { stdout } = await runCairnOrThrow(["export", "--bucket", bucket, "--url", url]);
  const lines = stdout.trimEnd().split("\n").slice(1, -1);
  return new Map(
    lines.map((line) => {
      const { ops } = JSON.parse(line) as { ops: [["put", string, string, unknown]] };
      return [ops[0][2].replace(/^default\//, ""), JSON.stringify(ops[0][3])];
    }),
  );
}

function differences(actual: Expected, expected: Expected): string[] {
  const names = new Set([...actual.keys(), ...expected.keys()]);
  return [...names].filter((name) => actual.get(name) !== expected.get(name));
}

describe("an import", () => {
  it.each([
    ["etcd", filledEtcd],
    ["a key-value bucket of NATS", filledNatsKv],
    ["Redis", filledRedis],
  ])(
    "from %s that is killed and run again equals the source, and a third run writes only what changed",
    { timeout: TIMEOUT_MS },
    async (_name, fill) => {
      const url = await startNode();
      const source = await fill(KEYS);
      onTestFinished(() => source.close());
      const { bucket, expected } = source;
      await killHalfway(source, url);
      const before = await countOf(url, bucket);
      expect(before).toBeGreaterThan(0);
      expect(before).toBeLessThan(KEYS);

      const begun = performance.now();
      const second = await importFrom(source, url);
      console.log(
        `${bucket}: ${before} of ${KEYS} before the kill, ${second.written} written in ${Math.round(performance.now() - begun)} ms after it`,
      );
      expect(second).toMatchObject({ records: KEYS, refused: 0 });
      expect(second.written + second.unchanged).toBe(KEYS);
      expect(second.unchanged).toBeGreaterThan(0);
      expect(differences(await contentOf(url, bucket), expected)).toEqual([]);

      const [name = ""] = expected.keys();
      // It returns to an earlier value, which no memory of what was sent may prevent.
      for (const value of ['{"changed":1}', '{"changed":2}', '{"changed":1}']) {
        await source.change(name, value);
        expect(await importFrom(source, url)).toMatchObject({ written: 1, unchanged: KEYS - 1 });
        expect((await contentOf(url, bucket)).get(name)).toBe(value);
      }
    },
  );
});

async function reportIn(dir: string): Promise<{ key: unknown; code: string; message: string }[]> {
  const [file = ""] = (await readdir(dir)).filter((name) => name.startsWith("cairn-import-refused-"));
  const lines = (await readFile(path.join(dir, file), "utf8")).trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as { key: unknown; code: string; message: string });
}

describe("records that cannot be documents", () => {
  it("are named in a report with the reason, while all others are imported", async () => {
    const url = await startNode();
    const server = await startRedis();
    onTestFinished(() => server.close());
    const redis = new Redis(server.url);
    onTestFinished(() => redis.disconnect());
    const long = "n".repeat(1_025);
    await redis.set("first", "1");
    await redis.set("large", "x".repeat(3_000_000));
    await redis.set(long, "1");
    await redis.set(Buffer.from([0xff]), "1");
    await redis.xadd("stream", "*", "field", "value");
    await redis.hset("hash", Buffer.from([0xff]), "1");
    await redis.set("text", "not JSON");
    await redis.set("last", "2", "EX", 1_000);
    const cwd = await folder();
    const wrapping = await runCairn(["import", "redis", server.url, "--url", url], { cwd });
    expect(wrapping.code).toBe(1);
    expect(wrapping.stdout).toMatch(/^imported 3 documents in .*: 3 written, 0 equal already\n$/);
    expect(wrapping.stderr).toMatch(/^notice: 1 of these expire in the source/m);
    expect(wrapping.stderr).toMatch(/^IMPORT_INCOMPLETE: 5 of 8 records were not imported\.$/m);
    const report = await reportIn(cwd);
    expect(new Map(report.map(({ key, code }) => [key, code]))).toEqual(
      new Map<unknown, string>([
        ["large", "TX_TOO_LARGE"],
        [long, "REQUEST_INVALID"],
        [{ base64: "/w==" }, "REQUEST_INVALID"],
        ["stream", "TX_INVALID"],
        ["hash", "TX_INVALID"],
      ]),
    );
    expect(await contentOf(url, "redis")).toEqual(
      new Map([
        ["first", "1"],
        ["last", "2"],
        ["text", '{"text":"not JSON"}'],
      ]),
    );
    const strict = ["--other-values", "refuse", "--prefix", "te", "--report", "strict.ndjson"];
    const refusing = await runCairn(["import", "redis", server.url, "--url", url, ...strict], { cwd });
    expect([refusing.code, refusing.stderr]).toEqual([1, expect.stringContaining("Read strict.ndjson")]);
    const again = await runCairn(["import", "redis", server.url, "--url", url, ...strict], { cwd });
    expect([again.code, again.stderr]).toEqual([2, expect.stringContaining("strict.ndjson exists already")]);
  });
});

/** Imports with the words of the command, and returns the exit code, the summary and what was printed about it. */
async function tryImport(
  url: string,
  ...command: string[]
): Promise<{ code: number | null; records: number; stderr: string }> {
  const { code, stdout, stderr } = await runCairn(["import", ...command, "--json", "--url", url], {
    cwd: await folder(),
  });
  const records = stdout === "" ? 0 : (JSON.parse(stdout) as Summary).records;
  return { code, records, stderr };
}

describe("a source that holds only a part", () => {
  it("is completed if it is a server of a Redis Cluster, and refused if slots are not served", async () => {
    const url = await startNode();
    const options = { "cluster-enabled": "yes" };
    const servers = [await startRedis(options), await startRedis(options)];
    const masters = servers.map((server) => new Redis(server.url));
    onTestFinished(async () => {
      for (const master of masters) master.disconnect();
      for (const server of servers) await server.close();
    });
    const [first, second] = masters;
    const [, other] = servers;
    if (first === undefined || second === undefined || other === undefined) throw new Error("two servers");
    await first.call("CLUSTER", "ADDSLOTSRANGE", "0", "8191");
    await second.call("CLUSTER", "ADDSLOTSRANGE", "8192", "16383");
    await first.call("CLUSTER", "MEET", "127.0.0.1", new URL(other.url).port);
    for (const master of masters)
      await expect.poll(() => master.call("CLUSTER", "INFO")).toContain("cluster_state:ok");
    const cluster = new Cluster([other.url]);
    onTestFinished(() => cluster.disconnect());
    for (let n = 0; n < 90; n += 1) await cluster.set(`key-${n}`, String(n));
    expect(await first.dbsize()).toBeGreaterThan(0);
    expect(await first.dbsize()).toBeLessThan(90);
    expect(await tryImport(url, "redis", other.url)).toMatchObject({ code: 0, records: 90 });

    await first.call("CLUSTER", "DELSLOTS", "0");
    await second.call("CLUSTER", "DELSLOTS", "0");
    const { code, stderr } = await tryImport(url, "redis", servers[0]?.url ?? "");
    expect([code, stderr]).toEqual([3, expect.stringContaining("does not serve all slots")]);
  });

  it("is refused if it becomes the replica of another server while it is read, which replaces its keys", async () => {
    const [server, master] = [await startRedis(), await startRedis()];
    const redis = new Redis(server.url);
    onTestFinished(async () => {
      redis.disconnect();
      await server.close();
      await master.close();
    });
    await redis.set("key", "1");
    const source = await openRedis(server.url, "");
    onTestFinished(source.close);
    const pairs = source.pairs[Symbol.asyncIterator]();
    expect((await pairs.next()).value).toHaveLength(1);
    await redis.replicaof("127.0.0.1", Number(new URL(master.url).port));
    await expect.poll(() => redis.info("replication")).toContain("master_link_status:up");
    await expect(pairs.next()).rejects.toMatchObject({ message: /became a master or a replica while/ });
  });

  it("is refused if it is a replica without its master, or one of several databases", async () => {
    const url = await startNode();
    const replica = await startRedis({ replicaof: "127.0.0.1 1" });
    const server = await startRedis();
    const fifth = new Redis(`${server.url}/5`);
    onTestFinished(async () => {
      fifth.disconnect();
      await replica.close();
      await server.close();
    });
    const lacking = await tryImport(url, "redis", replica.url);
    expect([lacking.code, lacking.stderr]).toEqual([3, expect.stringContaining("Import from the master.")]);
    await fifth.set("in-5", "5");
    const unnamed = await tryImport(url, "redis", server.url);
    expect([unnamed.code, unnamed.stderr]).toEqual([2, expect.stringContaining("(5 has 1)")]);
    expect(await tryImport(url, "redis", `${server.url}/0`)).toMatchObject({ code: 0, records: 0 });
    await fifth.call("ACL", "SETUSER", "limited", "on", ">pw", "~*", "+@all", "-@dangerous");
    const asLimited = `redis://limited:pw@${new URL(server.url).host}`;
    const untold = await tryImport(url, "redis", asLimited);
    expect([untold.code, untold.stderr]).toEqual([3, expect.stringContaining("+info")]);
    await fifth.call("ACL", "SETUSER", "limited", "+info");
    expect(await tryImport(url, "redis", `${asLimited}/5`)).toMatchObject({ code: 0, records: 1 });
  });

  it("is imported whole if it is a mirror of a bucket, and reported if keys belong to another one", async () => {
    const url = await startNode();
    const server = await startNatsServer();
    const connection = await connect({ servers: server.url });
    onTestFinished(async () => {
      await connection.close();
      await server.close();
    });
    const origin = await connection.jetstream().views.kv("origin");
    for (const key of ["a", "b", "c"]) await origin.put(key, "1");
    const { streams } = await connection.jetstreamManager();
    await streams.add({ name: "KV_mirror", mirror: { name: "KV_origin" } });
    await streams.add({ name: "KV_mixed", subjects: ["$KV.mixed.>"], sources: [{ name: "KV_origin" }] });
    for (const name of ["KV_mirror", "KV_mixed"])
      await expect.poll(async () => (await streams.info(name)).state.messages).toBe(3);
    expect(await tryImport(url, "nats-kv", server.url, "mirror")).toMatchObject({ code: 0, records: 3 });
    expect(await contentOf(url, "mirror")).toEqual(new Map(["a", "b", "c"].map((key) => [key, "1"])));
    const mixed = await tryImport(url, "nats-kv", server.url, "mixed");
    expect([mixed.code, mixed.records]).toEqual([1, 3]);
    expect(mixed.stderr).toMatch(/^.*IMPORT_INCOMPLETE/);
    await streams.add({ name: "KV_lacking", subjects: ["$KV.lacking.>"], sources: [{ name: "KV_nowhere" }] });
    const lacking = await tryImport(url, "nats-kv", server.url, "lacking");
    expect([lacking.code, lacking.stderr]).toEqual([3, expect.stringContaining("KV_nowhere")]);
  });

  it("is read by what headers say: an unknown one is reported, and is no removal", async () => {
    const url = await startNode();
    const server = await startNatsServer();
    const connection = await connect({ servers: server.url });
    onTestFinished(async () => {
      await connection.close();
      await server.close();
    });
    await connection.jetstream().views.kv("marked");
    const marks = { a: undefined, b: "PUT", c: "DEL", d: "PURGE", e: "WEIRD", f: "" };
    for (const [key, mark] of Object.entries(marks)) {
      const header = headers();
      if (mark !== undefined) header.set("KV-Operation", mark);
      await connection.jetstream().publish(`$KV.marked.${key}`, "1", { headers: header });
    }
    const { code, records, stderr } = await tryImport(url, "nats-kv", server.url, "marked");
    expect([code, records, stderr]).toEqual([1, 4, expect.stringContaining("1 of 4 records")]);
    expect([...(await contentOf(url, "marked")).keys()]).toEqual(["a", "b", "f"]);
  });
});

describe("a database of Redis", () => {
  it("is read only if it is the one in the address", async () => {
    const url = await startNode();
    const server = await startRedis();
    onTestFinished(() => server.close());
    const [first, fifth] = [new Redis(server.url), new Redis(`${server.url}/5`)];
    onTestFinished(() => [first, fifth].forEach((redis) => redis.disconnect()));
    await first.set("in-0", "0");
    await fifth.set("in-5", "5");
    const read = async (database: string): Promise<[number, string]> => {
      const command = ["import", "redis", `${server.url}/${database}`, "--url", url];
      const { code, stderr } = await runCairn(command, { cwd: await folder() });
      return [code ?? -1, stderr];
    };
    expect(await read("99")).toEqual([3, expect.stringMatching(/^SOURCE_UNREADABLE: .*out of range/m)]);
    for (const wrong of ["-1", "abc", "0?db=5", "?keyPrefix=p", "0#5"])
      expect(await read(wrong)).toEqual([
        2,
        expect.stringContaining("is not the address of a Redis database"),
      ]);
    expect((await read("5"))[0]).toBe(0);
    expect(await contentOf(url, "redis")).toEqual(new Map([["in-5", "5"]]));
  });
});

describe("the key of a document", () => {
  it("is taken from the groups of --key-pattern", async () => {
    const url = await startNode();
    const server = await startEtcd();
    onTestFinished(() => server.close());
    const put = async (key: string, value: string): Promise<void> => {
      const body = { key: Buffer.from(key).toString("base64"), value: Buffer.from(value).toString("base64") };
      await expect
        .poll(
          async () =>
            (await fetch(`${server.url}/v3/kv/put`, { method: "POST", body: JSON.stringify(body) })).status,
        )
        .toBe(200);
    };
    await put("/registry/pods/default/web-0", '{"cpu":1}');
    await put("/registry/pods/team/web-0", '{"cpu":2}');
    await put("/registryx", "3");
    const options = [
      "--prefix",
      "/registry/",
      "--key-pattern",
      "^/registry/(?<bucket>[a-z]+)/(?<namespace>[^/]+)/(?<name>.+)$",
    ];
    await runCairnOrThrow(["import", "etcd", server.url, "--url", url, ...options]);
    const { stdout } = await runCairnOrThrow(["export", "--url", url]);
    expect(stdout.split("\n").slice(1, -2)).toEqual([
      '{"ops":[["put","pods","default/web-0",{"cpu":1}]]}',
      '{"ops":[["put","pods","team/web-0",{"cpu":2}]]}',
    ]);
  });
});
