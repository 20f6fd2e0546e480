import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { CairnError } from "@cairn/kv";
import { CairnClient, CairnClientError, type ClientListQuery } from "@cairn/client";
import type { CairnNode } from "@cairn/engine";
import { startNode } from "@cairn/node";
import { freePort } from "@cairn/log-nats/testing";
import { serve } from "@cairn/test-support/nodes/served-node";
import { startFlakyProxy } from "./flaky-proxy.ts";

let folder = "";
let node: CairnNode | undefined;
let url = "";

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-client-"));
  node = await startNode({
    "cairn/node": { id: "n", dir: folder },
    "cairn/http-server": { host: "127.0.0.1", port: 0, "auth-token": "secret" },
  });
  await node.ready;
  url = node.url ?? "";
  nobody = `http://127.0.0.1:${await freePort()}`;
});
afterAll(async () => {
  await node?.close();
  await rm(folder, { recursive: true, force: true });
});

/** An address of this machine on which nothing listens. */
let nobody = "";

const client = (
  urls: string | string[] = url,
  more: { retryForMs?: number; attemptMs?: number } = {},
): CairnClient => new CairnClient({ urls, token: "secret", ...more });

/** Clients over HTTP and in the node's process. */
const anyClient: readonly (readonly [string, () => CairnClient])[] = [
  ["over HTTP", () => client()],
  ["in the process", () => node?.client() as CairnClient],
];

async function failure(promise: Promise<unknown>): Promise<CairnClientError> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof CairnClientError) return error;
  throw new Error(`not an error of the client: ${String(error)}`);
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describe("documents", () => {
  it("are written, compared and deleted, and their present and past versions are read", async () => {
    const cairn = client();
    const first = await cairn.put("pods", "team/a b/ü", { cpu: 1 });
    const second = await cairn.put("pods", "team/a b/ü", { cpu: 2 }, { ifRevision: first.txId });
    expect(await cairn.get("pods", "team/a b/ü")).toEqual({
      namespace: "team",
      name: "a b/ü",
      revision: second.txId,
      document: { cpu: 2 },
    });
    const old = await cairn.get<{ cpu: number }>("pods", "team/a b/ü", { asOf: first.txId });
    expect(old?.document.cpu).toBe(1);
    expect((await cairn.get("pods", "team/a b/ü", { asOf: new Date(first.txTime) }))?.revision).toBe(
      first.txId,
    );
    await cairn.delete("pods", "team/a b/ü", { ifRevision: second.txId });
    expect(await cairn.get("pods", "team/a b/ü")).toBeUndefined();
    const versions = await all(cairn.history("pods", "team/a b/ü", { pageSize: 1 }));
    expect(versions.map(({ deleted }) => deleted)).toEqual([true, false, false]);
    expect(cairn.lastTx).toBeGreaterThan(second.txId);
  });

  it("with a failed precondition are not written: CONFLICT", async () => {
    const cairn = client();
    await cairn.put("pods", "once", 1, { ifRevision: null });
    const error = await failure(cairn.put("pods", "once", 2, { ifRevision: null }));
    expect(error).toMatchObject({ code: "CONFLICT", status: 412 });
    expect(error.message).toMatch(/^Nothing was written: pods default\/once is at revision \d+\.$/);
    expect((await cairn.get("pods", "once"))?.document).toBe(1);
  });

  it("are listed page by page, as of the transaction at which the list began", async () => {
    const cairn = client();
    const ops = Array.from(
      { length: 25 },
      (_, n) => ["put", "many", `k${String(n).padStart(2, "0")}`, n] as const,
    );
    await cairn.transact({ ops });
    const list = cairn.list("many", { pageSize: 10 });
    const first = (await list.next()).value;
    await client().put("many", "k99", 99);
    expect(first?.name).toBe("k00");
    expect(await all(list)).toHaveLength(24);
    const { txId, documents, next } = await cairn.page("many", { prefix: "k2", pageSize: 3 });
    expect(documents.map(({ name }) => name)).toEqual(["k20", "k21", "k22"]);
    expect([next === undefined, txId === cairn.lastTx]).toEqual([false, true]);
  });

  it.for(anyClient)("in a range of keys are listed and deleted %s", async ([, open]) => {
    const cairn = open();
    const keys = ["a/x", "b/x", "b/y", "default/k1", "default/k2", "default/k3"];
    const ops = keys.map((key) => ["put", "ranges", key, 1] as const);
    await cairn.transact({ ops });
    const listed = async (query: ClientListQuery) =>
      (await all(cairn.list("ranges", { ...query, pageSize: 1 }))).map(
        (one) => `${one.namespace}/${one.name}`,
      );
    expect(await listed({ from: "b/y", to: "k2" })).toEqual(["b/y", "default/k1"]);
    expect(await listed({ namespace: "default", from: "k2" })).toEqual(["default/k2", "default/k3"]);
    expect(await listed({ to: "b/y", prefix: "x" })).toEqual(["a/x", "b/x"]);
    expect(await listed({ from: "b/y", to: "b/y" })).toEqual([]);
    expect(await failure(cairn.page("ranges", { to: "" }))).toMatchObject({
      code: "REQUEST_INVALID",
      message: "to must not be empty.",
    });
    expect(await cairn.deleteAll("ranges", { from: "b/", to: "k3" })).toEqual({ documents: 4 });
    expect(await cairn.bucket("ranges").deleteAll({ from: "k" })).toEqual({ documents: 1 });
    expect(await listed({})).toEqual(["a/x"]);
    await cairn.deleteAll("ranges");
  });

  it("with dot segments in their names reach the node unchanged", async () => {
    const cairn = client();
    await cairn.put("pods", "default/a/../b", "dots");
    expect((await cairn.get("pods", "default/a/../b"))?.document).toBe("dots");
    expect(await cairn.get("pods", "b")).toBeUndefined();
  });
});

