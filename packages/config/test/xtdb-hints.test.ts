import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import type { ConfigProblem } from "../src/source/problems.ts";
import { TOP_LEVEL_ALIASES } from "../src/modules/aliases.ts";
import { normalizeName } from "../src/source/config-tree.ts";
import { XTDB_EXAMPLES } from "./support/mistakes.ts";

type Config = Record<string, unknown>;

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-xtdb-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function command(...argv: string[]): Promise<CommandResult> {
  const env = { CAIRN_NODE_ID: "n", CAIRN_CHECKPOINT_PATH: "/mnt/checkpoints", PORT: "3001" };
  return cairn(argv, new CapturedTerminal({ cwd: folder, env }));
}

async function problemsOf(config: Config): Promise<readonly ConfigProblem[]> {
  await writeFile(path.join(folder, "xtdb.json"), JSON.stringify(config));
  const { code, stderr } = await command("config", "check", "-f", "xtdb.json", "--json");
  if (code === 0) return [];
  const { problems } = JSON.parse(stderr) as { problems: ConfigProblem[] };
  return problems;
}

/** Does what the hint of a problem says. Throws if the hint says nothing that can be done. */
function follow(config: Config, { path: names, message, hint = "" }: ConfigProblem): void {
  let map = config;
  for (const name of names.slice(0, -1)) map = map[keyOf(map, name)] as Config;
  const key = keyOf(map, names.at(-1) ?? "");
  const [, module] = /^Use (\S+?),? /.exec(hint) ?? [];
  const [, written] = /^Write ("cairn\/.*})\.$/.exec(hint) ?? [];
  const [, meant] = /^Did you mean (P\S+)\?/.exec(hint) ?? [];
  if (/^Remove it\b/.test(hint)) delete map[key];
  else if (module !== undefined) map[key] = module;
  else if (meant !== undefined) map[key] = meant;
  else if (written !== undefined) {
    delete map[key];
    Object.assign(map, JSON.parse(`{${written}}`));
  } else throw new Error(`${message} ${hint}`);
}

function keyOf(map: Config, name: string): string {
  return Object.keys(map).find((key) => (TOP_LEVEL_ALIASES.get(key) ?? normalizeName(key)) === name) ?? name;
}

const CLUSTER = {
  "xtdb.kafka/kafka-config": { "bootstrap-servers": "k:9092" },
  "xtdb/tx-log": {
    "xtdb/module": "xtdb.kafka/->tx-log",
    "kafka-config": "xtdb.kafka/kafka-config",
    "tx-topic-opts": { "topic-name": "t" },
  },
  "xtdb/document-store": {
    "xtdb/module": "xtdb.jdbc/->document-store",
    "connection-pool": { "db-spec": { password: "hunter2" } },
  },
  "xtdb/index-store": {
    "kv-store": {
      "xtdb/module": "xtdb.rocksdb/->kv-store",
      "db-dir": "/var/lib/index",
      "sync?": true,
      checkpointer: {
        "xtdb/module": "xtdb.checkpoint/->checkpointer",
        store: { "xtdb/module": "xtdb.azure.blobs/->cp-store", "storage-account": "a", container: "c" },
        "approx-frequency": "PT6H",
        "retention-policy": { "retain-newer-than": "PT7D", "retain-at-least": 5 },
      },
    },
  },
  "xtdb.http-server/server": { port: "${PORT:-3001}", jwks: "{}" },
};

const EXAMPLES = XTDB_EXAMPLES.flatMap(({ title, input }): [string, Config][] =>
  "json" in input ? [[title, JSON.parse(input.json) as Config]] : [],
);

describe("the hints of config check lead from a configuration of XTDB to one that is accepted", () => {
  test.each<[string, Config]>([["a whole cluster", CLUSTER], ...EXAMPLES])("%s", async (_title, given) => {
    const config = structuredClone(given);
    for (let round = 0; round < 20; round += 1) {
      const [problem] = await problemsOf(config);
      if (problem === undefined) break;
      follow(config, problem);
    }
    expect(await command("config", "check", "-f", "xtdb.json")).toMatchObject({ code: 0 });
    const { stdout } = await command("config", "print", "--json", "-f", "xtdb.json");
    if (JSON.stringify(given).includes("Kafka")) expect(stdout).toContain("cairn.nats/->tx-log");
    expect(stdout).not.toContain("hunter2");
  });
});

test("no value that is not understood is replaced by a default: every problem ends the start", async () => {
  await writeFile(path.join(folder, "xtdb.json"), JSON.stringify(CLUSTER));
  const { code, stderr } = await command("start", "-f", "xtdb.json");
  expect(code).toBe(2);
  for (const part of ["kafka-config", "document-store", "cp-store", "sync?", "jwks"])
    expect(stderr).toContain(part);
  expect(stderr).not.toContain("hunter2");
});

test("a file in YAML, as XTDB 2 has it, is refused with the language to use", async () => {
  await writeFile(path.join(folder, "xtdb.yaml"), "log: !Kafka\n  bootstrapServers: k:9092\n");
  const { code, stderr } = await command("config", "check", "-f", "xtdb.yaml");
  expect([code, stderr]).toEqual([2, expect.stringContaining("Write the configuration in JSON")]);
});

test("docs/configuration.md shows what config check prints", async () => {
  const page = await readFile(path.join(import.meta.dirname, "../../../docs/configuration.md"), "utf8");
  const [, refused = ""] = /^\$ cairn config check -f xtdb\.edn\n([^$]+)^\$ sed/m.exec(page) ?? [];
  const text = "{:xtdb/tx-log {:xtdb/module xtdb.kafka/->tx-log}}";
  await writeFile(path.join(folder, "xtdb.edn"), text);
  expect((await command("config", "check", "-f", "xtdb.edn")).stderr).toBe(refused);
  await writeFile(path.join(folder, "xtdb.edn"), text.replace("xtdb.kafka", "cairn.nats"));
  expect((await command("config", "check", "-f", "xtdb.edn")).stdout).toMatch(/^ok$/m);
});
