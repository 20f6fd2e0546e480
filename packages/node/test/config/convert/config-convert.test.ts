import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { cairn, CapturedTerminal, type CommandResult } from "../../cli/support/captured-terminal.ts";
import { XTDB_EXAMPLES } from "../support/mistakes.ts";

const SEEDS = ["crux.edn", "crux.clj.edn", "crux.json"];
/** The values of the variables that the notes require. */
const SET = { NATS_URL: "nats://10.0.0.7:4222", CAIRN_CHECKPOINT_PATH: "/mnt/checkpoints" };

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-convert-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function config(argv: readonly string[], env: Record<string, string> = {}): Promise<CommandResult> {
  return cairn(
    ["config", ...argv],
    new CapturedTerminal({ cwd: folder, env: { CAIRN_NODE_ID: "n", ...env } }),
  );
}

/** Converts a file's content, and writes the output to `cairn.LANGUAGE`. Returns the command's result. */
async function convert(text: string, from: string, to = from): Promise<CommandResult> {
  await writeFile(path.join(folder, `older.${from}`), text);
  const result = await config(["convert", `older.${from}`, ...(from === to ? [] : ["--to", to])]);
  expect(result.code).toBe(0);
  await writeFile(path.join(folder, `cairn.${to}`), result.stdout);
  return result;
}

async function values(file: string, env: Record<string, string> = {}): Promise<unknown> {
  const { code, stdout, stderr } = await config(["print", "--json", "-f", file], env);
  expect([code, stderr]).toEqual([0, ""]);
  return (JSON.parse(stdout) as { values: unknown }).values;
}

const EXAMPLES = XTDB_EXAMPLES.flatMap(({ title, input, told }) => {
  const [from, text] = "edn" in input ? (["edn", input.edn] as const) : (["json", input.json] as const);
  return (["edn", "json"] as const).map((to) => ({ title, from, to, text, told }));
});

describe("the output of cairn config convert", () => {
  test.each(EXAMPLES)(
    "for XTDB, $title ($from to $to), is accepted by config check",
    async ({ from, to, text, told }) => {
      await convert(text, from, to);
      const checked = await config(["check", "-f", `cairn.${to}`], SET);
      expect(checked).toMatchObject({ code: 0, stderr: "" });
      // No older name remains except in the comments about it.
      const plain = (await readFile(path.join(folder, `cairn.${to}`), "utf8")).replaceAll(/^\s*;;.*$/gm, "");
      expect(plain).not.toMatch(/crux|xtdb/);
      if (told === "") expect(await values(`cairn.${to}`)).toEqual(await values(`older.${from}`));
    },
  );

  test.each(SEEDS.flatMap((seed) => ["edn", "json"].map((to) => [seed, to] as const)))(
    "of the seed %s in %s means the same",
    async (seed, to) => {
      const text = await readFile(path.join(import.meta.dirname, "..", "fixtures", seed), "utf8");
      const from = path.extname(seed).slice(1);
      await convert(text, from, to);
      expect(await config(["check", "-f", `cairn.${to}`])).toMatchObject({ code: 0, stdout: "ok\n" });
      expect(await values(`cairn.${to}`)).toEqual(await values(`older.${from}`));
    },
  );
});

const CLUSTER = `{:xtdb.kafka/kafka-config {:bootstrap-servers "k:9092"}
 :xtdb/tx-log {:xtdb/module 'xtdb.kafka/->tx-log :kafka-config :xtdb.kafka/kafka-config :tx-topic-opts {:topic-name "t"}}
 :xtdb/document-store {:xtdb/module 'xtdb.jdbc/->document-store :connection-pool {:db-spec {:password "hunter2"}}}
 :xtdb/index-store {:kv-store {:xtdb/module 'xtdb.rocksdb/->kv-store :db-dir (io/file "/var/lib/index") :sync? true
                               :checkpointer {:xtdb/module 'xtdb.checkpoint/->checkpointer
                                              :store {:xtdb/module 'xtdb.s3.checkpoint/->cp-store :bucket "b-1" :configurator (fn [_] (reify C (f [this] {x 1})))}
                                              :approx-frequency (Duration/ofHours 6)
                                              :retention-policy {:retain-newer-than "PT7D" :retain-at-least 5}}}}
 :xtdb.http-server/server {:port "\${PORT:-3001}" :jwks "{}"}}`;

