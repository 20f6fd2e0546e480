import { describe, expect, test } from "vitest";
import { createSystem } from "../src/create-system.ts";
import { configAsJson, printConfig } from "../src/print-config.ts";
import { configOf, problemsOf, settingsOf } from "./support/read.ts";

const FS = "cairn.checkpoint/->filesystem-checkpoint-store";
const STORE = "cairn/index-store > kv-store > checkpointer > store > path";

describe("precedence:", () => {
  test("-e overrides -j, -j the environment, and the environment the object, key by key", async () => {
    const object = {
      "cairn/http-server": { host: "object", port: 1, "max-body": 1111, "auth-token": "object" },
    };
    const config = await configOf({
      object,
      env: { CAIRN_HTTP_HOST: "env", CAIRN_HTTP_PORT: "2", CAIRN_HTTP_AUTH_TOKEN: "env" },
      json: '{"cairn/http-server": {"port": 3, "auth-token": "json"}}',
      edn: '{:cairn/http-server {:auth-token "edn"}}',
    });
    expect(config.http).toEqual({
      host: "env",
      port: 3,
      maxBody: 1111,
      page: true,
      tokens: [{ source: { text: "edn" }, rights: ["read", "write", "observe", "operate"] }],
    });
    expect(settingsOf(config)).toMatchObject({
      "cairn/http-server > host": ["env", "CAIRN_HTTP_HOST"],
      "cairn/http-server > port": [3, "-j"],
      "cairn/http-server > max-body": [1111, "object"],
      "cairn/http-server > auth-token": ["(secret)", "-e"],
    });
  });

  test("-e changes one value of the built-in default and keeps the others", async () => {
    const edn = '{:cairn/index-store {:kv-store {:checkpointer {:approx-frequency "PT1H"}}}}';
    const { checkpointer } = await createSystem(await configOf({ edn }));
    expect(checkpointer?.approxFrequency).toBe(3_600_000);
    expect(checkpointer?.store.location).toBe("file:///srv/cairn-data/checkpoints");
  });

  test("null removes a value: no checkpoints, no HTTP", async () => {
    const edn = "{:cairn/index-store {:kv-store {:checkpointer nil}} :cairn/http-server nil}";
    const system = await createSystem(await configOf({ edn }));
    expect(system.checkpointer).toBeUndefined();
    expect(system.http).toBeUndefined();
  });

  test("another module from -e drops the parameters of the first one, with a notice", async () => {
    const config = await configOf({
      object: { "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", stream: "s" } },
      edn: "{:cairn/tx-log {:cairn/module cairn.embedded/->tx-log}}",
    });
    expect(config.txLog.id).toBe("cairn.embedded/->tx-log");
    expect(config.notices).toEqual([
      "stream (object) has no effect: -e selects cairn.embedded/->tx-log, which has no such parameter.",
    ]);
  });

  test("another store from -e replaces the default one without a notice", async () => {
    const store = '{:cairn/module cairn.s3/->checkpoint-store :bucket "cairn-dev"}';
    const config = await configOf({
      edn: `{:cairn/index-store {:kv-store {:checkpointer {:store ${store}}}}}`,
    });
    expect(config.notices).toEqual([]);
    expect((await createSystem(config)).checkpointer?.store.location).toBe("s3://cairn-dev");
  });

  test("another kv-store from -e keeps the checkpointer, which both kv-stores have", async () => {
    const config = await configOf({
      edn: "{:cairn/index-store {:kv-store {:cairn/module cairn.memory/->kv-store}}}",
    });
    expect((await createSystem(config)).checkpointer).toBeDefined();
  });

  test("a module in short form takes parameters from a source of higher precedence", async () => {
    const config = await configOf({
      object: { "cairn/index-store": { "kv-store": "cairn.memory/->kv-store" } },
      json: '{"cairn/index-store": {"kv-store": {"db-dir": "/x"}}}',
    });
    expect(config.dbDir).toBe("/x");
    expect(config.kvStore.id).toBe("cairn.memory/->kv-store");
  });
});

const OTHER_KV = "{:cairn/index-store {:kv-store cairn.memory/->kv-store}}";
const UNUSED = "has no effect: a source of higher precedence replaces what names it.";