describe("errors", () => {
  it("carry the node's code, status, hint and details", async () => {
    expect(await failure(client().put("Pods", "x", 1))).toMatchObject({ code: "TX_INVALID", status: 400 });
    expect(await failure(new CairnClient({ urls: url, token: "wrong" }).status())).toMatchObject({
      code: "UNAUTHORIZED",
      status: 401,
      hint: expect.stringContaining("Authorization: Bearer"),
    });
    const late = await failure(client().get("pods", "x", { minTx: 1e9, timeoutMs: 20 }));
    expect(late).toMatchObject({ code: "TX_TIMEOUT", status: 504 });
    const large = await failure(client().put("pods", "large", "x".repeat(2 << 20)));
    expect(large).toMatchObject({ code: "TX_TOO_LARGE", details: { limit: 1_048_576 } });
  });

  it("are UNREACHABLE, within the given time, if no node responds", async () => {
    const begun = Date.now();
    const error = await failure(client([nobody, nobody], { retryForMs: 300 }).status());
    expect(error).toMatchObject({ code: "UNREACHABLE", status: 0 });
    expect(error.message).toContain("ECONNREFUSED");
    // The limit is half the time that the call would take by default.
    expect(Date.now() - begun).toBeLessThan(15_000);
  });

  it("come soon after timeoutMs, however long calls are repeated by default", async () => {
    const cairn = client([nobody, nobody]);
    const begun = Date.now();
    const within = { timeoutMs: 300 };
    const calls = [cairn.get("pods", "x", within), cairn.put("pods", "x", 1, within), cairn.await(1, within)];
    for (const error of await Promise.all(calls.map(failure)))
      expect(error).toMatchObject({ code: "UNREACHABLE" });
    // The limit is half the time that the calls would take by default.
    expect(Date.now() - begun).toBeLessThan(15_000);
  });

  it("are not the result if one node does not respond, but the next one does", async () => {
    await using silent = await serve();
    silent.node.indexing = false;
    silent.node.beforeSubmit = () => new Promise(() => {});
    const cairn = client([silent.url, url], { attemptMs: 100 });
    const { committed } = await cairn.transact(
      { ops: [["put", "pods", "patient", 1]] },
      { timeoutMs: 1_000 },
    );
    expect(committed).toBe(true);
  });

  it(
    "are thrown only after each node was tried once, however short the time limit",
    { tags: "rest/slow" },
    async () => {
      expect((await client([nobody, url], { retryForMs: 0 }).status()).node).toBe("n");
      await using silent = await serve();
      silent.node.beforeSubmit = () => new Promise(() => {});
      // The second node has the same time limit, and needs the time on a busy machine.
      const cairn = client([silent.url, url], { retryForMs: 1, attemptMs: 3_000 });
      expect((await cairn.transact({ ops: [["put", "pods", "p", 1]] }, { timeoutMs: 1_000 })).committed).toBe(
        true,
      );
      expect(await failure(client([nobody, nobody], { retryForMs: 0 }).status())).toMatchObject({
        code: "UNREACHABLE",
      });
    },
  );

  it("such as TX_TIMEOUT make the following call go to another node", async () => {
    await using stuck = await serve();
    stuck.node.indexing = false;
    const cairn = client([stuck.url, url]);
    expect(await failure(cairn.get("pods", "x", { minTx: 1e9, timeoutMs: 20 }))).toMatchObject({
      code: "TX_TIMEOUT",
    });
    expect((await cairn.status()).node).toBe("n");
  });

  it("are retried only if they are transient", async () => {
    await using served = await serve();
    served.node.submitError = new CairnError("LOG_UNREACHABLE", "The log does not answer.");
    const cairn = new CairnClient({ urls: served.url, retryForMs: 5000 });
    const submitted = cairn.submit({ ops: [["put", "pods", "x", 1]] });
    await expect.poll(() => served.node.refused).toBeGreaterThan(2);
    served.node.submitError = undefined;
    await submitted;
    expect(served.node.submitted).toHaveLength(1);
    served.node.submitError = new CairnError("LOG_FULL", "No room.");
    const before = served.node.refused;
    expect(await failure(cairn.submit({ ops: [["put", "pods", "x", 1]] }))).toMatchObject({
      code: "LOG_FULL",
    });
    expect(served.node.refused).toBe(before + 1);
  });

  it("such as LOG_READ_ONLY lead to another node, and are thrown once every node has refused", async () => {
    await using one = await serve();
    await using two = await serve();
    one.node.submitError = new CairnError("LOG_READ_ONLY", "It only reads.");
    await new CairnClient({ urls: [one.url, two.url] }).submit({ ops: [["put", "pods", "x", 1]] });
    expect(two.node.submitted).toHaveLength(1);
    two.node.submitError = one.node.submitError;
    const refused = new CairnClient({ urls: [one.url, two.url] }).submit({ ops: [["put", "pods", "x", 1]] });
    expect(await failure(refused)).toMatchObject({ code: "LOG_READ_ONLY", status: 405 });
    expect([one.node.refused, two.node.refused]).toEqual([2, 1]);
  });

  it("are thrown immediately after an abort, even during a pause", async () => {
    const stop = new AbortController();
    const call = client([nobody]).get("pods", "x", { signal: stop.signal });
    stop.abort(new Error("enough"));
    await expect(call).rejects.toThrow("enough");
  });
});

