// @module-tag rest/redis
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { expect, it, onTestFinished } from "vitest";
import { NodeProcess, runCairn, runCairnOrThrow } from "@cairn/test-support/cairn-process";
import { startRedis } from "@cairn/test-support/source-servers";

const run = promisify(execFile);

it("the script of docs/moving.md writes what a Redis database contains as lines to import", async () => {
  const docs = await readFile(new URL("../../docs/moving.md", import.meta.url), "utf8");
  const [, script = ""] = /^```lua\n(.*?)^```/ms.exec(docs) ?? [];
  const [, command = ""] = /^\$ (redis-cli .*)$/m.exec(docs) ?? [];
  const cwd = await mkdtemp(path.join(tmpdir(), "cairn-moving-"));
  onTestFinished(() => rm(cwd, { recursive: true, force: true }));
  const server = await startRedis();
  onTestFinished(() => server.close());
  const redis = `redis-cli -p ${new URL(server.url).port}`;
  const filled = String.raw`
    set user:json '{"cpu": 1}'
    set user:big '9007199254740993'
    set user:rounded '{"big": 9007199254740993}'
    mset user:number -4.25 user:true true user:zip 01234 user:phone +4912345 user:hex 0x10 user:nan nan
    set user:text "two\nlines"
    set user:bytes "\xff"
    set "user:a/b" '""'
    set "user:broken\nkey" 1
    hset user:hash n 1
    rpush user:list b a b
    sadd user:set b a
    zadd user:scores 1.5 a -inf b
    xadd user:stream * n 1
    set other 1
  `;
  await writeFile(path.join(cwd, "commands"), filled);
  await run("bash", ["-c", `${redis} < commands`], { cwd });
  await writeFile(path.join(cwd, "lines.lua"), script);
  await run("bash", ["-c", command.replaceAll("redis-cli", redis)], { cwd });

  const node = NodeProcess.start({ id: "node-1", dir: path.join(cwd, "node") });
  onTestFinished(() => node.kill());
  await node.ready();
  const url = await node.url();
  const { code, stderr } = await runCairn(["import", "ndjson", "redis.ndjson", "--url", url], { cwd });
  // The object with a number that would be rounded, the bytes, the two halves of a key, and the stream.
  expect([code, stderr]).toEqual([1, expect.stringContaining("5 of 19 records were not imported")]);
  const { stdout } = await runCairnOrThrow(["export", "--bucket", "redis", "--url", url]);
  const documents = stdout.split("\n").slice(1, -2);
  expect(documents.map((line) => (JSON.parse(line) as { ops: [unknown[]] }).ops[0].slice(2))).toEqual([
    ["default/user:a/b", ""],
    ["default/user:big", { text: "9007199254740993" }],
    ["default/user:hash", { n: "1" }],
    ["default/user:hex", { text: "0x10" }],
    ["default/user:json", { cpu: 1 }],
    ["default/user:list", ["b", "a", "b"]],
    ["default/user:nan", { text: "nan" }],
    ["default/user:number", -4.25],
    ["default/user:phone", { text: "+4912345" }],
    ["default/user:scores", ["b", "-inf", "a", "1.5"]],
    ["default/user:set", ["a", "b"]],
    ["default/user:text", { text: "two\nlines" }],
    ["default/user:true", true],
    ["default/user:zip", { text: "01234" }],
  ]);
});
