import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CairnError } from "@cairn/kv";
import { Command } from "commander";
import { describe, expect, onTestFinished, test } from "vitest";
import { loadCommands } from "../src/run-cli.ts";
import { reportError } from "../src/terminal/report-error.ts";
import { serve } from "@cairn/test-support/nodes/served-node";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";

interface Leaf {
  readonly path: string[];
  readonly command: Command;
}

function leaves(command: Command, path: string[] = []): Leaf[] {
  if (command.commands.length === 0) return [{ path, command }];
  return command.commands.flatMap((child) => leaves(child, [...path, child.name()]));
}

const COMMANDS = await loadCommands();

function everyLeaf(): Leaf[] {
  const program = new Command("cairn");
  for (const add of COMMANDS) add(program, new CapturedTerminal());
  return leaves(program);
}

describe("every command", () => {
  test.each(everyLeaf().map(({ path }) => [path.join(" "), path] as const))(
    "%s has help with an example, and --json",
    async (name, path) => {
      const { code, stdout, stderr } = await cairn([...path, "--help"]);
      expect([code, stderr]).toEqual([0, ""]);
      expect(stdout).toContain(`Usage: cairn ${name}`);
      expect(stdout).toMatch(/Example:\n {2}\$ .*cairn/);
      expect(stdout).toContain("--json");
    },
  );

  test("has only options that are in docs/cli.md or, of db, in docs/inspection.md", async () => {
    const pages = ["cli.md", "inspection.md"].map((name) =>
      readFile(new URL(`../../../docs/${name}`, import.meta.url), "utf8"),
    );
    const known = new Set((await Promise.all(pages)).join("").match(/(?<![\w-])--?[a-z][a-z-]*/g));
    const missing = everyLeaf().flatMap(({ path, command }) =>
      command.options
        .filter(({ short, long }) => !known.has(short ?? "") && !known.has(long ?? ""))
        .map(({ flags }) => `${path.join(" ")} ${flags}`),
    );
    expect(missing).toEqual([]);
  });

  test("has the same help with the command help and with --help", async () => {
    expect(await cairn(["help", "db", "keys"])).toEqual(await cairn(["db", "keys", "--help"]));
    expect(await cairn(["help"])).toEqual(await cairn(["--help"]));
  });

  test("is listed in the help of the program", async () => {
    const { code, stdout } = await cairn(["--help"]);
    expect(code).toBe(0);
    for (const name of ["start", "status", "load", "tx", "get", "list", "history", "checkpoint", "config"]) {
      expect(stdout).toMatch(new RegExp(`^  ${name}\\b`, "m"));
    }
  });
});

describe("wrong usage", () => {
  test.each([
    ["stat", "status"],
    ["sta", "start or cairn status"],
    ["statsu", "status"],
    ["restore", "checkpoint restore"],
    ["put pods a 1", "tx put"],
    ["create", "checkpoint create or cairn log create"],
    ["log-status", "log status"],
    ["checkpoint:list", "checkpoint list"],
    ["checkpoint verfiy", "checkpoint verify"],
    ["logs", "log"],
    ["checkpoints", "checkpoint"],
    ["tx get pods a", "get or cairn db get"],
    ["policy get", "get or cairn db get"],
    ["log restore", "checkpoint restore"],
  ])("cairn %s: the hint suggests cairn %s", async (typed, meant) => {
    const { code, stderr } = await cairn(typed.split(" "));
    expect(code).toBe(2);
    expect(stderr).toMatch(/^USAGE: Unknown command "/);
    expect(stderr).toContain(
      `\n  hint: Did you mean cairn ${meant}? Run with --help to list commands and options.\n`,
    );
  });

  test("such as cairn stop leads to an explanation of how to stop a node", async () => {
    expect((await cairn(["stop"])).stderr).toContain(
      "hint: To stop a node, press Ctrl-C or send SIGTERM to its process.",
    );
    expect((await cairn(["frobnicate"])).stderr).toContain(
      "hint: Run with --help to list commands and options.",
    );
  });

  const lengths = everyLeaf().flatMap(({ path, command }) =>
    command.options
      .filter(({ flags }) => flags.includes("<duration>"))
      .map(({ long }): [string, string[]] => [`${path.join(" ")} ${long}`, [...path, long ?? ""]]),
  );
  test("includes invalid durations, in every option that takes one", () => {
    expect(lengths.map(([name]) => name)).toEqual([
      "status --wait",
      "status --timeout",
      "checkpoint prune --retain-newer-than",
      "log trim --keep",
    ]);
  });
  test.each(lengths)("of a duration is explained: cairn %s", async (_name, argv) => {
    for (const [text, hint] of [
      ["5s", "Did you mean PT5S?"],
      ["90 min", "Did you mean PT90M?"],
      ["1d", "Did you mean P1D?"],
      ["30", "Did you mean PT30S? A duration must have a unit."],
      ["1.5", "Did you mean PT1.5S? A duration must have a unit."],
      ["500ms", "Did you mean PT0.5S?"],
      ["0", "Write a length above zero, such as PT5S."],
      ["PT7D", "Did you mean P7D? Days stand before the T."],
      ["soon", "Write ISO-8601, such as PT6H, PT30M or P7D."],
    ] as const) {
      const { code, stderr } = await cairn([...argv, text]);
      const option = argv.at(-1) ?? "";
      expect([code, stderr]).toEqual([
        2,
        `USAGE: ${option} must be a duration, not ${JSON.stringify(text)}.\n  hint: ${hint}\n`,
      ]);
    }
  });

  test("does not include an address without a scheme, which is read as an HTTP address", async () => {
    await using served = await serve();
    const { code, stdout } = await cairn(["status", "--url", served.url.replace("http://", "")]);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^Phase +ready/m)]);
  });

  test.each([
    ["an unknown command", ["frobnicate"]],
    ["an unknown option", ["status", "--verbose"]],
    ["a missing argument", ["get", "pods"]],
    ["too many arguments", ["get", "pods", "a", "b"]],
    ["a group without a command", ["tx"]],
    ["nothing at all", []],
    ["an invalid count", ["list", "pods", "--limit", "ten"]],
    ["a line number before the first", ["load", "-", "--from-line", "0"]],
    ["an invalid address", ["status", "--url", "ftp://localhost:3000"]],
    ["a missing file", ["load", "/no/such/file.ndjson"]],
    ["a directory in place of a file", ["load", "/"]],
    ["a document that is not JSON", ["tx", "put", "pods", "x", "{cpu: 1}"]],
    [
      "preconditions that exclude each other",
      ["tx", "put", "p", "x", "1", "--if-absent", "--if-revision", "1"],
    ],
    ["a store that is not a folder", ["checkpoint", "list", "gs://bucket/prefix"]],
    ["a restore without a target", ["checkpoint", "restore", "."]],
    ["an invalid log level", ["start", "--log-level", "loud"]],
  ])("(%s) exits with 2 and a sentence on standard error", async (_what, argv) => {
    const { code, stdout, stderr } = await cairn(argv);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toMatch(/^USAGE: .+[.)]\n {2}hint: .+\.$/m);
    expect(stderr).not.toMatch(/\n\s+at /);
  });

  test("cannot break the screen with quoted input", async () => {
    const terminal = new CapturedTerminal();
    const error = new CairnError("NOT_FOUND", "No \u001b[2J.", { hint: "Ask for \u0007." });
    await reportError(error, terminal, { json: false, debug: false });
    expect(terminal.stderr.text).toBe("NOT_FOUND: No \\u001b[2J.\n  hint: Ask for \\u0007.\n");
  });

  test("is printed as JSON with --json, and with its stack with --debug", async () => {
    const { code, stderr } = await cairn(["load", "/no/such/file", "--json"]);
    expect(code).toBe(2);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: "USAGE", message: expect.any(String) } });
    expect((await cairn(["load", "/no/such/file", "--debug"])).stderr).toMatch(/\n\s+at /);
  });
});

