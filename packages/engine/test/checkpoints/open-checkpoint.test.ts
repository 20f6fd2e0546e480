import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { type CheckpointStore, encryptedStore, type StoredRanges } from "@cairn/checkpoint";
import { encryptionWith, newIdentity } from "@cairn/checkpoint/testing";
import type { CairnClient, TxOperation } from "@cairn/client";
import { isCairnError } from "@cairn/kv";
import { checkpointScene, type CheckpointScene } from "@cairn/test-support/nodes/saved-checkpoint";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";
import { expect, it, vi } from "vitest";
import { openCheckpoint } from "../../src/node/open-checkpoint.ts";
import type { CairnNode } from "../../src/node/node.ts";

const KEYS = Array.from({ length: 400 }, (_, at) => `ns-${at % 7}/pod-${String(at).padStart(4, "0")}`);

/** Writes documents of all sizes, several versions of some, deletions, an indexed field, events and another bucket. */
async function fill(node: CairnNode): Promise<void> {
  await node.ready;
  const client = node.client();
  await client.setPolicies({ indexes: { pods: ["state"] } });
  await client.recordEvent({ reason: "Started", object: "ns-0/pod-0000", bucket: "pods" });
  for (let round = 0; round < 4; round += 1) {
    const ops: TxOperation[] = KEYS.filter((_, at) => at % (round + 1) === 0).map((key, at) =>
      (at + round) % 11 === 10
        ? ["delete", "pods", key]
        : [
            "put",
            "pods",
            key,
            { state: at % 3 === 0 ? "running" : "done", round, text: "x".repeat((at * 37) % 900) },
          ],
    );
    for (let at = 0; at < ops.length; at += 60) await client.transact({ ops: ops.slice(at, at + 60) });
  }
  await client.transact({ ops: [["put", "other", "default/a", 1]] });
  await vi.waitFor(async () => await client.page("pods", { where: "state:running" }));
}

async function all(pages: AsyncIterable<unknown>): Promise<unknown[]> {
  const list: unknown[] = [];
  for await (const one of pages) list.push(one);
  return list;
}

/** Returns what a client reads in all ways, with the codes of errors. */
async function answers(client: CairnClient, last: number): Promise<unknown[]> {
  const found: unknown[] = [];
  const ask = async (work: () => Promise<unknown>): Promise<void> =>
    void found.push(await work().catch((error: unknown) => (error as { code?: string }).code ?? error));
  for (const key of [...KEYS.slice(0, 60), "ns-0/absent"]) {
    await ask(() => client.get("pods", key));
    await ask(() => client.get("pods", key, { asOf: 8 }));
    await ask(async () => await all(client.history("pods", key)));
  }
  const past = [undefined, 1, 5, 9, last];
  for (const asOf of past) {
    await ask(
      async () => await all(client.list("pods", { ...(asOf === undefined ? {} : { asOf }), pageSize: 37 })),
    );
    await ask(
      async () =>
        await all(client.list("pods", { ...(asOf === undefined ? {} : { asOf }), namespace: "ns-3" })),
    );
  }
  await ask(async () => await all(client.list("pods", { namespace: "ns-2", prefix: "pod-01" })));
  await ask(async () => await all(client.list("pods", { from: "ns-1/pod-0100", to: "ns-3/pod-0200" })));
  await ask(async () => await all(client.list("pods", { where: "state:running" })));
  await ask(async () => await all(client.list("pods", { order: "-state" })));
  await ask(() => client.page("pods", { pageSize: 10 }));
  for (let tx = 1; tx <= last; tx += 3) await ask(() => client.await(tx));
  await ask(() => client.events());
  await ask(() => client.buckets());
  await ask(() => client.policies());
  await ask(() => client.digest());
  return found;
}

const stores: Record<
  string,
  (store: CheckpointStore, folder: string) => CheckpointStore | Promise<CheckpointStore>
> = {
  "in a folder": (store) => store,
  "in a folder, encrypted": async (store, folder) =>
    encryptedStore(store, await encryptionWith(folder, [newIdentity()])),
};

it.each(Object.entries(stores))(
  "a checkpoint %s answers as the node that saved it",
  { tags: "rest/slow" },
  async (_, wrap) => {
    const scene = await checkpointScene(wrap);
    const node = await scene.start("a");
    await fill(node);
    const { txId } = await node.digest();
    const name = await saveCheckpoint(node);
    const expected = await answers(node.client(), txId);
    // What follows is not in the checkpoint.
    await node.client().transact({ ops: [["put", "pods", "ns-0/pod-0000", "later"]] });
    const opened = await openCheckpoint({ store: scene.store });
    expect(opened).toMatchObject({ name, txId, store: scene.store.location });
    expect(await answers(opened.client, txId)).toEqual(expected);
    await opened.close();
  },
);

async function saved(): Promise<CheckpointScene & { readonly name: string; readonly txId: number }> {
  const scene = await checkpointScene();
  const node = await scene.start("a");
  await fill(node);
  const name = await saveCheckpoint(node);
  const { txId } = await node.digest();
  await node.close();
  return { ...scene, name, txId };
}

