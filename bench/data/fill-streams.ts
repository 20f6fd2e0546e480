import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Policies, startNode } from "@cairn/node";
import { connect, type JetStreamClient, type NatsConnection } from "nats";
import { nodeConfig } from "./node-config.ts";
import { type Records, recordKey } from "./records.ts";

const BUCKET = "bench";
// Only the last message of a window is acknowledged, which implies that the server has stored the earlier ones.
const MESSAGES_PER_WINDOW = 500;
const MAX_OPEN_WINDOWS = 8;

/** The content of a log. */
export interface LogContent {
  readonly stream: string;
  /** Policies that are set before the first message. */
  readonly policies?: Policies;
  readonly count: number;
  readonly message: (index: number, logTag: string) => Uint8Array;
}

/** Makes a node create a log, and publishes its messages. Returns the stream's name. */
export async function fillLog(
  url: string,
  { stream, policies, count, message }: LogContent,
): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "cairn-bench-first-"));
  try {
    const node = await startNode(nodeConfig({ dir, log: { url, stream } }), { env: {} });
    try {
      await node.ready;
      if (policies !== undefined) await node.await(await node.submit({ ops: [["configure", policies]] }));
    } finally {
      await node.close();
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  await withConnection(url, async (connection) => {
    const manager = await connection.jetstreamManager();
    // The first line of the birth record, the log's first message, has the tag of all messages.
    const birth = await manager.streams.getMessage(stream, { seq: 1 });
    const [, , logTag = ""] = Buffer.from(birth.data).toString("latin1").split(/[ \n]/);
    await publish(connection, count, (index) => ({
      subject: `${stream}.tx`,
      payload: message(index, logTag),
    }));
  });
  return stream;
}

/** Creates a NATS KV bucket with a key for each record. Returns the bucket's name. */
export async function fillBucket(url: string, records: Records): Promise<string> {
  await withConnection(url, async (connection) => {
    await connection.jetstream().views.kv(BUCKET);
    await publish(connection, records.count, (index) => ({
      subject: `$KV.${BUCKET}.${recordKey(index)}`,
      payload: Buffer.from(records.document(index)),
    }));
  });
  return BUCKET;
}

/** Removes a stream with its messages. */
export async function dropStream(url: string, stream: string): Promise<void> {
  await withConnection(url, async (connection) => {
    await (await connection.jetstreamManager()).streams.delete(stream);
  });
}

async function withConnection(
  url: string,
  work: (connection: NatsConnection) => Promise<void>,
): Promise<void> {
  const connection = await connect({ servers: url });
  try {
    await work(connection);
  } finally {
    await connection.close();
  }
}

async function publish(
  connection: NatsConnection,
  count: number,
  message: (index: number) => { subject: string; payload: Uint8Array },
): Promise<void> {
  const stream: JetStreamClient = connection.jetstream();
  const open: Promise<unknown>[] = [];
  for (let index = 0; index < count; index++) {
    const { subject, payload } = message(index);
    if (index % MESSAGES_PER_WINDOW !== MESSAGES_PER_WINDOW - 1 && index !== count - 1) {
      connection.publish(subject, payload);
      continue;
    }
    open.push(stream.publish(subject, payload));
    if (open.length >= MAX_OPEN_WINDOWS) await open.shift();
  }
  await Promise.all(open);
}