describe("a source of higher precedence replaces what names a shared module:", () => {
  const store = { "cairn/module": FS, path: "/x" };
  const object = {
    "cairn/tx-log": { "cairn/module": "cairn.log-backup/->tx-log", store: "site/logs" },
    "cairn/index-store": { "kv-store": "site/kv" },
    "site/kv": { checkpointer: "site/cp" },
    "site/cp": { "restore-from": ["site/store"] },
    "site/store": store,
    "site/logs": store,
  };
  const x = '{"cairn/index-store": {"kv-store": {"cairn/module": "x"}}}';
  const all = ["site/kv", "site/cp", "site/store"];

  test.each<[what: string, source: { readonly edn: string; readonly json?: string }, unused: string[]]>([
    ["a module by its name", { edn: OTHER_KV }, all],
    ["a map", { edn: "{:cairn/index-store {:kv-store {:cairn/module cairn.memory/->kv-store}}}" }, all],
    ["null", { edn: "{:cairn/index-store nil}" }, all],
    ["one source after the other", { json: x, edn: OTHER_KV }, all],
    ["null in the shared module", { edn: "{:site/kv {:checkpointer nil}}" }, ["site/cp", "site/store"]],
    [
      "a map with one of its names",
      {
        edn: `{:site/kv {:checkpointer {:cairn/module cairn.checkpoint/->checkpointer :restore-from :site/store}}}`,
      },
      ["site/cp"],
    ],
    [
      "a module that has no such parameter",
      { edn: "{:cairn/tx-log {:cairn/module cairn.embedded/->tx-log}}" },
      ["site/logs"],
    ],
  ])("%s", async (_what, source, unused) => {
    const { notices } = await configOf({ object, ...source });
    expect(notices.filter((notice) => notice.startsWith("site/"))).toEqual(
      unused.map((name) => `${name} (object) ${UNUSED}`),
    );
  });

  test("a module that no source names is still refused", async () => {
    const problems = await problemsOf({ object: { ...object, "site/other": store }, edn: OTHER_KV });
    expect(problems).toMatchObject([{ message: "The module site/other is not used by any parameter." }]);
  });
});