it("a checkpoint refuses writes, watches, and reads of what is after it", async () => {
  const { store, txId } = await saved();
  const { client, txTime, close } = await openCheckpoint({ store });
  const refused = { code: "LOG_READ_ONLY", hint: expect.stringContaining("node") as string };
  await expect(client.put("pods", "ns-0/new", 1)).rejects.toMatchObject(refused);
  await expect(client.get("pods", "ns-0/pod-0000", { minTx: txId + 1 })).rejects.toMatchObject(refused);
  await expect(client.get("pods", "ns-0/pod-0000", { asOf: txId + 1 })).rejects.toMatchObject(refused);
  const later = new Date(Date.parse(txTime) + 1).toISOString();
  await expect(client.get("pods", "ns-0/pod-0000", { asOf: later })).rejects.toMatchObject(refused);
  await expect(client.get("pods", "ns-0/pod-0000", { linearizable: true })).rejects.toMatchObject(refused);
  await expect(
    (async () => {
      for await (const _ of client.watch()) break;
    })(),
  ).rejects.toMatchObject(refused);
  await close();
  await expect(client.get("pods", "ns-0/pod-0000")).rejects.toMatchObject({
    code: "LOG_READ_ONLY",
    message: expect.stringContaining("was closed") as string,
  });
});

it("a director on a checkpoint ends, because nothing can be written", async () => {
  const { store, start } = await checkpointScene();
  const node = await start("saver");
  const queue = { shards: 1, cap: 5, terminal: { state: ["done"] }, lease: "PT1M" };
  await node.ready;
  await node.client().setPolicies({ queues: { tasks: queue } });
  await node.client().enqueue("tasks", "a", {});
  await saveCheckpoint(node);
  const { client, close } = await openCheckpoint({ store });
  const errors: unknown[] = [];
  const director = client.direct("tasks", {
    handle: () => undefined,
    onError: (error) => errors.push(error),
  });
  await expect(director.done).rejects.toMatchObject({ code: "LOG_READ_ONLY" });
  expect(errors).toMatchObject([{ code: "LOG_READ_ONLY" }]);
  await close();
});

it("a checkpoint that is not there, is compressed, or is in a store without ranges is refused with the reason", async () => {
  const { store, start, system, name } = await saved();
  const absent = name.replace(/-[0-9a-f]{8}$/, "-00000000");
  await expect(openCheckpoint({ store, name: absent })).rejects.toMatchObject({
    code: "CHECKPOINT_NOT_FOUND",
  });
  const whole: CheckpointStore = new Proxy(store, {
    get: (_, member) => (member === "openRanges" ? undefined : Reflect.get(store, member)),
  });
  await expect(openCheckpoint({ store: whole })).rejects.toMatchObject({
    code: "REQUEST_INVALID",
    message: expect.stringContaining("its store cannot read parts of files") as string,
  });
  const node = await start(system("b", { compression: "gzip" }));
  await node.ready;
  await node.client().put("pods", "ns-0/new", 1);
  const compressed = await saveCheckpoint(node);
  await expect(openCheckpoint({ store, name: compressed })).rejects.toMatchObject({
    code: "REQUEST_INVALID",
    message: expect.stringContaining("its archive is compressed") as string,
  });
});

it("options that are not right are refused, also in programs without types", async () => {
  const { store } = await checkpointScene();
  for (const options of [{}, { store: null }, { store: {} }, { store, checkpoint: "a" }])
    await expect(openCheckpoint(options as Parameters<typeof openCheckpoint>[0])).rejects.toMatchObject({
      code: "REQUEST_INVALID",
      hint: expect.stringContaining("openCheckpoint({ store") as string,
    });
});

it(
  "a changed byte anywhere in the archive is refused, or changes no answer",
  { tags: "rest/slow" },
  async () => {
    const { folder, store, name, txId } = await saved();
    const read = async (): Promise<unknown[]> => {
      const opened = await openCheckpoint({ store, name });
      try {
        const found = await all(opened.client.list("pods"));
        for (const key of KEYS.slice(0, 20))
          found.push(await opened.client.get("pods", key, { asOf: txId - 3 }));
        return found;
      } finally {
        await opened.close();
      }
    };
    const expected = await read();
    const archive = path.join(folder, "checkpoints", `${name}.tar`);
    const bytes = await readFile(archive);
    let refused = 0;
    for (let at = 0; at < bytes.length; at += Math.ceil(bytes.length / 400)) {
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
      await writeFile(archive, bytes);
      try {
        expect(await read()).toEqual(expected);
      } catch (error) {
        if (
          !isCairnError(error, "CHECKPOINT_CORRUPT") &&
          (error as { code?: string }).code !== "CHECKPOINT_CORRUPT"
        )
          throw error;
        refused += 1;
      }
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
    }
    expect(refused).toBeGreaterThan(100);
  },
);

it("a checkpoint that is removed while it is open says so, and what was read before stays right", async () => {
  const { store, name } = await saved();
  let isRemoved = false;
  const removable: CheckpointStore = {
    ...store,
    openRanges: async (file): Promise<StoredRanges> => {
      const ranges = await store.openRanges?.(file);
      if (ranges === undefined) throw new Error("The store has no ranges.");
      return {
        // A folder keeps a removed file as long as it is open, which other stores do not.
        read: async (start, end, signal) => {
          if (isRemoved) await store.openRanges?.(file);
          return await ranges.read(start, end, signal);
        },
        close: () => ranges.close(),
      };
    },
  };
  const { client, close } = await openCheckpoint({ store: removable, name });
  const before = await client.get("pods", "ns-0/pod-0000");
  isRemoved = true;
  await store.remove(`${name}.tar`);
  expect(await client.get("pods", "ns-0/pod-0000")).toEqual(before);
  await expect(client.digest()).rejects.toMatchObject({ code: "CHECKPOINT_NOT_FOUND" });
  await close();
});
