import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { describe, expect, it, vi } from "vitest";
import type { CairnNode } from "../../../src/index.ts";
import { startedNode } from "./started-node.ts";

const DOCUMENTS = 20;

/** Starts a node with documents `d0` to `d19`, each containing its number. */
async function start(): Promise<{ node: CairnNode; port: number }> {
  const node = await startedNode();
  for (let n = 0; n < DOCUMENTS; n += 1) {
    await node.await((await node.submit({ ops: [["put", "pods", `d${n}`, n]] })).txId);
  }
  return { node, port: Number(new URL(node.url ?? "").port) };
}

function request(line: string, ...headers: string[]): string {
  return [`${line} HTTP/1.1`, "Host: localhost", ...headers, "", ""].join("\r\n");
}

function put(document: string): string {
  return `${request("PUT /api/v1/pods/p", `Content-Length: ${document.length}`)}${document}`;
}

/** Returns the status and the body of each response. */
function answersIn(received: string): string[] {
  return received
    .split("HTTP/1.1 ")
    .slice(1)
    .map((answer) => `${answer.slice(0, 3)} ${answer.slice(answer.indexOf("\r\n\r\n") + 4)}`.trim());
}

describe("requests that one connection sends ahead of their responses", () => {
  it("have responses in their order, whichever are fastest", async () => {
    const { port } = await start();
    const socket = connect(port, "127.0.0.1");
    const received = text(socket);
    socket.write(
      [
        request("GET /api/v1/pods/d1"),
        request("GET /api/v1/pods/nobody"),
        request("GET /api/v1/pods/d2?history=no"),
        request("HEAD /api/v1/pods/d3"),
        request("GET /health/live"),
        request("GET /api/v1/pods/d4", "If-None-Match: *"),
        `${request("PUT /api/v1/pods/d5", "Content-Length: 2")}55`,
        request("GET /api/v1/pods/d10"),
        request("GET /api/v1/pods/d6?as-of=1"),
        request("GET /api/v1/pods/d7", 'If-Match: "1"'),
        request("GET /api/v1/pods?limit=1"),
        request("GET /api/v1/pods/d8"),
        request("GET /api/v1/pods/d9", "Connection: close"),
      ].join(""),
    );
    const answers = answersIn(await received);
    expect(answers.map((answer) => answer.slice(0, 3))).toEqual([
      "200",
      "404",
      "400",
      "200",
      "200",
      "304",
      "200",
      "200",
      "404",
      "412",
      "200",
      "200",
      "200",
    ]);
    expect([0, 3, 5, 7, 11, 12].map((at) => answers[at]?.slice(4))).toEqual(["1", "", "", "10", "8", "9"]);
  });

  it("are executed in order if one of them writes", async () => {
    const { port } = await start();
    for (let round = 0; round < 10; round += 1) {
      const socket = connect(port, "127.0.0.1");
      const received = text(socket);
      socket.write(
        [
          put("1"),
          request("DELETE /api/v1/pods/p"),
          request("GET /api/v1/pods/p"),
          put("2"),
          request("GET /api/v1/pods/p"),
          put(JSON.stringify("long".repeat(50_000))),
          put("3"),
          request("GET /api/v1/pods/p", "Connection: close"),
        ].join(""),
      );
      const answers = answersIn(await received);
      expect(answers.map((answer) => answer.slice(0, 3)).join(" ")).toBe("201 200 404 201 200 200 200 200");
      expect([answers[4], answers[7]]).toEqual(["200 2", "200 3"]);
      const transactions = answers.flatMap((answer) => /"txId":(\d+)/.exec(answer)?.[1] ?? []).map(Number);
      expect(transactions).toEqual(transactions.toSorted((a, b) => a - b));
      expect(transactions).toHaveLength(5);
      const last = connect(port, "127.0.0.1");
      last.write(request("DELETE /api/v1/pods/p", "Connection: close"));
      await text(last);
    }
  });

  it("all have a response or a refusal if the node stops between them", async () => {
    const { node, port } = await start();
    const connections = Array.from({ length: 4 }, () => endlessReads(port));
    await vi.waitFor(() => {
      for (const { read } of connections) expect(read()).toBeGreaterThan(100_000);
    });
    await node.close();
    for (const { ended } of connections) {
      const answers = answersIn(await ended);
      const refused = answers.findIndex((answer) => answer.startsWith("503 "));
      const answered = refused < 0 ? answers : answers.slice(0, refused);
      expect(answered.length).toBeGreaterThan(100);
      expect(answered).toEqual(answered.map((_, index) => `200 ${index % DOCUMENTS}`));
      for (const answer of answers.slice(answered.length)) expect(answer).toMatch(/^503 \{.*NOT_READY/);
    }
  });
});

/** Requests one document after another, ahead of the responses, until the node ends the connection. */
function endlessReads(port: number): { ended: Promise<string>; read: () => number } {
  const socket = connect(port, "127.0.0.1");
  let received = "";
  let count = 0;
  socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
  // A write may fail when the connection ends.
  socket.on("error", () => undefined);
  const ended = new Promise<string>((resolve) => socket.once("close", () => resolve(received)));
  const write = (): void => {
    if (socket.destroyed || !socket.writable) return;
    let requests = "";
    for (let n = 0; n < 10; n += 1) requests += request(`GET /api/v1/pods/d${count++ % DOCUMENTS}`);
    socket.write(requests, () => setImmediate(write));
  };
  write();
  return { ended, read: () => received.length };
}