describe("writes that are resent", () => {
  it("are applied once even if the first response was lost", async () => {
    const proxy = await startFlakyProxy(url);
    let lost = 0;
    const document = { count: 1 };
    proxy.mishap = ({ method }) => {
      // Programs go on with what they have written.
      if (method === "POST") document.count += 1;
      return method === "POST" && lost++ < 2 ? "lose-answer" : "none";
    };
    const cairn = client(proxy.url);
    const { txId } = await cairn.put("counters", "c", document, { ifRevision: null });
    expect(lost).toBe(3);
    expect(await all(cairn.history("counters", "c"))).toHaveLength(1);
    // The revision is the id of the transaction that was applied, not of the repetition.
    expect((await cairn.get("counters", "c"))?.revision).toBe(txId);
    await cairn.put("counters", "c", 2, { ifRevision: txId });
  });

  it("are repeated if a response breaks off in the middle", async () => {
    const proxy = await startFlakyProxy(url);
    let cut = 0;
    proxy.mishap = () => (cut++ === 0 ? "cut-answer" : "none");
    await client().put("pods", "whole", 1);
    expect((await client(proxy.url).page("pods", { prefix: "whole" })).documents).toHaveLength(1);
    expect(proxy.requests).toHaveLength(2);
  });

  it("with an id that was used for another write are CONFLICT", async () => {
    const cairn = client();
    await cairn.put("pods", "mine", 1, { id: "same" });
    await cairn.put("pods", "mine", 1, { id: "same" });
    expect(await all(cairn.history("pods", "mine"))).toHaveLength(1);
    expect(await failure(cairn.put("pods", "mine", 2, { id: "same" }))).toMatchObject({ code: "CONFLICT" });
  });
});

