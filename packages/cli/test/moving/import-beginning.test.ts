import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { serve } from "@cairn/test-support/nodes/served-node";

const NO_PUTS = "It is not a transaction that only puts documents.";
const PUT = '{"ops":[["put","pods","web",1]]}\n';

function documents(count: number): string {
  return Array.from({ length: count }, (_, n) => `{"email":"p${n}@example.org"}\n`).join("");
}

/** Imports `lines` in a folder of its own, into a node of its own. */
async function imported(lines: string | Readable, ...options: string[]) {
  const cwd = await mkdtemp(join(tmpdir(), "cairn-import-"));
  onTestFinished(() => rm(cwd, { recursive: true }));
  const served = await serve();
  onTestFinished(() => served[Symbol.asyncDispose]());
  const run = async (...more: string[]) => {
    const terminal = new CapturedTerminal({ env: { CAIRN_URL: served.url }, cwd });
    const stdin = typeof lines === "string" ? Readable.from([Buffer.from(lines)]) : lines;
    Object.defineProperty(terminal, "stdin", { value: stdin });
    const result = await cairn(["import", "ndjson", "-", ...more], terminal);
    return { ...result, written: served.node.submitted.length, files: await readdir(cwd) };
  };
  return { cwd, run, ...(await run(...options)) };
}

test.each([1, 20_000])(
  "an import of %i plain documents without their key is refused, and its hint imports them",
  { tags: "rest/slow" },
  async (count) => {
    const { run, ...refused } = await imported(documents(count));
    expect(refused).toMatchObject({ code: 2, stdout: "", written: 0, files: [] });
    expect(refused.stderr).toMatch(
      /^TX_INVALID: Nothing was imported, .* The first is line 1: It is not a tr/,
    );
    const [, member = "", bucket = ""] =
      /its key with (--\S+), and a bucket with (--\S+)\./.exec(refused.stderr) ?? [];
    expect(await run(member, "email", bucket, "people")).toMatchObject({ code: 0, written: count });
  },
);

test("an import with a wrong --key-member is refused, and its hint imports an export", async () => {
  const options = ["--key-member", "mail", "--bucket", "people"];
  const { stderr, files } = await imported(documents(200), ...options);
  expect([stderr, files]).toEqual([
    expect.stringMatching(
      / 1: It has no member "mail" .*\n {2}hint: Each line must be a document with the member/,
    ),
    [],
  ]);
  const { run, stderr: ofTransactions } = await imported(PUT, ...options);
  expect(ofTransactions).toMatch(/Omit --key-member, --bucket and --key-pattern for an export\.$/m);
  expect(await run()).toMatchObject({ code: 0, written: 1 });
});

test("an import that begins with some refused lines goes on, and names the first one", async () => {
  const { code, stdout, stderr, cwd, files } = await imported(documents(99) + PUT);
  expect([code, stdout]).toEqual([1, expect.stringMatching(/^imported 1 document in .*\/s\): 1 written/)]);
  expect(stderr).toContain(
    `IMPORT_INCOMPLETE: 99 of 100 records were not imported; the first one is line 1: ${NO_PUTS}\n`,
  );
  expect((await readFile(join(cwd, files[0] ?? ""), "utf8")).split("\n")).toHaveLength(100);
});

test("an import whose first lines are refused ends although its input does not", async () => {
  const source = new Readable({ read: () => undefined });
  source.push(documents(60));
  setImmediate(() => source.push(documents(60)));
  expect(await imported(source)).toMatchObject({ code: 2, stderr: /^TX_INVALID: / });
});

test.each([501, 5_000, 20_000])(
  "a document that is nested %i deep is refused like any other, and the import goes on",
  async (depth) => {
    const deep = `${"[".repeat(depth)}${"]".repeat(depth)}`;
    const puts = `${PUT}{"ops":[["put","pods","deep",${deep}]]}\n${PUT}`;
    const asDocuments = `${documents(1)}{"email":"deep","deep":${deep}}\n${documents(1)}`;
    for (const { stdout, stderr, code } of [
      await imported(puts),
      await imported(asDocuments, "--key-member", "email", "--bucket", "people"),
    ]) {
      expect([code, stdout]).toEqual([1, expect.stringMatching(/^imported \d documents? in .* \d written/)]);
      expect(stderr).toMatch(/first one is line 2: It cannot be stored: a document is nested too deeply/);
    }
  },
);
