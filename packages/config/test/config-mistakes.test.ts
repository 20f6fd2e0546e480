import { expect, test } from "vitest";
import { ConfigError, formatProblems } from "../src/source/problems.ts";
import { MISTAKES, XTDB_EXAMPLES } from "./support/mistakes.ts";
import { openApiDocument } from "@cairn/http/src/openapi/document";
import { ROUTES } from "@cairn/http/src/routes/routes";
import { problemsOf } from "./support/read.ts";

test.each(MISTAKES)("$title: is reported with its position and a hint", async ({ input, told }) => {
  expect(formatProblems(await problemsOf(input))).toBe(told);
});

test.each(XTDB_EXAMPLES)(
  "XTDB, $title: starts, or is rejected with a hint about the alternative",
  async ({ input, told }) => {
    const problems = await problemsOf(input);
    expect(formatProblems(problems)).toBe(told);
    // Such a hint would make the user search a list of all known names.
    for (const { hint } of problems) expect(hint).toMatch(/^(?!Known:)/);
  },
);

test("every request that a hint names is one that a node accepts", () => {
  const { paths } = openApiDocument("0", ROUTES);
  const named = [...MISTAKES, ...XTDB_EXAMPLES].flatMap(({ told }) => [
    ...told.matchAll(/\b(GET|PUT|POST|DELETE) (\/[^\s,;:.]*)/g),
  ]);
  expect(named.length).toBeGreaterThan(0);
  for (const [, method = "", address = ""] of named)
    expect(paths).toHaveProperty([address, method.toLowerCase()]);
});

test("there are enough mistakes", () => {
  expect(MISTAKES.length).toBeGreaterThanOrEqual(80);
});

test("all problems are reported together, in the order of the file", async () => {
  const problems = await problemsOf({
    json: '{"cairn/http-server": {"port": "x", "hots": 1},\n "cairn/nodes": {},\n "cairn/tx-log": {"paht": "x"}}',
    edn: '{:cairn/node {:id "/"}}',
  });
  expect(problems.map(({ place }) => place)).toEqual(["-j:1:32", "-j:1:37", "-j:2:2", "-j:3:19", "-e:1:19"]);
});

test("an unset variable hides no other problem, and those that follow from it are not reported", async () => {
  const problems = await problemsOf({
    json: `{"cairn/http-server": {"port": "\${NOWHERE}", "hots": 1},
      "cairn/index-store": {"kv-store": {"checkpointer": {"approx-frequency": "PT1H", "store": "\${NOWHERE}"}}},
      "site/store": {"cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", "path": "~/x"}}`,
  });
  expect(problems.map(({ path, message }) => `${path.join(" > ")}: ${message}`)).toEqual([
    "cairn/http-server > port: The environment variable NOWHERE is not set.",
    "cairn/http-server > hots: cairn/http-server has no parameter hots.",
    "cairn/index-store > kv-store > checkpointer > store: The environment variable NOWHERE is not set.",
  ]);
});

test("a name of one letter is similar to no other", async () => {
  const problems = await problemsOf({ json: '{"cairn/http-server": {"host": "${H}"}}', env: { J: "1" } });
  expect(problems).toMatchObject([{ hint: "Set H, or use a default: ${H:-default}." }]);
});

test("captures may be in their own folder of the db-dir, and everything else next to the folders of the index", async () => {
  const store = {
    "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store",
    path: "/idx/checkpoints",
  };
  const checkpointer = { "approx-frequency": "PT1H", "checkpoint-dir": "/idx/capture/here", store };
  const input = {
    "cairn/index-store": { "kv-store": { "db-dir": "/idx", checkpointer } },
    "cairn/tx-log": { path: "/idx/livelog" },
  };
  expect(await problemsOf({ json: JSON.stringify(input) })).toEqual([]);
});