describe("a watch", () => {
  it("yields every transaction once and in order, although each connection breaks off after a while", async () => {
    const proxy = await startFlakyProxy(url);
    const sockets = new Set<AbortController>();
    const stop = new AbortController();
    onTestFinished(() => stop.abort());
    const cairn = new CairnClient({
      urls: proxy.url,
      token: "secret",
      fetch: (input, init) => {
        const cut = new AbortController();
        sockets.add(cut);
        const signal = AbortSignal.any([cut.signal, ...(init?.signal ? [init.signal] : [])]);
        return fetch(input, { ...init, signal });
      },
    });
    await client().put("watched", "begin", 0);
    const { position: from } = await client().page("watched");
    const seen: unknown[] = [];
    let reconnects = 0;
    const watching = (async () => {
      const query = { bucket: "watched", from, signal: stop.signal, onReconnect: () => (reconnects += 1) };
      for await (const transaction of cairn.watch<number>(query)) {
        for (const change of transaction.changes) seen.push(change.document);
        // What a program does with a transaction is its own affair.
        Object.assign(transaction, { txId: 1, position: from });
        if (seen.length % 5 === 0) for (const cut of sockets) cut.abort();
        if (seen.length >= 40) break;
      }
    })();
    for (let n = 1; n <= 40; n += 1) {
      await client().put("watched", "k", n);
      // The next change arrives over another connection. A watch that lags behind would receive several at the same
      // time.
      if (n % 5 === 0) await expect.poll(() => seen.length).toBe(n);
    }
    await watching;
    expect(seen).toEqual(Array.from({ length: 40 }, (_, n) => n + 1));
    expect(reconnects).toBeGreaterThan(3);
  });

  it("continues at the next node if a node stops before it sends anything", async () => {
    await client().put("watched", "begin", 0);
    const { position: from } = await client().page("watched");
    await client().put("watched", "k", "after");
    const stopping = await cuttingOff('{"txId":1,"reason":"stopping","message":"The node stops."}');
    const left: string[] = [];
    const watch = client([stopping, url]).watch({
      bucket: "watched",
      from,
      onReconnect: ({ message }) => left.push(message),
    });
    expect((await watch.next()).value).toMatchObject({ changes: [{ document: "after" }] });
    await watch.return();
    expect(left).toEqual(["The node stops."]);
  });

  it("ends with the reason if a node cuts it off because the log lost its end", async () => {
    const lost = await cuttingOff('{"txId":1,"reason":"regressed","message":"The log lost its end."}');
    expect(await failure(client([lost, url]).watch({ from: "0" }).next())).toMatchObject({
      code: "WATCH_COMPACTED",
      message: "The log lost its end.",
      details: { reason: "regressed" },
    });
  });

  it("ends with the error if the history is pruned or the token is wrong", async () => {
    const wrong = new CairnClient({ urls: url, token: "wrong" }).watch();
    expect(await failure(wrong.next())).toMatchObject({ code: "UNAUTHORIZED" });
    expect(await failure(client([nobody], { retryForMs: 100 }).watch().next())).toMatchObject({
      code: "UNREACHABLE",
    });
  });

  it("ends without an error when it is aborted", async () => {
    const stop = new AbortController();
    const positions: string[] = [];
    const watch = client().watch({ signal: stop.signal, onPosition: (position) => positions.push(position) });
    const next = watch.next();
    await expect.poll(() => positions.length).toBeGreaterThan(0);
    stop.abort();
    expect(await next).toEqual({ done: true, value: undefined });
  });
});