test("the whole file of a cluster is converted, with a comment at each relevant position", async () => {
  const { stdout } = await convert(CLUSTER, "edn");
  const expected = await readFile(
    path.join(import.meta.dirname, "..", "fixtures", "converted-cluster.edn"),
    "utf8",
  );
  expect(stdout).toBe(expected);
  expect(stdout).not.toContain("hunter2");
});

test.each([
  ['(io/file "/a" "b" "c/d")', ':db-dir "/a/b/c/d"'],
  ['(io/file "/a/" "b")', ':db-dir "/a/b"'],
  ['(io/file (System/getenv "HOME") "x")', undefined],
  ['(io/file "/a" (System/getenv "NAME"))', undefined],
  ['(io/file "a" {:b 1})', undefined],
  ['(io/file "/a" "/b")', undefined],
])(
  "the path %s is converted to the file that it names, or removed with a comment",
  async (code, expected) => {
    const { stdout } = await convert(`{:xtdb/index-store {:kv-store {:db-dir ${code}}}}`, "edn");
    if (expected !== undefined) expect(stdout).toContain(expected);
    else expect(stdout).toMatch(/;; \(io\/file …\) is code, which Cairn does not run/);
    expect(stdout.match(/:db-dir "/g) ?? []).toHaveLength(expected === undefined ? 0 : 1);
  },
);

test("the log of a cluster never becomes an embedded one: until NATS_URL is set, the check fails", async () => {
  for (const module of ["xtdb.kafka/->tx-log", "xtdb.jdbc/->tx-log", "crux.kafka/->ingest-only-tx-log"]) {
    for (const log of [`{:xtdb/module ${module}}`, `'${module}`, ":mine"]) {
      await convert(
        `{:xtdb/tx-log ${log} :mine {:xtdb/module ${module}}}`.replace(
          / :mine \{.*\}\}$/,
          log === ":mine" ? "$&" : "}",
        ),
        "edn",
      );
      const unset = await config(["check", "-f", "cairn.edn"]);
      expect([unset.code, unset.stderr]).toEqual([2, expect.stringContaining("NATS_URL is not set")]);
      expect(JSON.stringify(await values("cairn.edn", SET))).toContain("cairn.nats/->tx-log");
    }
  }
});

test("the log that a comment offers works once it is uncommented", async () => {
  for (const text of ["{:xtdb/index-store {}}", "{:xtdb/tx-log {:xtdb/module xtdb.kv.tx-log/->tx-log}}"]) {
    const { stdout } = await convert(text, "edn");
    const [, offered = ""] = /^ *;; (:cairn\/tx-log .*)$/m.exec(stdout) ?? [];
    expect(offered).not.toBe("");
    const written = stdout.replaceAll(/^ *:cairn\/tx-log .*$/gm, "").replace(`;; ${offered}`, offered);
    await writeFile(path.join(folder, "cairn.edn"), written);
    expect(JSON.stringify(await values("cairn.edn", SET))).toContain("cairn.nats/->tx-log");
  }
});

test("comments on JSON, which cannot contain them, are written to standard error, each with its position", async () => {
  const { stdout, stderr } = await convert(
    '{"xtdb/document-store": {},\n "xtdb/tx-log": {"xtdb/module": "xtdb.kafka/->tx-log"}}',
    "json",
  );
  expect(JSON.parse(stdout)).toEqual({
    "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: "${NATS_URL}" },
  });
  expect(stderr).toMatch(/^note: Only the configuration is converted, not the data\. /);
  expect(stderr).toContain(
    "note: older.json:1:2 cairn/document-store: document-store was removed. Cairn has no document store.",
  );
  expect(stderr).toContain("note: older.json:2:2 cairn/tx-log: xtdb.kafka/->tx-log has no counterpart: ");
  const { stdout: json } = await config(["convert", "older.json", "--json"]);
  expect(JSON.parse(json)).toMatchObject({
    language: "json",
    text: stdout.trimEnd(),
    notes: expect.any(Array),
  });
});

test("docs/configuration.md shows what the commands print", async () => {
  const page = await readFile(path.join(import.meta.dirname, "../../../../../docs/configuration.md"), "utf8");
  const [, refused = ""] =
    /^\$ cairn config check -f xtdb\.edn\n([^$]+)^\$ cairn config convert xtdb\.edn/m.exec(page) ?? [];
  await writeFile(path.join(folder, "xtdb.edn"), "{:xtdb/tx-log {:xtdb/module xtdb.kafka/->tx-log}}");
  expect((await config(["check", "-f", "xtdb.edn"])).stderr).toBe(refused);
  const { stdout } = await config(["convert", "xtdb.edn"]);
  await writeFile(path.join(folder, "cairn.edn"), stdout);
  expect(await config(["check", "-f", "cairn.edn"], SET)).toMatchObject({ stdout: "ok\n" });
});

test("an unreadable file has the same problems as in config check", async () => {
  await writeFile(path.join(folder, "older.edn"), "{:xtdb/tx-log");
  const { code, stdout, stderr } = await config(["convert", "older.edn"]);
  expect([code, stdout, stderr]).toEqual([
    2,
    "",
    expect.stringMatching(/^older\.edn:1:1\n {2}CONFIG_SYNTAX: /),
  ]);
  expect(await config(["convert", "nowhere.edn"])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("CONFIG_NOT_FOUND"),
  });
});

