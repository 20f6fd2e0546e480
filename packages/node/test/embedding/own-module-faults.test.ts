import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CairnClientError } from "@cairn/client";
import { filesystemStore } from "@cairn/checkpoint";
import { type LogMessage, openEmbeddedTxLog, type TxLog } from "@cairn/engine";
import { type KvReader, type KvRow, type KvSnapshot, type KvStore, levelProvider } from "@cairn/kv";
import { wrapped } from "@cairn/text";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type CairnNode, startNode } from "../../src/index.ts";

/** The faults of the modules, which a test switches on in a running node. */
interface Faults {
  position?: (position: number) => unknown;
  read?: (messages: readonly LogMessage[]) => unknown;
  rows?: (rows: readonly KvRow[]) => readonly KvRow[];
  batch?: () => void;
  now?: () => unknown;
  text?: (text: string) => unknown;
}

let folder = "";
let faults: Faults = {};
const nodes: CairnNode[] = [];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-faults-"));
  faults = {};
});
afterEach(async () => {
  faults = {};
  await Promise.all(nodes.splice(0).map((node) => node.close()));
  await rm(folder, { recursive: true, force: true });
});

async function myLog(): Promise<TxLog> {
  const log = await openEmbeddedTxLog({ path: path.join(folder, "log") });
  return wrapped<TxLog>(log, {
    append: async (...args) => {
      const appended = await log.append(...args);
      return { ...appended, position: (faults.position?.(appended.position) ?? appended.position) as number };
    },
    async *read(...args) {
      for await (const messages of log.read(...args))
        yield (faults.read?.(messages) ?? messages) as readonly LogMessage[];
    },
  });
}

function rangeOf(reader: KvReader): KvReader["range"] {
  return async function* range(bounds) {
    for await (const rows of reader.range(bounds)) yield faults.rows?.(rows) ?? rows;
  };
}

function myKv() {
  const provider = levelProvider();
  const open = async (...args: Parameters<typeof provider.open>): Promise<KvStore> => {
    const store = await provider.open(...args);
    return wrapped<KvStore>(store, {
      range: rangeOf(store),
      snapshot: () => {
        const snapshot = store.snapshot();
        return wrapped<KvSnapshot>(snapshot, { range: rangeOf(snapshot) });
      },
      batch: async (...batch) => {
        faults.batch?.();
        await store.batch(...batch);
      },
    });
  };
  return wrapped<typeof provider>(provider, { open });
}

function myStore() {
  const store = filesystemStore({ path: path.join(folder, "checkpoints") });
  return wrapped<typeof store>(store, {
    now: async () => (faults.now === undefined ? await store.now() : faults.now()) as number,
    read: async (name) => {
      const found = await store.read(name);
      return found && { ...found, text: (faults.text?.(found.text) ?? found.text) as string };
    },
  });
}

async function start(id = "n1"): Promise<CairnNode> {
  const checkpointer = { "approx-frequency": "PT6H", store: { "cairn/module": myStore } };
  const config = {
    "cairn/node": { id, dir: folder },
    "cairn/tx-log": { "cairn/module": myLog },
    "cairn/index-store": {
      "kv-store": { "cairn/module": myKv, "db-dir": path.join(folder, id), checkpointer },
    },
    "cairn/http-server": null,
  };
  const node = await startNode(config, { env: {}, cwd: folder, logger: pino({ level: "silent" }) });
  nodes.push(node);
  return node;
}

const failureOf = async (call: Promise<unknown>): Promise<unknown> =>
  await call.then(() => undefined).catch((error: unknown) => error);

