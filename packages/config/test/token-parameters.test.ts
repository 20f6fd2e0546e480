import { describe, expect, it } from "vitest";
import { printConfig } from "../src/print-config.ts";
import { readHttpServer } from "../src/read-config.ts";
import { formatProblems } from "../src/source/problems.ts";
import { configOf, problemsOf } from "./support/read.ts";

const ENV = { CAIRN_NODE_ID: "n1", OPS_TOKEN: "ops-value" };

function server(http: object): { json: string; env: typeof ENV } {
  return { json: JSON.stringify({ "cairn/http-server": http }), env: ENV };
}

describe("tokens", () => {
  it("must contain an entry other than null", async () => {
    await expect(configOf(server({ tokens: { app: null } }))).rejects.toMatchObject({
      message: /at least one entry other than null/,
    });
  });

  it("are read by name, with their sources, rights and buckets, and without their values in print", async () => {
    const config = await configOf(
      server({
        tokens: {
          app: { file: "secrets/app", rights: ["read", "write"], buckets: ["orders"] },
          ops: { env: "OPS_TOKEN", rights: "operate" },
        },
        "auth-token": "shorthand",
      }),
    );
    expect(config.http?.tokens).toEqual([
      { name: "app", source: { file: "/srv/secrets/app" }, rights: ["read", "write"], buckets: ["orders"] },
      { name: "ops", source: { env: "OPS_TOKEN", text: "ops-value" }, rights: ["operate"] },
      { source: { text: "shorthand" }, rights: ["read", "write", "observe", "operate"] },
    ]);
    const printed = printConfig(config);
    expect(printed).toContain('file = "/srv/secrets/app"');
    expect(printed).not.toMatch(/ops-value|shorthand/);
  });

  it("mean the same in EDN", async () => {
    const edn =
      '{:cairn/http-server {:tokens {:app {:file "a" :rights [:read :write] :buckets ["orders"]}} :tls {:cert "c" :key "k" :client-ca "ca"}}}';
    const config = await configOf({ edn, env: ENV });
    expect(config.http?.tokens).toEqual([
      { name: "app", source: { file: "/srv/a" }, rights: ["read", "write"], buckets: ["orders"] },
    ]);
    expect(config.http?.tls).toEqual({ cert: "/srv/c", key: "/srv/k", clientCa: "/srv/ca" });
  });

  it.each(["two words", "line\n", "pässword", " "])("of which auth-token is %j are refused", async (text) => {
    const problems = await problemsOf(server({ "auth-token": text }));
    expect(problems).toHaveLength(1);
    expect(formatProblems(problems)).toMatch(
      /auth-token[^]*Expected visible ASCII characters without blanks/,
    );
    expect(formatProblems(problems)).not.toContain(text === " " ? '" "' : text);
  });

  // Every object has a member of the second name.
  it.each([
    ["OPS_TOKEM", "is not set"],
    ["constructor", "is not set"],
    ["EMPTY", "is not set"],
    ["BLANK", "contains no token"],
  ])("in the variable %s, which %s, are refused by a node, and ignored by a command", async (env, found) => {
    const given = {
      json: JSON.stringify({ "cairn/http-server": { tokens: { app: { env, rights: ["read"] } } } }),
      env: { ...ENV, EMPTY: "", BLANK: "a b" },
    };
    expect(await problemsOf({ ...given, isForNode: true })).toMatchObject([
      {
        path: ["cairn/http-server", "tokens", "app", "env"],
        message: `The environment variable ${env} ${found}.`,
        hint: expect.stringContaining("openssl rand -hex 32") as string,
      },
    ]);
    expect(await problemsOf(given)).toEqual([]);
    expect(await readHttpServer({ ...given, cwd: "/srv" }, [])).toMatchObject({ tokens: [{ name: "app" }] });
  });

  it("are removed by a null", async () => {
    const config = await configOf({
      ...server({
        tokens: { app: { file: "a", rights: ["read"] }, ops: { env: "OPS_TOKEN", rights: ["read"] } },
      }),
      edn: "{:cairn/http-server {:tokens {:app nil}}}",
    });
    expect(config.http?.tokens?.map(({ name }) => name)).toEqual(["ops"]);
  });

  it.each([
    [
      "neither file nor env",
      { app: { rights: ["read"] } },
      /must have either file or env\.\n.*Set file to a file/,
    ],
    ["both file and env", { app: { file: "a", env: "B", rights: ["read"] } }, /must have either file or env/],
    ["no rights", { app: { file: "a" } }, /requires the parameter rights/],
    ["an unknown right", { app: { file: "a", rights: ["reed"] } }, /Did you mean read\?/],
    [
      "operate within buckets",
      { app: { file: "a", rights: ["operate"], buckets: ["b"] } },
      /concerns the whole node/,
    ],
    [
      "observe within buckets",
      { app: { file: "a", rights: ["observe"], buckets: ["b"] } },
      /concerns the whole node/,
    ],
    [
      "a bucket that cannot exist",
      { app: { file: "a", rights: ["read"], buckets: ["B"] } },
      /name of a bucket/,
    ],
    ["a name with a blank", { "my app": { file: "a", rights: ["read"] } }, /a name of letters/],
    ["none", {}, /at least one/],
  ])("with %s are rejected", async (_what, tokens, told) => {
    expect(formatProblems(await problemsOf(server({ tokens })))).toMatch(told);
  });

  it.each([
    ["a token in place of its source", { tokens: { app: "5ecret" } }],
    ["a token of digits", { tokens: { app: 53637265740 } }],
    ["a token in place of all tokens", { tokens: "5ecret" }],
    ["a token in place of the server", "5ecret"],
  ])("are not printed if there is %s", async (_what, http) => {
    const json = JSON.stringify({ "cairn/http-server": http });
    const told = formatProblems(await problemsOf({ json, env: ENV }));
    expect(told).toMatch(/found (?:text|a number)\./);
    expect(told).not.toMatch(/5ecret|53637265740/);
  });

  it("do not print an identity of age in place of a recipient", async () => {
    const encryption = { "key-file": "k", recipients: ["AGE-SECRET-KEY-1QQQQ"] };
    const store = { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: "/c" };
    const json = JSON.stringify({
      "cairn/index-store": { "kv-store": { checkpointer: { store, encryption } } },
    });
    const told = formatProblems(await problemsOf({ json, env: ENV }));
    expect(told).toMatch(/Expected a recipient of age/);
    expect(told).not.toMatch(/AGE-SECRET-KEY/);
  });
});
