// @module-tag rest/etcd
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { NodeProcess, runCairn, runCairnOrThrow } from "@cairn/test-support/cairn-process";

async function folder(): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), "cairn-moving-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function startNode(): Promise<string> {
  const node = NodeProcess.start({ id: "node-1", dir: await folder() });
  onTestFinished(() => node.kill());
  await node.ready();
  return await node.url();
}

async function submit(url: string, ...ops: unknown[]): Promise<number> {
  const response = await fetch(`${url}/api/v1/tx?await=true`, {
    method: "POST",
    body: JSON.stringify({ ops }),
  });
  return ((await response.json()) as { txId: number }).txId;
}

async function digestOf(url: string, ...options: string[]): Promise<string> {
  return (await runCairnOrThrow(["export", "--digest", "--url", url, ...options])).stdout.trim();
}

it("an export that is imported or loaded into another node has the same digest when it is exported there", async () => {
  const url = await startNode();
  const load = Array.from({ length: 2_500 }, (_, n) => {
    const document = { n, text: `ünïcode ${n}`, nested: { 7: [null, true, 1.5] } };
    return `${JSON.stringify({ ops: [["put", n % 2 === 0 ? "pods" : "nodes", `team-${n % 3}/${n}/x`, document]] })}\n`;
  });
  await runCairnOrThrow(["load", "-", "--await", "--url", url], { input: textOf(load.join("")) });
  await submit(url, ["put", "emptied", "a", 1]);
  await submit(url, ["delete", "emptied", "a"]);
  const { stdout, stderr } = await runCairnOrThrow(["export", "--url", url]);
  const [, digest = ""] = /digest (sha256:[0-9a-f]{64})$/m.exec(stderr) ?? [];
  expect(await digestOf(url)).toBe(digest);

  const file = path.join(await folder(), "all.ndjson");
  await writeFile(file, stdout);
  for (const command of ["import ndjson", "load"]) {
    const other = await startNode();
    await runCairnOrThrow([...command.split(" "), file, "--url", other, "--json"]);
    expect(await digestOf(other)).toBe(digest);
  }
});

it("an export is as of one transaction, whatever is written meanwhile", async () => {
  const url = await startNode();
  const first = await submit(url, ["put", "left", "a", 0], ["put", "right", "a", 0]);
  const filler = Array.from(
    { length: 3_000 },
    (_, n) => `${JSON.stringify({ ops: [["put", "middle", `${n}`, n]] })}\n`,
  );
  await runCairnOrThrow(["load", "-", "--await", "--url", url], { input: textOf(filler.join("")) });
  const end = new AbortController();
  const writer = (async () => {
    for (let n = 1; !end.signal.aborted; n += 1)
      await submit(url, ["put", "left", "a", n], ["put", "right", "a", n]);
  })();
  for (let round = 0; round < 3; round += 1) {
    const { stdout } = await runCairnOrThrow(["export", "--url", url]);
    const values = ["left", "right"].map(
      (bucket) => new RegExp(`"put","${bucket}","default/a",(\\d+)`).exec(stdout)?.[1],
    );
    expect(values[0]).toBe(values[1]);
    expect(Number(values[0])).toBeGreaterThan(0);
  }
  end.abort();
  await writer;
  // Even a bucket that is empty now is exported as of a time when it was not.
  await submit(url, ["delete", "left", "a"]);
  const { stdout } = await runCairnOrThrow(["export", "--as-of", String(first), "--url", url]);
  expect(stdout.split("\n").slice(1, -2)).toEqual([
    '{"ops":[["put","left","default/a",0]]}',
    '{"ops":[["put","right","default/a",0]]}',
  ]);
});

it("a truncated or changed export is refused, and nothing of a file is stored", async () => {
  const url = await startNode();
  await submit(
    url,
    ["put", "pods", "a", { n: 1 }],
    ["put", "pods", "b", { n: 2 }],
    ["put", "pods", "c", { n: 3 }],
  );
  const { stdout } = await runCairnOrThrow(["export", "--url", url]);
  const lines = stdout.split("\n");
  const damaged: readonly (readonly [content: string, reason: string])[] = [
    [lines.slice(0, 3).join("\n"), "its last line is missing after 1 documents"],
    [`${lines.slice(0, 4).join("\n")}\n`, "its last line is missing"],
    [stdout.slice(0, -5), "its last line is missing"],
    [lines.toSpliced(2, 1).join("\n"), "has 2 documents, but its last line counts 3"],
    [stdout.replace('"n":2', '"n":9'), "The export was changed"],
  ];
  const other = await startNode();
  const dir = await folder();
  for (const [content, reason] of damaged) {
    const file = path.join(dir, "damaged.ndjson");
    await writeFile(file, content);
    for (const command of [["import", "ndjson"], ["load"]]) {
      const fromFile = await runCairn([...command, file, "--url", other]);
      expect([fromFile.code, fromFile.stderr]).toEqual([1, expect.stringMatching(/^EXPORT_DAMAGED: /)]);
      expect(fromFile.stderr).toContain(reason);
      expect(fromFile.stderr).not.toContain("stored already");
    }
  }
  expect(await (await fetch(`${other}/api/v1/buckets`)).json()).toEqual([]);
  const piped = await runCairn(["import", "ndjson", "-", "--url", other], {
    input: textOf(damaged[0]?.[0] ?? ""),
  });
  expect([piped.code, piped.stderr]).toEqual([
    1,
    expect.stringMatching(/^EXPORT_DAMAGED: .*\n.* may be stored already/),
  ]);
});

it("of several values of a key, the last one remains, even if it is the one that Cairn had", async () => {
  const url = await startNode();
  await submit(url, ["put", "people", "a", { name: "a", n: 0 }]);
  const lines = [1, 0, 2, 1, 0].map((n) => JSON.stringify({ name: "a", n }));
  const command = ["import", "ndjson", "-", "--key-member", "name", "--bucket", "people", "--url", url];
  await runCairnOrThrow(command, { input: textOf(lines.join("\n")) });
  expect(await (await fetch(`${url}/api/v1/people/default/a`)).json()).toEqual({ name: "a", n: 0 });
});

it("plain documents are imported with a member as their key, and transactions that do more are refused", async () => {
  const url = await startNode();
  const people =
    '{"email":"a@example.org","age":1}\n\n{"email":7}\n{"age":2}\n{"email":"b","big":9007199254740993}\n';
  const cwd = await folder();
  const plain = [
    "import",
    "ndjson",
    "-",
    "--key-member",
    "email",
    "--bucket",
    "people",
    "--report",
    "people.report",
  ];
  const imported = await runCairn([...plain, "--url", url], { input: textOf(people), cwd });
  expect([imported.code, imported.stderr]).toEqual([
    1,
    expect.stringContaining("2 of 4 records were not imported"),
  ]);
  const { stdout } = await runCairnOrThrow(["list", "people", "--json", "--url", url]);
  expect(stdout.split("\n").map((line) => /"document":(.*)\}$/.exec(line)?.[1])).toEqual([
    '{"email":7}',
    '{"email":"a@example.org","age":1}',
    undefined,
  ]);
  const transactions =
    '{"ops":[["delete","people","7"]]}\n{"ops":[["put","people","c",1],["put","people","d",2]]}\n';
  const mixed = await runCairn(["import", "ndjson", "-", "--url", url], { input: textOf(transactions), cwd });
  expect([mixed.code, mixed.stdout]).toEqual([1, expect.stringContaining("imported 2 documents")]);
});

async function* textOf(text: string): AsyncGenerator<string> {
  yield text;
}
