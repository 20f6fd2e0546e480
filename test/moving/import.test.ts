// @module-tag nats
// @module-tag rest/etcd
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { startNatsServer } from "@cairn/log-nats/testing";
import { connect, headers } from "nats";
import { describe, expect, it, onTestFinished } from "vitest";
import { CAIRN, NodeProcess, runCairn, runCairnOrThrow } from "@cairn/test-support/cairn-process";
import { type SourceServer, startEtcd } from "@cairn/test-support/source-servers";
import { startStallingProxy } from "@cairn/test-support/links/stalling-proxy";
import { type Expected, filledEtcd, filledNatsKv, type FilledSource } from "./filled-sources.ts";

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

async function etcd({ url }: SourceServer, action: string, body: object): Promise<unknown> {
  let response = new Response(null, { status: 503 });
  await expect
    .poll(
      async () => {
        response = await fetch(`${url}/v3/${action}`, { method: "POST", body: JSON.stringify(body) });
        return response.status;
      },
      { timeout: 20_000 },
    )
    .toBe(200);
  return await response.json();
}

async function putInEtcd(
  server: SourceServer,
  key: string | Buffer,
  value: string,
  more: object = {},
): Promise<void> {
  const [key64, value64] = [key, value].map((bytes) => Buffer.from(bytes).toString("base64"));
  await etcd(server, "kv/put", { key: key64, value: value64, ...more });
}

describe("records that cannot be documents", () => {
  it("are named in a report with the reason, while all others are imported", async () => {
    const url = await startNode();
    const server = await startEtcd();
    onTestFinished(() => server.close());
    const long = "n".repeat(1_025);
    await putInEtcd(server, "first", "1");
    await putInEtcd(server, "large", "x".repeat(1_200_000));
    await putInEtcd(server, long, "1");
    await putInEtcd(server, Buffer.from([0xff]), "1");
    await putInEtcd(server, "text", "not JSON");
    const lease = (await etcd(server, "lease/grant", { TTL: 1_000 })) as { ID: string };
    await putInEtcd(server, "last", "2", { lease: lease.ID });
    const cwd = await folder();
    const wrapping = await runCairn(["import", "etcd", server.url, "--url", url], { cwd });
    expect(wrapping.code).toBe(1);
    expect(wrapping.stdout).toMatch(/^imported 3 documents in .*: 3 written, 0 equal already\n$/);
    expect(wrapping.stderr).toMatch(/^notice: 1 of these expire in the source/m);
    expect(wrapping.stderr).toMatch(
      /^IMPORT_INCOMPLETE: 3 of 6 records were not imported; the first one is \S+: .*\.$/m,
    );
    const report = await reportIn(cwd);
    expect(new Map(report.map(({ key, code }) => [key, code]))).toEqual(
      new Map<unknown, string>([
        ["large", "TX_TOO_LARGE"],
        [long, "REQUEST_INVALID"],
        [{ base64: "/w==" }, "REQUEST_INVALID"],
      ]),
    );
    expect(await contentOf(url, "etcd")).toEqual(
      new Map([
        ["first", "1"],
        ["last", "2"],
        ["text", '{"text":"not JSON"}'],
      ]),
    );
    const strict = ["--other-values", "refuse", "--prefix", "te", "--report", "strict.ndjson"];
    const refusing = await runCairn(["import", "etcd", server.url, "--url", url, ...strict], { cwd });
    expect([refusing.code, refusing.stderr]).toEqual([1, expect.stringContaining("Read strict.ndjson")]);
    const again = await runCairn(["import", "etcd", server.url, "--url", url, ...strict], { cwd });
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

describe("the key of a document", () => {
  it("is taken from the groups of --key-pattern", async () => {
    const url = await startNode();
    const server = await startEtcd();
    onTestFinished(() => server.close());
    await putInEtcd(server, "/registry/pods/default/web-0", '{"cpu":1}');
    await putInEtcd(server, "/registry/pods/team/web-0", '{"cpu":2}');
    await putInEtcd(server, "/registryx", "3");
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
