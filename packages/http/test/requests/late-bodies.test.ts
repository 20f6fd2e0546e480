import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { expect, it, onTestFinished, vi } from "vitest";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";

const LIMIT_MS = 300;
/** The limit where megabytes must have arrived before it passes, on a busy machine, too. */
const LONG_LIMIT_MS = 2_000;

function line(i: number, pad = ""): string {
  return `${JSON.stringify({ ops: [["put", "pods", `default/${i}`, { i, pad }]] })}\n`;
}

const BIG_LINE = line(0, "x".repeat(100_000));

function open({ server }: ServedNode): Socket {
  const socket = connect(server.port, "127.0.0.1");
  // The server may close the connection while this side is writing.
  socket.on("error", () => undefined);
  onTestFinished(() => void socket.destroy());
  return socket;
}

/** Begins a batch whose body is longer than everything that is sent. */
function beginBatch(served: ServedNode): Socket {
  const socket = open(served);
  socket.write(
    "POST /api/v1/tx/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 99999999\r\n\r\n",
  );
  return socket;
}

/** Sends a byte from time to time, which is no part of a line. */
function drip(socket: Socket): void {
  const dripping = setInterval(() => socket.write(" "), LIMIT_MS / 10);
  onTestFinished(() => clearInterval(dripping));
}

/** Waits until the limit has passed for every request that began before the call. */
async function limitPassed(served: ServedNode): Promise<void> {
  const later = open(served);
  later.write("PUT /api/v1/pods/later HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{");
  expect(await text(later)).toMatch(/^HTTP\/1\.1 408 /);
}

/** Makes the log store nothing until the returned function is called. */
function holdBack({ node }: ServedNode): () => void {
  const gate = new AbortController();
  const opened = once(gate.signal, "abort").then(() => undefined);
  node.beforeSubmit = () => opened;
  return () => gate.abort();
}

function answerIn(received: string): { status: number; body: unknown } {
  const [head = "", body = ""] = received.split("\r\n\r\n");
  expect(received.split(/HTTP\/1\.1 \d/)).toHaveLength(2);
  return { status: Number(head.slice(9, 12)), body: JSON.parse(body) };
}

it(
  "a batch that the node itself holds back for longer than the limit is stored completely",
  { tags: "rest/slow" },
  async () => {
    await using served = await serve({ requestTimeoutMs: LONG_LIMIT_MS });
    const goOn = holdBack(served);
    const answer = served.raw("POST", "/api/v1/tx/batch", {
      body: BIG_LINE.repeat(400),
      headers: { "content-type": "application/x-ndjson" },
    });
    await limitPassed(served);
    goOn();
    const { status, text: body } = await answer;
    expect([status, JSON.parse(body)]).toEqual([202, { accepted: 400, firstTxId: 2, lastTxId: 401 }]);
  },
);

it("a batch whose client only drips is refused with the line at which to continue, and nothing of it is stored afterwards", async () => {
  await using served = await serve({ requestTimeoutMs: LIMIT_MS });
  const socket = beginBatch(served);
  socket.write(`${line(1)}\n${line(2)}${line(3).trimEnd()}`);
  drip(socket);
  socket.once("data", () => socket.write(`\n${line(4)}`));
  const received = await text(socket);
  expect(received).toMatch(/\r\nconnection: close\r\n/i);
  expect(answerIn(received)).toMatchObject({
    status: 408,
    body: {
      error: { code: "REQUEST_INVALID", hint: expect.stringContaining("first-line") },
      line: 4,
      accepted: 2,
      acceptedAfter: 0,
      firstTxId: 2,
      lastTxId: 3,
    },
  });
  expect(served.node.submitted).toHaveLength(2);
  // The hint: send the batch again beginning with that line.
  const again = await served.raw("POST", "/api/v1/tx/batch?first-line=4", {
    body: line(3) + line(4),
    headers: { "content-type": "application/x-ndjson" },
  });
  expect([again.status, JSON.parse(again.text)]).toEqual([202, { accepted: 2, firstTxId: 4, lastTxId: 5 }]);
  const keys = served.node.submitted.map(({ ops: [op] }) => op?.[2]);
  expect(keys).toEqual([1, 2, 3, 4].map((n) => `default/${n}`));
});

it("a batch that keeps bringing lines is not limited in total", { tags: "rest/slow" }, async () => {
  await using served = await serve({ requestTimeoutMs: LIMIT_MS });
  const socket = beginBatch(served);
  let sent = 0;
  const sending = setInterval(() => {
    socket.write(BIG_LINE);
    sent += 1;
  }, LIMIT_MS / 10);
  onTestFinished(() => clearInterval(sending));
  await limitPassed(served);
  await limitPassed(served);
  const before = sent;
  await vi.waitFor(() => expect(served.node.submitted.length).toBeGreaterThan(before));
  expect(socket.bytesRead).toBe(0);
});

it.each([
  // The wrong line has been read when the limit passes, but the line before it is still being stored.
  2,
  // This is behind more than waits for the log at a time, so the wrong line has not been read.
  101,
])(
  "a batch whose line %i is wrong ends its connection if the client drips after the limit",
  { tags: "rest/slow" },
  async (wrong) => {
    await using served = await serve({ requestTimeoutMs: LONG_LIMIT_MS });
    const goOn = holdBack(served);
    const socket = beginBatch(served);
    const received = text(socket);
    socket.write(`${BIG_LINE.repeat(wrong - 1)}broken\n`);
    await limitPassed(served);
    goOn();
    drip(socket);
    expect(answerIn(await received)).toMatchObject({
      status: 400,
      body: { line: wrong, accepted: wrong - 1 },
    });
  },
);

it("a batch that is not valid HTTP from some byte on is refused with what is stored", async () => {
  await using served = await serve();
  const socket = open(served);
  socket.write(
    `POST /api/v1/tx/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n`,
  );
  socket.write(`${line(1).length.toString(16)}\r\n${line(1)}\r\n`);
  await vi.waitFor(() => expect(served.node.submitted).toHaveLength(1));
  socket.write(`${line(2).length.toString(16)}\r\n${line(2)}\r\nno length\r\n`);
  const { status, body } = answerIn(await text(socket));
  const stored = served.node.submitted.length;
  expect(status).toBe(400);
  expect(body).toMatchObject({
    error: { message: expect.stringContaining("not valid HTTP") },
    line: stored + 1,
    accepted: stored,
  });
});

it.each([
  ["its body", "PUT /api/v1/pods/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n1", "23"],
  ["its headers", "PUT /api/v1/pods/x HTTP/1.1\r\nHost: localhost\r\n", "Content-Length: 3\r\n\r\n123"],
])("a request that was refused because %s had not arrived is not executed later", async (_, begin, rest) => {
  await using served = await serve({ requestTimeoutMs: LIMIT_MS });
  const socket = open(served);
  socket.write(begin);
  socket.once("data", () => socket.write(rest));
  const { status, body } = answerIn(await text(socket));
  expect(status).toBe(408);
  expect(body).toMatchObject({ error: { hint: expect.stringContaining("Send the request again") } });
  await once(socket, "close");
  await served.fetch("/health/live");
  expect(served.node.submitted).toEqual([]);
});