describe("the environment:", () => {
  test("CAIRN_DIR and CAIRN_NODE_ID move everything that has a default location", async () => {
    const env = { CAIRN_DIR: "/data", CAIRN_NODE_ID: "a" };
    const settings = settingsOf(await configOf({ env }));
    expect(settings["cairn/tx-log > path"]).toEqual(["/data/a-log", "default"]);
    expect(settings["cairn/index-store > kv-store > db-dir"]).toEqual(["/data/a-index", "default"]);
    expect(settings[STORE]).toEqual(["/data/checkpoints", "default"]);
  });

  test("CAIRN_INDEX_PATH and CAIRN_CHECKPOINT_PATH override the file, and -j overrides them", async () => {
    const env = { CAIRN_NODE_ID: "a", CAIRN_INDEX_PATH: "/i", CAIRN_CHECKPOINT_PATH: "/c" };
    const object = {
      "cairn/index-store": {
        "kv-store": {
          "db-dir": "/o",
          checkpointer: { "approx-frequency": 1, store: { "cairn/module": FS } },
        },
      },
    };
    const config = await configOf({ env, object });
    expect(config.dbDir).toBe("/i");
    expect(settingsOf(config)[STORE]).toEqual(["/c", "CAIRN_CHECKPOINT_PATH"]);
    expect(
      (await configOf({ env, object, json: '{"cairn/index-store": {"kv-store": {"db-dir": "/j"}}}' })).dbDir,
    ).toBe("/j");
  });

  test("CAIRN_CHECKPOINT_PATH also applies to a store under a top-level key", async () => {
    const object = {
      "cairn/index-store": { "kv-store": { checkpointer: { "approx-frequency": 1, store: "my/store" } } },
      "my/store": { "cairn/module": FS, path: "/o" },
    };
    const config = await configOf({ object, env: { CAIRN_CHECKPOINT_PATH: "/c" } });
    expect(settingsOf(config)["my/store > path"]).toEqual(["/c", "CAIRN_CHECKPOINT_PATH"]);
  });

  test("a variable with nothing to override is reported", async () => {
    const http = { CAIRN_HTTP_HOST: "h", CAIRN_HTTP_PORT: "1", CAIRN_HTTP_AUTH_TOKEN: "t" };
    const env = { CAIRN_CHECKPOINT_PATH: "/c", NATS_URL: "nats://h", ...http };
    const object = {
      "cairn/index-store": {},
      "cairn/tx-log": { "cairn/module": "cairn.embedded/->tx-log" },
      "cairn/http-server": null,
    };
    const { notices } = await configOf({ env, object });
    expect(notices).toEqual([
      "CAIRN_CHECKPOINT_PATH has no effect: there is no filesystem checkpoint store that it could apply to.",
      "NATS_URL has no effect: the transaction log is not a NATS log.",
      ...Object.keys(http).map((name) => `${name} has no effect: there is no HTTP server.`),
    ]);
  });

  test("a variable that others have set for other programs is named as such", async () => {
    const service = await problemsOf({ env: { CAIRN_HTTP_PORT: "tcp://10.96.0.17:80" } });
    expect(service).toMatchObject([{ hint: expect.stringContaining("enableServiceLinks: false") as string }]);
    const commands = await configOf({ env: { CAIRN_AUTH_TOKEN: "of-commands" } });
    expect(commands.notices).toEqual([expect.stringContaining("this node requires no token")]);
    expect(commands.http).not.toHaveProperty("tokens");
    const s3 = { "cairn/module": "cairn.s3/->checkpoint-store", bucket: "bucket", region: "r" };
    const checkpointer = { "approx-frequency": "PT1H", store: s3 };
    const behindProxy = await configOf({
      env: { HTTPS_PROXY: "http://p:1", CAIRN_NODE_ID: " a\n" },
      object: { "cairn/index-store": { "kv-store": { checkpointer } } },
    });
    expect(behindProxy.notices).toContain("HTTPS_PROXY has no effect: nodes connect to S3 directly.");
    expect(behindProxy.nodeId).toBe("a");
  });

  const log = { trim: { keep: "P3D" } };
  test.each<[string, object]>([
    ["no source gives a log", {}],
    ["the log has no module", { object: { "cairn/tx-log": log } }],
    ["-j adds a parameter", { json: JSON.stringify({ "cairn/tx-log": log }) }],
    ["a shared log has no module", { object: { "cairn/tx-log": "our/log", "our/log": log } }],
  ])("NATS_URL selects the NATS log if %s", async (_what, sources) => {
    const config = await configOf({ ...sources, env: { NATS_URL: "nats://a:1, nats://b" } });
    expect(config.txLog.id).toBe("cairn.nats/->tx-log");
    expect(config.notices).toEqual([]);
    const { path = [], value } = config.settings.find((setting) => setting.path.at(-1) === "servers") ?? {};
    expect(value).toEqual(["nats://a:1", "nats://b"]);
    const module = [...path.slice(0, -1), "cairn/module"].join(" > ");
    expect(settingsOf(config)[module]).toEqual(["cairn.nats/->tx-log", "default"]);
    expect((await configOf({ ...sources, env: {} })).txLog.id).toBe("cairn.embedded/->tx-log");
  });

  test("NATS_URL replaces the servers of a NATS log and nothing else", async () => {
    const object = {
      "cairn/tx-log": { "cairn/module": "cairn.nats/->tx-log", servers: ["nats://o"], stream: "s" },
    };
    const settings = settingsOf(await configOf({ object, env: { NATS_URL: "nats://e" } }));
    expect(settings["cairn/tx-log > servers"]).toEqual([["nats://e"], "NATS_URL"]);
    expect(settings["cairn/tx-log > stream"]).toEqual(["s", "object"]);
  });

  test("an empty variable counts as not set", async () => {
    const config = await configOf({
      env: { CAIRN_HTTP_PORT: "", CAIRN_HTTP_AUTH_TOKEN: "", NATS_URL: "", CAIRN_NODE_ID: "a" },
    });
    expect(config.http).toEqual({ host: "127.0.0.1", port: 3000, maxBody: 1_048_576, page: true });
  });

  test("a wrong variable is a problem that names the variable", async () => {
    const problems = await problemsOf({ env: { CAIRN_HTTP_PORT: "http", CAIRN_NODE_ID: "a" } });
    expect(problems).toMatchObject([{ place: "CAIRN_HTTP_PORT", path: ["cairn/http-server", "port"] }]);
  });

  test("variables in strings are expanded, with defaults, and $${ is a literal", async () => {
    const env = { CAIRN_NODE_ID: "a", BASE: "/b", EMPTY: "", PORT: "81", EVERY: "60000" };
    const edn = `{:cairn/node {:dir "\${BASE}/\${NOPE:-x}/\${EMPTY:-y}/\${EMPTY}z/$\${BASE}"}
                  :cairn/http-server {:port "\${PORT}"}
                  :cairn/index-store {:kv-store {:checkpointer {:approx-frequency "\${EVERY}" :keep-dir-on-close? "\${KEEP:-true}"}}}}`;
    const config = await configOf({ env, edn });
    const { checkpointer } = await createSystem(config);
    expect(config.dir).toBe("/b/x/y/z/${BASE}");
    expect(config.http?.port).toBe(81);
    expect(checkpointer).toMatchObject({ approxFrequency: 60_000, keepDirOnClose: true });
  });
});

