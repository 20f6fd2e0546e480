import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { productionNotices } from "../src/production-notices.ts";
import { configOf } from "./support/read.ts";

type Json = { readonly [name: string]: Json } | string | number | boolean | null | readonly Json[];

const NATS = { CAIRN_NODE_ID: "n1", NATS_URL: "nats://127.0.0.1:4222" };
const CRUX = join(import.meta.dirname, "fixtures/crux.json");
const SHARED: Json = {
  "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log" },
  "cairn/index-store": { "kv-store": { checkpointer: "site/checkpointer" } },
  "site/checkpointer": { store: "site/store", "approx-frequency": "PT1H" },
  "site/store": { "cairn/module": "cairn.s3/->checkpoint-store", bucket: "example-checkpoints" },
};
const FOLDER = { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "/mnt/checkpoints" };
const TRIMMED: Json = {
  "cairn/tx-log": { trim: { keep: "P1D" } },
  "cairn/index-store": { "kv-store": { checkpointer: { store: FOLDER, "approx-frequency": "PT1H" } } },
};

let folder = "";
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "cairn-notices-"))));
afterAll(async () => await rm(folder, { recursive: true, force: true }));

/** Returns the notices for a file with this content. */
async function noticesOf(content: Json, env: Record<string, string>): Promise<readonly string[]> {
  const file = join(folder, "cairn.json");
  await writeFile(file, JSON.stringify(content));
  return productionNotices(await configOf({ file, env }));
}

type Parts = { [name: string]: Parts };

/** Writes what a notice says into a file, as an operator does. */
function followed(content: Json, notice: string): Json {
  const whole = structuredClone(content) as unknown as Parts;
  const [, written = "", part, key] = / Write (.*?) (?:in the ([a-z ]+).*|at (\S+))\.$/.exec(notice) ?? [];
  if (key !== undefined) return { ...(content as object), [key]: JSON.parse(written) as Json };
  if (part === "log") whole["cairn/tx-log"] ??= {};
  const kvStore = ((whole["cairn/index-store"] ??= {})["kv-store"] ??= {});
  const built = { store: FOLDER, "approx-frequency": "PT6H" } as unknown as Parts;
  const checkpointer = whole["site/checkpointer"] ?? (kvStore["checkpointer"] ??= built);
  const store = whole["site/store"] ?? checkpointer["store"];
  const parts = { log: whole["cairn/tx-log"], checkpointer, "checkpoint store": store };
  Object.assign(parts[part as keyof typeof parts] ?? {}, JSON.parse(`{${written}}`));
  return whole as Json;
}

describe("what a configuration lacks for production", () => {
  it.each<[string, Json, Record<string, string>, number]>([
    ["the built-in default", {}, { CAIRN_NODE_ID: "n1" }, 4],
    ["a log that NATS_URL selects", {}, NATS, 5],
    ["an index without checkpoints", { "cairn/index-store": {} }, NATS, 3],
    ["a module that the file shares", SHARED, { CAIRN_NODE_ID: "n1" }, 5],
    ["a trimmed log and a folder of one node", TRIMMED, { CAIRN_NODE_ID: "n1" }, 4],
    ["a trimmed log alone", { "cairn/tx-log": { trim: { keep: "P1D" } } }, { CAIRN_NODE_ID: "n1" }, 4],
  ])(
    "is named for %s, and each notice goes once its value is written",
    async (_what, content, env, count) => {
      const notices = await noticesOf(content, env);
      expect(notices).toHaveLength(count);
      for (const notice of notices)
        expect(await noticesOf(followed(content, notice), env)).not.toContain(notice);
      let all = content;
      // The checkpoints of an index that had none can only be verified, and the log trimmed, after this.
      for (let round = 0; round < 4; round += 1)
        for (const notice of await noticesOf(all, env)) all = followed(all, notice);
      expect(await noticesOf(all, env)).toEqual([]);
    },
  );

  it("is not among the notices that a node logs when it starts", async () => {
    const config = await configOf({ file: CRUX });
    for (const notice of productionNotices(config)) expect(config.notices).not.toContain(notice);
  });

  it("is nothing for a reader, which changes neither the log nor the store", async () => {
    const store = { "cairn/module": "cairn.s3/->checkpoint-store", bucket: "example", "read-only?": true };
    const reader = {
      "cairn/tx-log": { "cairn/module": "cairn.log-backup/->tx-log", store: "site/store" },
      "cairn/index-store": { "kv-store": { checkpointer: { "restore-from": ["site/store"] } } },
      "site/store": store,
    };
    expect(await noticesOf(reader, { CAIRN_NODE_ID: "n1" })).toEqual([]);
  });
});