async function printedValues(file: string): Promise<unknown> {
  const { stdout } = await cairn(["config", "print", "--json", "-f", file]);
  const { values } = JSON.parse(stdout) as { readonly values: unknown };
  return values;
}

describe("config", () => {
  test("check prints ok after what production lacks, or prints every problem and exits with 2", async () => {
    const fine = await cairn(["config", "check", "-j", '{"cairn/http-server": {"port": 0}}']);
    expect(fine).toMatchObject({ code: 0, stderr: "" });
    expect(fine.stdout).toMatch(/^(?:notice: .* Write .*\.\n)+ok\n$/);
    const bad = await cairn([
      "config",
      "check",
      "-j",
      '{"cairn/http-server": {"prot": 0, "host": 7}, "cairn/nothing": 1}',
    ]);
    expect([bad.code, bad.stdout]).toEqual([2, ""]);
    for (const part of ["prot", "host", "cairn/nothing", "-j:1:"]) expect(bad.stderr).toContain(part);
  });

  test("check --json lists problems with their positions", async () => {
    const { code, stderr } = await cairn([
      "config",
      "check",
      "--json",
      "-e",
      "{:cairn/http-server {:port -1}}",
    ]);
    expect(code).toBe(2);
    expect(JSON.parse(stderr)).toMatchObject({
      problems: [{ code: "CONFIG_INVALID", path: ["cairn/http-server", "port"], place: "-e:1:28" }],
    });
  });

  test("print shows values and their origins, never the token", async () => {
    const terminal = new CapturedTerminal({ env: { CAIRN_HTTP_AUTH_TOKEN: "s3cret-token" } });
    const { code, stdout } = await cairn(
      ["config", "print", "-e", "{:cairn/http-server {:port 3999}}"],
      terminal,
    );
    expect(code).toBe(0);
    expect(stdout).toContain("3999");
    expect(stdout).toContain("CAIRN_HTTP_AUTH_TOKEN");
    expect(stdout).not.toContain("s3cret-token");
  });

  test("the values that print shows are a file of the same node", async () => {
    const folder = await mkdtemp(join(tmpdir(), "cairn-printed-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const written = join(folder, "cairn.json");
    const printed = join(folder, "printed.json");
    const store = {
      "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
      path: `${folder}/$\${c}`,
    };
    const checkpointer = {
      "approx-frequency": "PT1H",
      store: "site/store",
      "restore-from": ["site/store", store],
    };
    const config = { "cairn/index-store": { "kv-store": "site/kv" }, "site/kv": { checkpointer } };
    await writeFile(written, JSON.stringify({ ...config, "site/store": store }));
    const values = await printedValues(written);
    await writeFile(printed, JSON.stringify(values));
    expect(await cairn(["config", "check", "-f", printed])).toMatchObject({ code: 0 });
    expect(await printedValues(printed)).toEqual(values);
    expect(values).toMatchObject(config);
  });

  test("schema is a JSON Schema", async () => {
    const { stdout } = await cairn(["config", "schema"]);
    expect(JSON.parse(stdout)).toMatchObject({ $schema: expect.stringContaining("json-schema.org") });
  });
});