test("null removes the value of a source with lower precedence, and a module that is then no longer named", async () => {
  const file = {
    "site/store": { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "/x" },
  };
  expect(await problemsOf({ json: JSON.stringify(file), edn: "{:site/store nil}" })).toEqual([]);
});

test("a shared module that only a rejected value names is not reported as unused", async () => {
  const store = { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "/x" };
  for (const [module, parameters] of [
    ["xtdb.jdbc/->tx-log", { stores: ["site/store"] }],
    ["cairn.embedded/->tx-log", { pool: { store: "site/store" } }],
  ] as const) {
    const log = { "cairn/module": module, ...parameters };
    const problems = await problemsOf({ json: JSON.stringify({ "cairn/tx-log": log, "site/store": store }) });
    expect(problems).toMatchObject([{ path: ["cairn/tx-log", expect.anything()] }]);
  }
});

test("a value of 100,000 characters is shortened in messages, hints and paths", async () => {
  const long = "x".repeat(100_000);
  for (const config of [
    { "cairn/index-store": { "kv-store": long } },
    { "cairn/index-store": { "kv-store": `./${long}` } },
    { "cairn/index-store": { "kv-store": { [long]: 1 } } },
    { "cairn/http-server": { tls: { cert: long, key: `/${long}` } } },
    { "cairn/node": { dir: long } },
    { "cairn/node": { dir: `\${${long}}` } },
    { [long]: 1 },
  ]) {
    const problems = await problemsOf({ json: JSON.stringify(config), isForNode: true });
    expect(problems).not.toEqual([]);
    expect(formatProblems(problems).length).toBeLessThan(1_000);
    expect(new ConfigError(problems).message.length).toBeLessThan(1_000);
  }
});

test("the error for programs names the first problem and contains all of them", async () => {
  const problems = await problemsOf({ json: '{"cairn/http-server": {"hots": 1, "prot": 2}}' });
  const error = new ConfigError(problems);
  expect(error.code).toBe("CONFIG_INVALID");
  expect(error.message).toBe(
    "-j:1:24, cairn/http-server > hots: cairn/http-server has no parameter hots. (and 1 more)",
  );
  expect(error.hint).toBe("Did you mean host?");
  expect(error.problems).toEqual(problems);
});

function s3(parameter: string): string {
  const store = `{"cairn/module": "cairn.s3/->checkpoint-store", "bucket": "b-1", ${parameter}}`;
  const checkpointer = `{"approx-frequency": "PT6H", "store": ${store}}`;
  return `{"cairn/index-store": {"kv-store": {"checkpointer": ${checkpointer}}}}`;
}