/** Starts a node that answers each watch with a cutoff, and returns its address. */
async function cuttingOff(data: string): Promise<string> {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream", "x-request-id": "1" });
    response.end(`event: cutoff\ndata: ${data}\n\n`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const refused = (option: string): object => ({
  code: "REQUEST_INVALID",
  message: expect.stringContaining(`has no option "${option}"`),
});

describe("options of calls", () => {
  /** The clients, as programs without types use them. */
  const clients = anyClient.map(([where, open]) => [where, () => open() as unknown as Untyped] as const);
  interface Untyped {
    readonly put: (bucket: string, key: string, document: unknown, options?: object) => Promise<unknown>;
    readonly deleteAll: (bucket: string, query?: object) => Promise<unknown>;
    readonly list: (bucket: string, query: object) => AsyncIterable<unknown>;
    readonly get: (bucket: string, key: string, options: object) => Promise<unknown>;
    readonly transact: (transaction: object, options: object) => Promise<unknown>;
    readonly watch: (query: object) => AsyncIterable<unknown>;
  }

  it.for(clients)("that are unknown are refused %s, before anything is sent", async ([, open]) => {
    const cairn = open();
    await client().put("kept", "a", 1);
    const put = await failure(cairn.put("kept", "a", 2, { ifRevsion: 3 }));
    expect(put).toMatchObject(refused("ifRevsion"));
    expect(put.hint).toContain("The options of put are signal, timeoutMs, id, ifRevision.");
    expect(await failure(cairn.deleteAll("kept", { prefx: "zz" }))).toMatchObject(refused("prefx"));
    expect(await failure(all(cairn.list("kept", { limit: 1 })))).toMatchObject(refused("limit"));
    expect(await failure(cairn.get("kept", "a", { asof: 1 }))).toMatchObject(refused("asof"));
    const ops = [["put", "kept", "a", 2]];
    expect(await failure(cairn.transact({ ops }, { id: "x" }))).toMatchObject(refused("id"));
    expect(await failure(all(cairn.watch({ form: "0" })))).toMatchObject(refused("form"));
    expect((await client().get("kept", "a"))?.document).toBe(1);
  });

  it.for(clients)("that are no signal are refused %s, by name", async ([, open]) => {
    for (const signal of [null, 3, {}])
      expect(await failure(open().get("kept", "a", { signal }))).toMatchObject({
        code: "REQUEST_INVALID",
        message: `The signal of get is ${String(signal)}.`,
        hint: "Nothing was sent. signal is an AbortSignal.",
      });
  });

  it.for(clients)(
    "of deleteAll must have values %s, as everything is deleted without them",
    async ([, open]) => {
      const cairn = open();
      await client().put("bulk", "zz/a", 1);
      await client().put("bulk", "b", 1);
      for (const name of ["prefix", "namespace", "from", "to"])
        for (const value of ["", undefined, null])
          expect(await failure(cairn.deleteAll("bulk", { [name]: value }))).toMatchObject({
            code: "REQUEST_INVALID",
            message: `deleteAll was given a ${name} without a value.`,
            hint: expect.stringContaining(`omit ${name}`),
          });
      expect(await cairn.deleteAll("bulk", { namespace: "zz", prefix: "a" })).toEqual({ documents: 1 });
      // What the hint describes.
      expect(await cairn.deleteAll("bulk")).toEqual({ documents: 1 });
    },
  );
});

it("a client refuses options of which it would ignore a part", async () => {
  class Query {
    get prefix(): string {
      return "zzz";
    }
  }
  await client().put("inherited", "k", 1);
  for (const query of [new Query(), Object.create({ prefix: "zzz" }), new Map(), 5, true, null]) {
    const error = { code: "REQUEST_INVALID", message: expect.stringContaining("plain object") as unknown };
    expect(await failure(client().deleteAll("inherited", query as object))).toMatchObject(error);
    expect(
      await failure(
        client()
          .list("inherited", query as object)
          .next(),
      ),
    ).toMatchObject(error);
  }
  expect(await client().deleteAll("inherited")).toEqual({ documents: 1 });
});

it("a client refuses invalid addresses", () => {
  expect(() => new CairnClient({ urls: "localhost:3000" })).toThrow("is not the address of a node");
  expect(() => new CairnClient({ urls: "http://a b:3000" })).toThrow("is not the address of a node");
  for (const urls of ["http://user:secret@10.0.0.7:3000", ["http://10.0.0.7:3000", "https://user@node"]])
    expect(() => new CairnClient({ urls })).toThrow(/^The address of a node contains a user or a password/);
  expect(() => new CairnClient({ urls: [] })).toThrow("at least one node");
});

it("a client records events and reads them back", async () => {
  const cairn = client();
  await cairn.recordEvent({
    object: "default/web-0",
    reason: "Scheduled",
    message: "on node-a",
    bucket: "pods",
  });
  const [newest] = await cairn.events({ limit: 1, bucket: "pods" });
  expect(newest).toMatchObject({ object: "default/web-0", reason: "Scheduled", message: "on node-a" });
});
