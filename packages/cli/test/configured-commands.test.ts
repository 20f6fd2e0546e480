import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { once } from "node:events";
import { Command } from "commander";
import { describe, expect, it, onTestFinished } from "vitest";
import { loadCommands } from "../src/run-cli.ts";
import { startNode } from "@cairn/node";
import { serve, type ServedNode } from "@cairn/test-support/nodes/served-node";
import { cairn, CapturedTerminal, type CommandResult } from "@cairn/test-support/nodes/captured-terminal";
import { saveTo } from "@cairn/test-support/stores/saved-checkpoints";
import { servedBucket } from "./support/served-bucket.ts";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

interface Leaf {
  readonly path: readonly string[];
  readonly command: Command;
}

/** Commands that need neither a node, nor a log, nor a store. */
const WITHOUT = ["config schema", "completion", "version"];
/** Commands that read the store of a configuration, if there is one, and need no node. */
const IN_THE_STORE = ["checkpoint list", "checkpoint show", "checkpoint verify", "log backup status"];

function leaves(command: Command, at: readonly string[] = []): Leaf[] {
  if (command.commands.length === 0) return [{ path: at, command }];
  return command.commands.flatMap((child) => leaves(child, [...at, child.name()]));
}

const program = new Command("cairn");
for (const add of await loadCommands()) add(program, new CapturedTerminal());
const COMMANDS = leaves(program).map((leaf): [string, Leaf] => [leaf.path.join(" "), leaf]);

function flags({ command }: Leaf): string[] {
  return command.options.map((option) => option.flags);
}

describe("every command", () => {
  it.each(IN_THE_STORE)("%s says in its help that a configuration makes a node unnecessary", async (name) => {
    const { stdout } = await cairn([...name.split(" "), "--help"]);
    const [description = ""] = stdout.split(/\n(?:Arguments|Options):/);
    expect(description).toContain("-f");
  });

  it.each(COMMANDS)("%s accepts a configuration, or does not need one", (name, leaf) => {
    const found = flags(leaf).filter((flag) => /^-[fej],/.test(flag));
    const all = ["-f, --file <file>", "-e, --edn <edn>", "-j, --config-json <json>"];
    expect(found).toEqual(WITHOUT.includes(name) ? [] : all);
  });

  const ofNodes = COMMANDS.filter(
    ([name, leaf]) => flags(leaf).includes("--url <url>") && !IN_THE_STORE.includes(name),
  );
  it.each(ofNodes)("%s -f queries the node that the file configures, with its token", async (_name, leaf) => {
    await using served = await serve({ authToken: "s3cret" });
    // Without a cutoff, a watch would not end.
    served.node.watched = async function* () {
      yield [{ type: "cutoff", txId: 0, txTime: null, position: "0", reason: "regressed", message: "Over." }];
    };
    const { stderr } = await run(leaf, ["-f", await fileFor(served)]);
    expect(stderr).not.toMatch(/UNAUTHORIZED|USAGE|CONFIG|No node responds/);
    expect(served.answered.map(({ status }) => status)).not.toEqual([]);
    expect(served.answered.map(({ status }) => status)).not.toContain(401);
  });

  it.each(ofNodes)("%s fails at a server of something else, whatever that answers", async (_name, leaf) => {
    const server = createServer((_request, response) => {
      response.setHeader("content-type", "application/json").end('{"ok": true}');
    }).listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    expect(await run(leaf, ["--url", `http://127.0.0.1:${port}`])).toEqual({
      code: 3,
      stdout: "",
      stderr: expect.stringContaining("is not a Cairn node"),
    });
  });
});

/** The arguments that a command needs besides its options. */
const VALUES: Readonly<Record<string, string>> = {
  bucket: "pods",
  queue: "deliveries",
  index: "pods",
  statement: "select 1",
  shard: "0",
  key: "default/a",
  json: "1",
  file: "-",
  tx: "1",
  servers: "nats://127.0.0.1:1",
  endpoint: "http://127.0.0.1:1",
  "kv-bucket": "settings",
};
const INPUT: Readonly<Record<string, string>> = { apply: '{"events": {"keep": 10}}' };

function run({ path: words, command }: Leaf, options: readonly string[]): Promise<CommandResult> {
  const name = words.at(-1) ?? "";
  const values = command.registeredArguments
    // Without a key, tx delete needs options.
    .filter((one) => one.required || one.name() === "key")
    .map((one) => VALUES[one.name()] ?? "?");
  const stdin = INPUT[name] ?? '{"ops": [["put", "pods", "b", 1]]}';
  // A variable names another node, but the command line takes precedence.
  const terminal = new CapturedTerminal({ stdin, env: { CAIRN_URL: "http://127.0.0.1:1" } });
  return cairn([...words, ...values, ...options], terminal);
}