it("tells the writer that its transaction may be stored if the log returns no position", async () => {
  const node = await start();
  await node.ready;
  const bucket = node.client().bucket("jobs");
  await bucket.put("1", {});
  faults.position = String;
  const error = await failureOf(bucket.put("2", {}));
  expect(error).toBeInstanceOf(CairnClientError);
  expect(error).toMatchObject({
    code: "LOG_UNREACHABLE",
    message: expect.stringMatching(
      /^The log of myLog: append\(\) returned \{ position: '\d+', .*may have been stored/,
    ),
    hint: expect.stringMatching(/describeTxLog/),
  });
  faults = {};
  // It was.
  await vi.waitFor(async () => expect(await bucket.get("2")).toBeDefined(), { timeout: 20_000 });
  expect(node.phase).toBe("ready");
});

it("throws an error of the client whatever the log throws", async () => {
  const node = await start();
  await node.ready;
  faults.position = () => {
    throw undefined;
  };
  const error = await failureOf(node.client().bucket("jobs").put("1", {}));
  expect(error).toBeInstanceOf(CairnClientError);
  expect(error).toMatchObject({ code: "LOG_UNREACHABLE", message: /append\(\) threw undefined/ });
});

it("reads no message twice or in a wrong order, says which module is at fault, and goes on once it is right", async () => {
  const node = await start();
  await node.ready;
  const bucket = node.client().bucket("jobs");
  faults.read = (messages) => messages.flatMap((message) => [message, message]);
  const { txId } = await node.submit({ ops: [["put", "jobs", "default/1", {}]] });
  await vi.waitFor(async () => {
    const { log } = await node.status();
    expect(log.warnings).toContainEqual(
      expect.objectContaining({ message: expect.stringMatching(/^The log of myLog: read\(\) yielded/) }),
    );
  }, 10_000);
  faults = {};
  expect(await node.await(txId)).toMatchObject({ committed: true });
  expect(await bucket.get("1")).toBeDefined();
});

it("serves no list whose rows are in a wrong order", async () => {
  const node = await start();
  await node.ready;
  const bucket = node.client().bucket("jobs");
  await node.submit({ ops: Array.from({ length: 9 }, (_, n) => ["put", "jobs", `default/${n}`, {}]) });
  await bucket.put("last", {});
  faults.rows = (rows) => rows.toReversed();
  const error = await failureOf(bucket.list({}).next());
  expect(error).toBeInstanceOf(CairnClientError);
  expect(error).toMatchObject({
    code: "SYSTEM_REFUSED",
    message: /^The key-value store of myKv: range\(\) yielded/,
  });
});

it("opens its index again if a batch fails for a reason that is not Cairn's, and loses nothing", async () => {
  const node = await start();
  await node.ready;
  let isFailing = true;
  faults.batch = () => {
    if (isFailing) throw undefined;
  };
  const { txId } = await node.submit({ ops: [["put", "jobs", "default/1", {}]] });
  await vi.waitFor(() => expect(node.phase).toBe("failed"), 10_000);
  expect((await node.status()).failure).toMatchObject({
    code: "SYSTEM_REFUSED",
    message: expect.stringMatching(/^The key-value store of myKv: batch\(\) threw undefined\./),
  });
  isFailing = false;
  await vi.waitFor(() => expect(node.phase).toBe("ready"), 20_000);
  expect(await node.await(txId)).toMatchObject({ committed: true });
});

it(
  "does not halt if what it joins from breaks its contract, and joins once it is right",
  { tags: "rest/slow" },
  async () => {
    const first = await start();
    await first.ready;
    await first.client().bucket("jobs").put("1", {});
    await (
      await first.checkpoint()
    ).done;
    await first.close();
    faults.text = Buffer.from;
    const second = await start("n2");
    await vi.waitFor(async () => {
      const { failure } = await second.status();
      expect(failure?.message ?? "").toMatch(/^The checkpoint store of myStore: read\(\) returned/);
    }, 10_000);
    // Without a clock, it reserves nothing in the store, but restores.
    faults = { now: () => Number.NaN };
    await second.ready;
    expect((await second.status()).join).toMatchObject({ restoredFrom: { txId: 2 }, replayed: 0 });
    expect(await second.client().bucket("jobs").get("1")).toBeDefined();
  },
);