test("config print shows every value with its origin, and no secret", async () => {
  const config = await configOf({
    env: { CAIRN_NODE_ID: "a", TOKEN: "tok-1", CAIRN_HTTP_PORT: "81" },
    edn: '{:cairn/http-server {:auth-token "${TOKEN}"} :cairn/tx-log {:cairn/module cairn.nats/->tx-log :servers "nats://u:tok-2@h" :token "tok-3"}}',
  });
  const text = printConfig(config);
  expect(text).toMatch(/^cairn\/node\n {2}id = "a" +# CAIRN_NODE_ID$/m);
  expect(text).toMatch(/^ {2}port = 81 +# CAIRN_HTTP_PORT$/m);
  expect(text).toMatch(/^ {2}auth-token = \(secret\) +# -e:1:34, with TOKEN$/m);
  expect(text).toMatch(/^ {2}servers = \["nats:\/\/\(secret\)@h"\] +# -e:1:\d+$/m);
  expect(text).toMatch(
    /^ {6}store\n {8}cairn\/module = .*\n {8}path = "\/srv\/cairn-data\/checkpoints" +# default$/m,
  );
  const json = JSON.stringify(configAsJson(config));
  for (const shown of [text, json]) expect(shown).not.toMatch(/tok-/);
  expect(configAsJson(config).values).toMatchObject({
    "cairn/node": { id: "a" },
    "cairn/http-server": { port: 81 },
  });
});

test.each([
  ["CAIRN_DIR", "'/data/x'", "The value is in quotes.", /^Set CAIRN_DIR to the value without quotes/],
  ["NATS_URL", '"nats://a:4222"', "The value is in quotes.", /^Set NATS_URL to the value without quotes/],
  ["CAIRN_DIR", "${HOME}/x", "The value contains ${HOME}.", /^Set CAIRN_DIR to the whole value/],
  ["CAIRN_DIR", "~/x", 'Expected a path without ~, found "~/x".', /^Write the whole path/],
])("%s=%s, which no shell has changed, is refused", async (name, value, message, hint) => {
  const [problem] = await problemsOf({ env: { [name]: value } });
  expect(problem).toMatchObject({ place: name, message, hint: expect.stringMatching(hint) });
});

test.each(["$TOKEN", "$HOME/x", "%HOME%"])(
  "the text %s, which looks like a variable, is refused",
  async (text) => {
    const env = { HOME: "/root", TOKEN: "/t" };
    const json = JSON.stringify({ "cairn/node": { dir: text } });
    const [problem] = await problemsOf({ json, env });
    expect(problem?.message).toBe("This string looks like a variable of a shell.");
    expect(problem?.hint).toContain("Write a variable as ${NAME}");
    const name = /\w+/.exec(text)?.[0];
    expect(await problemsOf({ json: json.replace(/[$%]\w+%?/, `\${${name}}`), env })).toEqual([]);
  },
);

test.each(["$hunter2", "%hunter2%", "$hunter2/"])(
  "the hint for %s shows no part of it, because it may be a secret, and how to write it as it is",
  async (text) => {
    const nats = { "cairn/module": "cairn.nats/->tx-log", user: "u", password: text };
    const json = JSON.stringify({
      "cairn/tx-log": nats,
      "cairn/http-server": { "auth-token": text },
      "cairn/policies": { indexes: { pods: [text] } },
    });
    const problems = await problemsOf({ json });
    expect(problems).toHaveLength(3);
    expect(JSON.stringify(problems)).not.toContain("hunter2");
    const [, form = ""] =
      /the default of a variable that is not set: (\S+)\.$/.exec(problems[0]?.hint ?? "") ?? [];
    const written = form.replace("TEXT", () => text);
    const { http, policies } = await configOf({ json: json.replaceAll(text, () => written) });
    expect(http && http.tokens?.[0]?.source).toEqual({ text });
    expect(policies).toEqual({ indexes: { pods: [text] } });
  },
);

test("a variable that seems to be mistyped is reported, and those of Kubernetes are not", async () => {
  const env = { CAIRN_HTP_PORT: "1", cairn_dir: "/x", CAIRN_PORT: "tcp://h:1", CAIRN_SERVICE_HOST: "h" };
  const { notices } = await configOf({ env });
  expect(notices).toEqual([
    "CAIRN_HTP_PORT has no effect. Did you mean CAIRN_HTTP_PORT?",
    "cairn_dir has no effect. Did you mean CAIRN_DIR?",
  ]);
});

test("config print shows the modules of maps that name none", async () => {
  const object = {
    "cairn/tx-log": { trim: { keep: "P3D" } },
    "cairn/index-store": {
      "kv-store": { checkpointer: { "restore-from": [{ "cairn/module": FS, path: "/c" }] } },
    },
  };
  const text = printConfig(await configOf({ object }));
  for (const module of [
    "cairn.embedded/->tx-log",
    "cairn.leveldb/->kv-store",
    "cairn.checkpoint/->checkpointer",
  ])
    expect(text).toMatch(new RegExp(`cairn/module = "${module}" +# default$`, "m"));
});

test("config print shows no part of a password with an @", async () => {
  const config = await configOf({ env: { NATS_URL: "nats://u:p@SECRET@h:4222" } });
  expect(printConfig(config)).toContain('servers = ["nats://(secret)@h:4222"]');
  expect(JSON.stringify(config.settings)).not.toContain("SECRET");
});
