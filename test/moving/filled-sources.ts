import { startNatsServer } from "@cairn/log-nats/testing";
import { connect } from "nats";
import { type SourceServer, startEtcd } from "@cairn/test-support/source-servers";

/** The documents that an import is expected to produce, as JSON by name. */
export type Expected = Map<string, string>;

/** A store with keys, and what an import of it must produce. */
export interface FilledSource {
  /** The words of the command after `cairn import`. */
  readonly command: readonly string[];
  readonly bucket: string;
  readonly expected: Expected;
  /** Changes a value in the source. */
  change(name: string, value: string): Promise<void>;
  close(): Promise<void>;
}

/** Makes requests so large that an import of some thousand keys takes several. */
const PADDING = "x".repeat(1_000);
const BINARY = Buffer.from([0xff, 0xfe, 0x00]);

/** Returns the value of the key with a number, and the document for it: some are JSON, some text, some binary. */
function valueOf(n: number): { value: Buffer; json: string } {
  if (n % 10 === 1) {
    const text = `text ${n} ${PADDING}`;
    return { value: Buffer.from(text), json: JSON.stringify({ text }) };
  }
  if (n % 10 === 2) {
    const value = Buffer.concat([BINARY, Buffer.from(`${n}${PADDING}`)]);
    return { value, json: JSON.stringify({ base64: value.toString("base64") }) };
  }
  const json = JSON.stringify({ n, padding: PADDING });
  return { value: Buffer.from(json), json };
}

function nameOf(n: number): string {
  return `group-${n % 7}/key-${n}`;
}

const BATCH = 100;

/** Starts etcd and fills it. */
export async function filledEtcd(keys: number): Promise<FilledSource> {
  const server = await startEtcd();
  const expected: Expected = new Map();
  const commit = async (success: object[]): Promise<void> => {
    const response = await fetch(`${server.url}/v3/kv/txn`, {
      method: "POST",
      body: JSON.stringify({ success }),
    });
    if (!response.ok) throw new Error(await response.text());
  };
  await waitForEtcd(server);
  for (let from = 0; from < keys; from += BATCH) {
    await commit(
      numbers(from, Math.min(keys, from + BATCH)).map((n) => {
        const { value, json } = valueOf(n);
        expected.set(nameOf(n), json);
        return etcdPut(nameOf(n), value);
      }),
    );
  }
  return {
    command: ["etcd", server.url],
    bucket: "etcd",
    expected,
    change: (name, value) => commit([etcdPut(name, Buffer.from(value))]),
    close: server.close,
  };
}

function etcdPut(name: string, value: Buffer): object {
  return { request_put: { key: Buffer.from(name).toString("base64"), value: value.toString("base64") } };
}

/** Waits until the member has a leader. It listens before that. */
async function waitForEtcd({ url }: SourceServer): Promise<void> {
  for (;;) {
    const response = await fetch(`${url}/health`);
    if (response.ok && ((await response.json()) as { health: unknown }).health === "true") return;
  }
}

/** Starts NATS and fills a key-value bucket, in which some keys were replaced and some removed. */
export async function filledNatsKv(keys: number): Promise<FilledSource> {
  const server = await startNatsServer();
  const connection = await connect({ servers: server.url });
  const kv = await connection.jetstream().views.kv("settings", { history: 2 });
  const expected: Expected = new Map();
  for (let from = 0; from < keys; from += BATCH) {
    await Promise.all(
      numbers(from, Math.min(keys, from + BATCH)).map(async (n) => {
        const { value, json } = valueOf(n);
        expected.set(nameOf(n), json);
        if (n % 10 === 5) await kv.put(nameOf(n), "an earlier value");
        await kv.put(nameOf(n), value);
        if (n % 10 === 6) await kv.put(`removed/${n}`, value);
        if (n % 20 === 6) await kv.delete(`removed/${n}`);
        else if (n % 20 === 16) await kv.purge(`removed/${n}`);
      }),
    );
  }
  return {
    command: ["nats-kv", server.url, "settings"],
    bucket: "settings",
    expected,
    change: async (name, value) => void (await kv.put(name, value)),
    close: async () => {
      await connection.close();
      await server.close();
    },
  };
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, at) => from + at);
}
