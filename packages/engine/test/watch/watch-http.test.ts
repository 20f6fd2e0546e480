import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { CairnError } from "@cairn/kv";
import { EventSource as StandardEventSource } from "eventsource";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import type { CairnNode } from "../../src/node/node.ts";
import { runNode } from "@cairn/node";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { WRITE_BYTES } from "../../src/watch/write-turns.ts";
import { compacted } from "../../src/index/read/watch-compacted.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";
import { serve } from "@cairn/test-support/nodes/served-node";
import { EventSource, txIdOf } from "./event-source.ts";
import { submit } from "@cairn/test-support/nodes/watch-reader";
import { madePosition, positionAfter } from "@cairn/test-support/nodes/positions";

let folder = "";
let node: CairnNode;
let url = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-watch-http-"));
  await startNode();
});
afterEach(async () => {
  await node.close();
  await rm(folder, { recursive: true, force: true });
});

async function startNode(port = 0): Promise<void> {
  const openTxLog = async () => await openEmbeddedTxLog({ path: path.join(folder, "node-1-log") });
  const http = { host: "127.0.0.1", port, maxBody: 1_048_576 };
  node = await runNode({ ...quietSystem({ folder, nodeId: "node-1", openTxLog }), http });
  await node.ready;
  url = `${node.url}/api/v1/watch`;
}

/** Returns the server's ends of the connections that are opened from now on. */
function acceptedSockets(): readonly Socket[] {
  const accepted: Socket[] = [];
  const note = (message: unknown): void => void accepted.push((message as { socket: Socket }).socket);
  subscribe("net.server.socket", note);
  onTestFinished(() => void unsubscribe("net.server.socket", note));
  return accepted;
}

describe("GET /api/v1/follow", () => {
  it("begins with a heartbeat at once, also while the node has not reached the position", async () => {
    const txId = await submit(node, ["put", "pods", "a", 1]);
    const from = madePosition(txId + 1);
    await using follow = await EventSource.open(`${node.url}/api/v1/follow?from=${from}&heartbeat=PT1H`);
    const heartbeat = { id: undefined, event: "heartbeat", data: { txId, ahead: true } };
    expect(await follow.next()).toMatchObject(heartbeat);
    await submit(node, ["put", "pods", "a", 2]);
    // The transaction that arrived is not the one that the position names.
    expect(await follow.next()).toMatchObject({
      id: await positionAfter(node, txId + 1),
      event: "states",
      data: { complete: true, changes: [{ op: "clear" }, { op: "put", name: "a", document: 2 }] },
    });
  });

  it("sends the documents with a position from which a watch sends each later transaction", async () => {
    await submit(node, ["put", "pods", "a", 1]);
    await submit(node, ["put", "pods", "b", 1]);
    await using follow = await EventSource.open(`${node.url}/api/v1/follow?bucket=pods`);
    await follow.next();
    const states = await follow.next();
    expect(states?.data).toMatchObject({
      complete: true,
      changes: [{ op: "clear" }, { name: "a" }, { name: "b" }],
    });
    const later = [
      await submit(node, ["put", "pods", "a", 2]),
      await submit(node, ["put", "pods", "a", 3]),
      await submit(node, ["delete", "pods", "b"]),
    ];
    await using watch = await EventSource.open(`${url}?bucket=pods&from=${states?.id}`);
    expect(await watch.transactions(3)).toEqual(later);
  });
});