test("a Cairn file keeps its meaning and all its strings", async () => {
  const text = String.raw`{"cairn/node": {"id": "n", "dir": "a \"b\" \\c\n${"$"}{HOME:-x}"}, "site/store": {"cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", "path": "/p"},
    "cairn/index-store": {"kv-store": {"scrub-every": "never", "checkpointer": {"approx-frequency": 1000, "store": "site/store", "restore-from": ["site/store"]}}}, "cairn/http-server": null}`;
  await convert(text, "json", "edn");
  expect(await values("cairn.edn")).toEqual(await values("older.json"));
});

describe("the hint for a refused value of an older system", () => {
  const HINT =
    /\n\nhint: Convert the file to Cairn's format with cairn (config convert (\S+)), which adds a comment on everything that has no counterpart\.\n$/;

  test.each([
    ["a module", "{:xtdb/tx-log {:xtdb/module xtdb.kafka/->tx-log}}"],
    ["a parameter", "{:xtdb/index-store {:kv-store {:xtdb/module xtdb.rocksdb/->kv-store :sync? true}}}"],
    ["a top-level key", "{:xtdb/document-store {}}"],
    ["a file", '{:xtdb/index-store {:kv-store {:db-dir (io/file "/d")}}}'],
    ["custom code", '{:xtdb/tx-log (my-log "x")}'],
    ["a quoted list", "{:xtdb/query-engine {:fn-allow-list '[a/b]}}"],
    ["a backquote", "{:xtdb/tx-log {:xtdb/module `xtdb.kafka/->tx-log}}"],
  ])("%s: leads to a file that is accepted", async (_what, text) => {
    await writeFile(path.join(folder, "older.edn"), text);
    for (const argv of [["config", "check"], ["start"], ["log", "status"]]) {
      const terminal = new CapturedTerminal({ cwd: folder });
      const { code, stderr } = await cairn([...argv, "-f", "older.edn"], terminal);
      expect([code, stderr]).toEqual([2, expect.stringMatching(HINT)]);
      const [, command = ""] = HINT.exec(stderr) ?? [];
      const { stdout } = await cairn(command.split(" "), new CapturedTerminal({ cwd: folder }));
      await writeFile(path.join(folder, "cairn.edn"), stdout);
      expect(await config(["check", "-f", "cairn.edn"], SET)).toMatchObject({ code: 0 });
    }
  });

  test("is absent if nothing is from an older system, or there is no file", async () => {
    await writeFile(
      path.join(folder, "wrong.edn"),
      '{:cairn/http-server {:port "x" :prot 1} :cairn/nothing {}}',
    );
    for (const argv of [
      ["-f", "wrong.edn"],
      ["-e", "{:xtdb/document-store {}}"],
    ]) {
      const { code, stderr } = await config(["check", ...argv]);
      expect([code, stderr]).toEqual([2, expect.not.stringContaining("config convert")]);
    }
  });

  test("quotes the name of a file for a shell", async () => {
    await writeFile(path.join(folder, "my file's.edn"), "{:xtdb/document-store {}}");
    const { stderr } = await config(["check", "-f", "my file's.edn"]);
    expect(stderr).toContain(String.raw`with cairn config convert 'my file'\''s.edn', which`);
  });
});
