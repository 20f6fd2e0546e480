import { expect, test } from "vitest";
import { ConfigError, formatProblems } from "../../src/system/problems.ts";
import { MISTAKES } from "./support/mistakes.ts";
import { problemsOf } from "./support/read.ts";

test.each(MISTAKES)("$title: told with its place and what to do", async ({ input, told }) => {
  expect(formatProblems(await problemsOf(input))).toBe(told);
});

test("the mistakes are as many as they should be", () => {
  expect(MISTAKES.length).toBeGreaterThanOrEqual(80);
});

test("all mistakes are told at once, from the top of the file down", async () => {
  const problems = await problemsOf({
    json: '{"cairn/http-server": {"port": "x", "hots": 1},\n "cairn/nodes": {},\n "cairn/tx-log": {"paht": "x"}}',
    edn: '{:cairn/node {:id "/"}}',
  });
  expect(problems.map(({ place }) => place)).toEqual(["-j:1:32", "-j:1:37", "-j:2:2", "-j:3:19", "-e:1:19"]);
});

test("an error for programs names the first problem and holds all", async () => {
  const problems = await problemsOf({ json: '{"cairn/http-server": {"hots": 1, "prot": 2}}' });
  const error = new ConfigError(problems);
  expect(error.code).toBe("CONFIG_INVALID");
  expect(error.message).toBe(
    "-j:1:24, cairn/http-server > hots: cairn/http-server has no parameter hots. (and 1 more)",
  );
  expect(error.hint).toBe("Did you mean host?");
  expect(error.problems).toEqual(problems);
});

test.each([
  ["a token", '{"cairn/http-server": {"auth-token": 123454321}}', "123454321"],
  [
    "an address with a password",
    '{"cairn/tx-log": {"cairn/module": "cairn.nats/->tx-log", "servers": "nats://u:hunter2@h:port"}}',
    "hunter2",
  ],
  ["text with a broken variable", '{"cairn/http-server": {"auth-token": "s3cret${"}}', "s3cret"],
])("%s of the wrong kind is not repeated", async (_what, json, hidden) => {
  const problems = await problemsOf({ json });
  expect(problems).toHaveLength(1);
  expect(formatProblems(problems)).not.toContain(hidden);
});

test.each([
  ["JSON", { json: "[".repeat(500_000) }],
  ["EDN", { edn: "[".repeat(300_000) }],
  ["quotes in EDN", { edn: "'".repeat(300_000) }],
  ["discards in EDN", { edn: "#_".repeat(300_000) }],
])("%s nested without end is refused, not followed", async (_what, input) => {
  const problems = await problemsOf(input);
  expect(problems.map(({ code }) => code)).toEqual(["CONFIG_SYNTAX"]);
});

test("more than a megabyte is refused before it is parsed", async () => {
  const [problem] = await problemsOf({ edn: `{:a "${"x".repeat(1024 * 1024)}"}` });
  expect(problem?.message).toBe("This is larger than 1048576 bytes, which no configuration is.");
});