describe("GET /api/v1/watch", () => {
  it("sends server-sent events: first its beginning, and then each transaction with its id", async () => {
    await using watch = await EventSource.open(url);
    expect(watch.response).toMatchObject({
      statusCode: 200,
      headers: {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store, no-transform",
        "x-accel-buffering": "no",
      },
    });
    const txTime = expect.stringMatching(/^\d{4}-.*Z$/) as string;
    const begin = await positionAfter(node, 1);
    const data = { txId: 1, txTime, position: begin };
    expect(await watch.next()).toEqual({ id: begin, event: "heartbeat", data });
    await submit(node, ["put", "pods", "web/ü 0", { image: "nginx\n\r", n: [1, null] }]);
    await submit(node, ["delete", "pods", "web/ü 0"]);
    const key = { bucket: "pods", namespace: "web", name: "ü 0" };
    const [put, deletion] = [await positionAfter(node, 2), await positionAfter(node, 3)];
    expect(await watch.next()).toEqual({
      id: put,
      event: "tx",
      data: {
        txId: 2,
        txTime,
        position: put,
        changes: [{ op: "put", ...key, revision: 2, document: { image: "nginx\n\r", n: [1, null] } }],
      },
    });
    expect(await watch.next()).toEqual({
      id: deletion,
      event: "tx",
      data: { txId: 3, txTime, position: deletion, changes: [{ op: "delete", ...key, revision: 3 }] },
    });
  });

  it("accepts a bucket, a namespace and a beginning", async () => {
    await submit(node, ["put", "pods", "prod/a", 1]);
    await submit(node, ["put", "nodes", "prod/a", 1]);
    await submit(node, ["put", "pods", "prod/b", 1], ["put", "pods", "test/b", 1]);
    const from = await positionAfter(node, 2);
    await using watch = await EventSource.open(`${url}?bucket=pods&namespace=prod&from=${from}`);
    expect(await watch.transactions(1)).toEqual([4]);
    await using all = await EventSource.open(`${url}?from=0`);
    expect(await all.transactions(3)).toEqual([2, 3, 4]);
  });

  it("continues from Last-Event-ID, which a client that reconnects sends with its original address", async () => {
    for (let n = 0; n < 4; n += 1) await submit(node, ["put", "pods", "a", n]);
    const headers = { "last-event-id": await positionAfter(node, 3) };
    await using watch = await EventSource.open(`${url}?from=0`, headers);
    expect(await watch.transactions(2)).toEqual([4, 5]);
    for (const id of ["three", "3"]) {
      const wrong = await fetch(url, { headers: { "last-event-id": id } });
      expect([wrong.status, await wrong.text()]).toEqual([
        400,
        expect.stringContaining("Last-Event-ID must be a position"),
      ]);
    }
  });

  it(
    "is resumed by an EventSource at its last position once the node has been restarted",
    { tags: "rest/slow" },
    async () => {
      const txId = await submit(node, ["put", "pods", "a", 1]);
      const source = new StandardEventSource(`${url}?bucket=pods&from=0`);
      onTestFinished(() => source.close());
      const seen: (readonly [id: string, data: unknown])[] = [];
      source.addEventListener("tx", ({ lastEventId, data }) =>
        seen.push([lastEventId, JSON.parse(String(data))]),
      );
      await expect.poll(() => seen).toMatchObject([[await positionAfter(node, txId), { txId }]]);
      const { port } = new URL(url);
      await node.close();
      await startNode(Number(port));
      const next = await submit(node, ["put", "pods", "b", 1]);
      await expect
        .poll(() => seen.slice(1), { timeout: 20_000 })
        .toMatchObject([[await positionAfter(node, next), { txId: next }]]);
    },
  );

  it("sends heartbeats with the position, but no id after which the client must not resume", async () => {
    await using watch = await EventSource.open(`${url}?bucket=pods&heartbeat=PT0.1S`);
    const txId = await submit(node, ["put", "other", "a", 1]);
    await vi.waitFor(async () =>
      expect(await watch.next()).toMatchObject({
        id: await positionAfter(node, txId),
        event: "heartbeat",
        data: { txId },
      }),
    );
    await using ahead = await EventSource.open(`${url}?from=${madePosition(txId + 1)}&heartbeat=100`);
    expect(await ahead.next()).toMatchObject({
      id: undefined,
      event: "heartbeat",
      data: { txId, ahead: true },
    });
    expect(await ahead.next()).toMatchObject({
      id: undefined,
      event: "cutoff",
      data: { reason: "regressed" },
    });
  });

  it("is cut off with the position to resume from when the node stops, without delaying the stop", async () => {
    const times: number[] = [];
    // Otherwise, every stop would wait 2 s for pending requests. A busy machine takes that long only occasionally.
    while (times.length < 10 && !(Math.min(...times) < 1_800)) {
      if (times.length > 0) await startNode();
      const txId = await submit(node, ["put", "pods", "a", 1]);
      const id = await positionAfter(node, txId);
      await using watch = await EventSource.open(url);
      await watch.next();
      const begunAt = performance.now();
      const [end] = await Promise.all([watch.next(), node.close()]);
      expect(end).toMatchObject({ id, event: "cutoff", data: { txId, reason: "stopping" } });
      expect(await watch.next()).toBeUndefined();
      times.push(performance.now() - begunAt);
    }
    expect(Math.min(...times)).toBeLessThan(1_800);
  });

  it.each([
    ["from=x", 400],
    ["from=-1", 400],
    ["from=1&from=2", 400],
    ["buckets=pods", 400],
    ["bucket=watch", 400],
    ["namespace=a%2Fb", 400],
    ["heartbeat=often", 400],
  ])("refuses ?%s", async (query, status) => {
    const answer = await fetch(`${url}?${query}`);
    expect(answer.status).toBe(status);
    expect(await answer.json()).toMatchObject({ error: { code: "REQUEST_INVALID" } });
  });

  it.each(["PT0.01S", "99", "0", "PT2H", "3600001"])(
    "refuses heartbeat=%s and names the bounds, which are themselves accepted",
    async (given) => {
      const answer = await fetch(`${url}?heartbeat=${given}`);
      const { error } = (await answer.json()) as { error: { message: string } };
      const message = `heartbeat must be a duration from PT0.1S to PT1H, not "${given}".`;
      expect([answer.status, error]).toMatchObject([400, { code: "REQUEST_INVALID", message }]);
      for (const bound of ["PT0.1S", "PT1H"])
        await (await EventSource.open(`${url}?heartbeat=${bound}`))[Symbol.asyncDispose]();
    },
  );

  it("responds to HEAD with only the headers", async () => {
    const answer = await fetch(url, { method: "HEAD" });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(await answer.text()).toBe("");
  });

  it(
    "cuts off a stalled reader, with the position to resume from, and buffers little for it",
    { tags: "rest/slow" },
    async () => {
      const from = await submit(node, ["put", "pods", "a", 0]);
      await using slow = await EventSource.open(url);
      await slow.next();
      slow.response.pause();
      const text = "x".repeat(500_000);
      let last = from;
      for (let n = 0; n < 60; n += 1) last = await submit(node, ["put", "pods", "a", text]);
      const ids: number[] = [];
      let end = await slow.next();
      for (; end?.event === "tx"; end = await slow.next()) ids.push(txIdOf(end));
      const place = ids.at(-1) ?? from;
      const position = await positionAfter(node, place);
      expect(ids).toEqual(Array.from({ length: ids.length }, (_, index) => from + 1 + index));
      expect(end).toMatchObject({
        id: position,
        event: "cutoff",
        data: { txId: place, reason: "slow" },
      });
      expect(place).toBeLessThan(last);
      expect(await slow.next()).toBeUndefined();
      await using again = await EventSource.open(`${url}?from=${position}`);
      expect(await again.transactions(last - place)).toEqual(
        Array.from({ length: last - place }, (_, index) => place + 1 + index),
      );
    },
  );

  it("writes only a small part of a large document to the connection of a reader that stalls", async () => {
    const accepted = acceptedSockets();
    const stalled = Array.from({ length: 8 }, () => connect(Number(new URL(url).port), "127.0.0.1"));
    for (const socket of stalled)
      socket.write("GET /api/v1/watch?bucket=pods HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await Promise.all(stalled.map((socket) => once(socket, "readable")));
    const document = "x".repeat(900_000);
    await vi.waitFor(async () => {
      await submit(node, ["put", "pods", "a", document]);
      for (const socket of accepted) expect(socket.writableLength).toBeGreaterThan(0);
    });
    for (const socket of accepted) expect(socket.writableLength).toBeLessThan(2 * WRITE_BYTES);
    for (const socket of stalled) socket.destroy();
  });

  it(
    "sends large documents whole and in order to every reader, and cuts none off that keeps up",
    { tags: "rest/slow" },
    async () => {
      const watches = await Promise.all(
        Array.from({ length: 10 }, async () => await EventSource.open(`${url}?bucket=pods`)),
      );
      for (const watch of watches) await watch.next();
      const documents = Array.from({ length: 8 }, (_, n) => String.fromCharCode(97 + n).repeat(900_000));
      const received = watches.map(async (watch) => {
        for (const document of documents) {
          const event = await watch.next();
          // Compared as text, because a failure would print each document.
          expect(event?.event === "tx" && JSON.stringify(event.data).includes(`"${document}"`)).toBe(true);
        }
      });
      await Promise.all([
        ...received,
        ...documents.map((document) => submit(node, ["put", "pods", "a", document])),
      ]);
      for (const watch of watches) await watch[Symbol.asyncDispose]();
    },
  );

  it("leaves nothing behind when clients disconnect", async () => {
    const sockets = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const socket = connect(Number(new URL(url).port), "127.0.0.1");
        socket.write("GET /api/v1/watch HTTP/1.1\r\nHost: localhost\r\n\r\n");
        await once(socket, "data");
        return socket;
      }),
    );
    expect(await node.metrics()).toMatch(/^cairn_watchers 20$/m);
    for (const socket of sockets) socket.resetAndDestroy();
    await vi.waitFor(async () => expect(await node.metrics()).toMatch(/^cairn_watchers 0$/m));
    const txId = await submit(node, ["put", "pods", "a", 1]);
    await using watch = await EventSource.open(`${url}?from=${await positionAfter(node, txId - 1)}`);
    expect(await watch.transactions(1)).toEqual([txId]);
  });

  it("leaves nothing behind when a client disconnects that sent watches ahead of their responses", async () => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    let received = "";
    socket.setEncoding("utf8").on("data", (text: string) => (received += text));
    socket.write("GET /api/v1/watch?from=0 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20));
    await vi.waitFor(async () => expect(await node.metrics()).toMatch(/^cairn_watchers 1$/m));
    const last = await submit(node, ["put", "pods", "a", "last"]);
    const id = await positionAfter(node, last);
    await vi.waitFor(() => expect(received).toContain(`id: ${id}\n`));
    socket.resetAndDestroy();
    await vi.waitFor(async () => expect(await node.metrics()).toMatch(/^cairn_watchers 0$/m));
  });

  it("ends if its client reads nothing for a minute, but not while there is nothing to read", async () => {
    const accepted = acceptedSockets();
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    socket.write("GET /api/v1/watch HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await once(socket, "readable");
    const [connection] = accepted;
    expect(connection?.timeout).toBe(60_000);
    // Sockets emit this after that time.
    connection?.emit("timeout");
    const document = "x".repeat(500_000);
    await vi.waitFor(async () => {
      await submit(node, ["put", "pods", "a", document]);
      expect(connection?.writableLength).toBeGreaterThan(0);
    });
    connection?.emit("timeout");
    socket.resume();
    await once(socket, "close");
    await vi.waitFor(async () => expect(await node.metrics()).toMatch(/^cairn_watchers 0$/m));
  });
});