test.each([
  ["a KMS key without KMS", '"kms-key-id": "k"', /kms-key-id requires encryption by KMS/],
  ["a storage class that cannot be read immediately", '"storage-class": "DEEP_ARCHIVE"', /DEEP_ARCHIVE/],
  ["parts of a size that S3 does not accept", '"part-size": 1048576', /5242880/],
  ["an address in place of a bucket", '"bucket": "s3://bucket/prefix"', /without s3:\/\//],
  ["a prefix with an empty part", '"prefix": "a//b"', /without parts that are empty/],
  [
    "a prefix with a control character",
    '"prefix": "nul\\u0000b"',
    /without white space and control characters/,
  ],
  ["a prefix that is no text", '"prefix": "\\ud800"', /without white space and control characters/],
  ["a prefix that leads to a parent", '"prefix": "x/../y"', /without parts that are empty/],
  [
    "a profile and a key",
    '"credentials": {"profile": "p", "access-key-id": "i", "secret-access-key": "k"}',
    /Keep one/,
  ],
  ["no way to log in", '"credentials": {}', /must have both an id and a secret/],
  ["a misspelt parameter", '"storage-clas": "STANDARD"', /storage-class/],
])("of a store in S3, %s is refused", async (_what, parameter, told) => {
  const problems = await problemsOf({ json: s3(parameter).replace('"bucket": "b-1", "bucket"', '"bucket"') });
  expect(problems).toHaveLength(1);
  expect(formatProblems(problems)).toMatch(told);
});

test.each([
  [
    "a user without a password",
    '"user": "u"',
    /user is configured without a password.*\n.*Set password as well/,
  ],
  ["a password without a user", '"password": "p"', /password is configured without a user/],
  ["two ways to log in", '"token": "t", "nkey-seed-file": "seed"', /More than one login method/],
  [
    "a pattern for inboxes",
    '"inbox-prefix": "_INBOX.>"',
    /inbox-prefix.*\n?.*without white space, control characters, \* and >/,
  ],
  [
    "a stream with a long name",
    `"stream": "${"x".repeat(256)}"`,
    /a stream's name of at most 255 characters/,
  ],
  ["a key without its certificate", '"tls": {"key-file": "key.pem"}', /Set both cert-file and key-file/],
])("of a log on NATS, %s is refused", async (_what, parameter, told) => {
  const problems = await problemsOf({
    json: `{"cairn/tx-log": {"cairn/module": "cairn.nats/->tx-log", ${parameter}}}`,
  });
  expect(problems).toHaveLength(1);
  expect(formatProblems(problems)).toMatch(told);
});

test.each([
  ["stream", ["a.b", "a b", "a*", "", "a\0b", "a\u0007", "\u007f", "\ud800"]],
  ["domain", ["a.b", "a b", "*", "a\0b"]],
  ["inbox-prefix", ["a.*", ">", "a b", ".a", "a.", "a\0b", "a.\u001b", "$JS", "$SYS.x", ""]],
])("a log on NATS refuses invalid values of %s", async (parameter, values) => {
  for (const value of values) {
    const log = { "cairn/module": "cairn.nats/->tx-log", [parameter]: value };
    const problems = await problemsOf({ json: JSON.stringify({ "cairn/tx-log": log }) });
    expect([value, problems]).toMatchObject([value, [{ code: "CONFIG_INVALID" }]]);
  }
});

test.each([
  ["a token", '{"cairn/http-server": {"auth-token": 123454321}}', "123454321"],
  [
    "an address with a password",
    '{"cairn/tx-log": {"cairn/module": "cairn.nats/->tx-log", "servers": "nats://u:hunter2@h:port"}}',
    "hunter2",
  ],
  ["an endpoint with a key", s3('"endpoint": "https://key:hunter2@s3.example.net"'), "hunter2"],
  ["half a key", s3('"credentials": {"secret-access-key": "hunter2"}'), "hunter2"],
  ["text with a broken variable", '{"cairn/http-server": {"auth-token": "s3cret${"}}', "s3cret"],
])("%s of the wrong kind is not repeated in the message", async (_what, json, hidden) => {
  const problems = await problemsOf({ json });
  expect(problems).toHaveLength(1);
  expect(formatProblems(problems)).not.toContain(hidden);
});

test.each([
  ["JSON", { json: "[".repeat(500_000) }],
  ["JSON after a comment with a quote", { json: `/* " */ ${"[".repeat(500_000)}` }],
  ["JSON after a string without an end", { json: `["\n${"[".repeat(500_000)}` }],
  ["JSON with brackets of the wrong kind", { json: "[},".repeat(300_000) }],
  ["EDN", { edn: "[".repeat(300_000) }],
  ["quotes in EDN", { edn: "'".repeat(300_000) }],
  ["discards in EDN", { edn: "#_".repeat(300_000) }],
])("%s nested too deeply is refused", async (_what, input) => {
  const problems = await problemsOf(input);
  expect(problems.map(({ code }) => code)).toEqual(["CONFIG_SYNTAX"]);
});

test("a configuration larger than a megabyte is refused before it is parsed", async () => {
  const [problem] = await problemsOf({ edn: `{:a "${"x".repeat(1024 * 1024)}"}` });
  expect(problem?.message).toBe("A configuration must not be larger than 1048576 bytes.");
});