async function folder(): Promise<string> {
  const made = await mkdtemp(path.join(tmpdir(), "cairn-configured-"));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  return made;
}

async function fileFor(served: ServedNode, more = ""): Promise<string> {
  const file = path.join(await folder(), "cairn.edn");
  await served.node.submit({ ops: [["put", "pods", "default/a", 1]] });
  await writeFile(
    file,
    `{:cairn/http-server {:port ${served.server.port} :host "0.0.0.0" :auth-token "s3cret"} ${more}}`,
  );
  return file;
}

describe("the node of a command", () => {
  it("is given by the first of --url, -f, CAIRN_URL and the file in the working directory", async () => {
    const tokens = { authToken: "s3cret" };
    await using one = await serve(tokens);
    await using other = await serve(tokens);
    const file = await fileFor(one);
    const cwd = path.dirname(file);
    const asked = async (argv: string[], env: Record<string, string> = {}): Promise<string> => {
      const before = [one.answered.length, other.answered.length];
      const { code, stderr } = await cairn(["status", ...argv], new CapturedTerminal({ cwd, env }));
      expect([code, stderr]).toEqual([0, ""]);
      return one.answered.length > (before[0] ?? 0) ? "one" : "other";
    };
    const away = { CAIRN_URL: other.url };
    expect(await asked([])).toBe("one");
    expect(await asked([], { ...away, CAIRN_AUTH_TOKEN: "s3cret" })).toBe("other");
    expect(await asked(["-f", "cairn.edn"], away)).toBe("one");
    expect(await asked(["-f", "cairn.edn", "--url", other.url])).toBe("other");
    expect(await asked(["-e", `{:cairn/http-server {:port ${other.server.port}}}`])).toBe("other");
  });

  it("never receives the token of a file in the working directory if another node is named", async () => {
    await using one = await serve({ authToken: "s3cret" });
    await using other = await serve({ authToken: "s3cret" });
    const cwd = path.dirname(await fileFor(one));
    const { stderr } = await cairn(["status", "--url", other.url], new CapturedTerminal({ cwd }));
    expect(stderr).toMatch(/^UNAUTHORIZED: /);
  });

  it("is found even if the rest of its file cannot be used, for example because variables are not set", async () => {
    await using served = await serve({ authToken: "s3cret" });
    const file = await fileFor(
      served,
      ':cairn/tx-log {:cairn/module cairn.nats/->tx-log :servers "${NOT_SET_HERE}"} :cairn/index-store 7',
    );
    expect((await cairn(["get", "pods", "a", "-f", file])).stdout).toBe("1\n");
  });

  it.each([
    ["{:cairn/http-server nil}", "has no HTTP server"],
    ["{:cairn/http-server {:port 0}}", "listens on any free port"],
    ["{:cairn/http-server {:prot 1}}", "no parameter prot"],
    ["{:cairn/http-server", "closed"],
  ])("cannot be determined from %s, and the command reports that", async (edn, told) => {
    const { code, stderr } = await cairn(["get", "pods", "a", "-e", edn]);
    expect([code, stderr]).toEqual([2, expect.stringContaining(told)]);
  });
});

/** Writes a configuration with checkpoints in S3 and everything needed to reach them; no node runs. */
async function bucketScene(): Promise<{ cwd: string; names: string[]; read: string[] }> {
  const cwd = await folder();
  const names = await saveTo(path.join(cwd, "bucket"), [5, 12]);
  const { env, read } = await servedBucket(path.join(cwd, "bucket"));
  const store = `{:cairn/module cairn.s3/->checkpoint-store :bucket "bucket" :region "r" :endpoint "${env["AWS_ENDPOINT_URL"]}"
    :force-path-style? true :credentials {:access-key-id "k" :secret-access-key "s"}}`;
  const config = `{:cairn/node {:id "n" :dir "${path.join(cwd, "data")}"}
    :cairn/index-store {:kv-store {:checkpointer {:approx-frequency "PT1H" :store ${store}}}}}`;
  await writeFile(path.join(cwd, "cairn.edn"), config);
  return { cwd, names, read };
}