describe("GET /api/v1/watch on a node with a token, or one that cannot serve it,", () => {
  it("requires the token if there is one", async () => {
    await using served = await serve({ authToken: "secret" });
    expect((await served.fetch("/api/v1/watch")).status).toBe(401);
    const allowed = await served.fetch("/api/v1/watch", { headers: { authorization: "Bearer secret" } });
    expect(allowed.status).toBe(200);
  });

  it("is refused with 503 and no stream by a joining node", async () => {
    await using served = await serve();
    served.node.watched = async function* () {
      await Promise.reject(new CairnError("NOT_READY", "The node is restoring."));
      yield [];
    };
    const answer = await served.fetch("/api/v1/watch");
    expect(answer.status).toBe(503);
    expect(answer.headers.get("retry-after")).toBe("1");
    expect(await answer.json()).toMatchObject({ error: { code: "NOT_READY" } });
  });

  it("is continued by an EventSource after the node was not ready", { tags: "rest/slow" }, async () => {
    await using served = await serve();
    let asked = 0;
    served.node.watched = async function* () {
      asked += 1;
      if (asked < 3) throw new CairnError("NOT_READY", "The node is restoring.");
      yield [{ type: "heartbeat", txId: 7, txTime: "2026-11-21T10:00:00.000Z", position: madePosition(7) }];
      await new Promise(() => undefined);
    };
    const source = new StandardEventSource(`${served.server.url}/api/v1/watch`);
    try {
      const told = await new Promise<MessageEvent>((resolve) => {
        source.addEventListener("heartbeat", resolve);
      });
      expect([told.lastEventId, asked]).toEqual([madePosition(7), 3]);
    } finally {
      source.close();
    }
  });

  it("is refused with 410 and the floor if the requested past was removed", async () => {
    await using served = await serve();
    served.node.watched = async function* () {
      await Promise.reject(compacted(5, madePosition(40)));
      yield [];
    };
    const answer = await served.fetch(`/api/v1/watch?from=${madePosition(5)}`);
    expect(answer.status).toBe(410);
    expect(await answer.json()).toEqual({
      error: {
        code: "WATCH_COMPACTED",
        message: `This node no longer has all changes after transaction 5. A watch can begin at ${madePosition(40)} or later.`,
        hint: expect.stringContaining("List"),
      },
      floor: madePosition(40),
      reason: "compacted",
    });
  });
});