describe("the store of a command", () => {
  it("is the store of -f, without further options and without a node", async () => {
    const { cwd, names, read } = await bucketScene();
    const [older = "", newer = ""] = names;
    const asked = (...argv: string[]): Promise<CommandResult> =>
      cairn(["checkpoint", ...argv, "-f", "cairn.edn"], new CapturedTerminal({ cwd }));
    const { stdout: listed, stderr } = await asked("list");
    expect(stderr).toBe("");
    expect(listed.indexOf(newer)).toBeGreaterThan(0);
    expect(listed.indexOf(older)).toBeGreaterThan(listed.indexOf(newer));
    expect((await asked("show")).stdout).toContain(newer);
    expect((await asked("show", older)).stdout).toContain(older);
    expect((await asked("restore", "-o", "newest")).stdout).toContain(`restored ${newer} `);
    expect((await asked("restore", older, "-o", "older")).stdout).toContain(`restored ${older} `);
    expect(read.length).toBeGreaterThan(0);
    expect((await readdir(path.join(cwd, "newest"))).length).toBeGreaterThan(0);
  });

  it("is, without -f, the store of the configuration in the working directory, for commands that query no node", async () => {
    const { cwd, names } = await bucketScene();
    const { stdout } = await cairn(["checkpoint", "restore", "-o", "here"], new CapturedTerminal({ cwd }));
    expect(stdout).toContain(`restored ${names[1]} `);
  });

  it("is the store of the node of --url", async () => {
    const { cwd } = await bucketScene();
    await using served = await serve();
    for (const argv of [["list"], ["show"]]) {
      const { code, stdout } = await cairn(
        ["checkpoint", ...argv, "-f", "cairn.edn", "--url", served.url],
        new CapturedTerminal({ cwd }),
      );
      expect([code, stdout]).toEqual([0, expect.stringContaining("checkpoint-")]);
    }
    expect(served.answered).toHaveLength(2);
  });

  it("is required, and a configuration without one is refused", async () => {
    const edn = "{:cairn/index-store {:kv-store cairn.memory/->kv-store}}";
    for (const argv of [["list"], ["show"], ["restore", "-o", "x"]]) {
      const { code, stderr } = await cairn(["checkpoint", ...argv, "-e", edn]);
      expect([code, stderr]).toEqual([
        2,
        expect.stringMatching(/^USAGE: The configuration has no checkpoint/),
      ]);
    }
  });
});

/** Creates a folder with a configuration, the index of its node and a checkpoint; no node runs. */
async function indexScene(): Promise<string> {
  const cwd = await folder();
  const settings = { "cairn/node": { id: "n", dir: path.join(cwd, "data") } };
  await writeFile(path.join(cwd, "cairn.json"), JSON.stringify(settings));
  const node = await startNode({ ...settings, "cairn/http-server": null });
  await node.ready;
  await node.await((await node.submit({ ops: [["put", "pods", "default/a", { n: 1 }]] })).txId);
  await saveCheckpoint(node);
  await node.close();
  return cwd;
}

describe("the index of a command", () => {
  it("is the index of the configured node if none is given", async () => {
    const cwd = await indexScene();
    const db = async (...argv: string[]): Promise<string> => {
      const { code, stdout, stderr } = await cairn(["db", ...argv], new CapturedTerminal({ cwd }));
      expect([code, stderr]).toEqual([0, ""]);
      return stdout;
    };
    for (const given of [["-f", "cairn.json"], []]) {
      expect(await db("check", ...given)).toContain("n-index is intact (db-dir)");
      expect(await db("get", "pods", "a", ...given)).toBe('{\n  "n": 1\n}\n');
      expect(await db("history", "pods", "a", ...given)).toContain('{"n":1}');
      expect(await db("keys", ...given)).toBe("pods default/a\n");
      expect(await db("buckets", ...given)).toContain("pods");
    }
    expect(await db("keys", "pods", "-f", "cairn.json")).toBe("default/a\n");
    expect(await db("keys", "./data/n-index", "pods")).toBe("default/a\n");
    const name = (await readdir(path.join(cwd, "data", "checkpoints")))
      .find((one) => one.endsWith(".tar"))
      ?.replace(".tar", "");
    expect(await db("get", name ?? "", "pods", "a", "-f", "cairn.json")).toBe('{\n  "n": 1\n}\n');
  });

  it("may be omitted, but missing or surplus arguments are still refused", async () => {
    const cwd = await indexScene();
    for (const argv of [
      ["get", "pods"],
      ["get", "./data/n-index", "pods"],
      ["get", "a", "b", "c", "d"],
      ["history"],
      ["keys", "a", "b", "c"],
    ]) {
      const { code, stderr } = await cairn(["db", ...argv], new CapturedTerminal({ cwd }));
      expect([code, stderr]).toEqual([2, expect.stringMatching(/^USAGE: (?:Missing required|Too many) /)]);
    }
  });
});
