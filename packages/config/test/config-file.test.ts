import { mkdtemp, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createSystem } from "../src/create-system.ts";
import { configOf, problemsOf, settingsOf } from "./support/read.ts";

let cwd: string;

beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), "cairn-config-"));
});

afterEach(async () => {
  await rm(cwd, { recursive: true });
});

test("without a file, the built-in default is used, and nothing is created on disk", async () => {
  const config = await configOf({ cwd });
  const system = await createSystem(config);

  expect(config.txLog.id).toBe("cairn.embedded/->tx-log");
  expect(system.dbDir).toBe(join(cwd, "cairn-data/n1-index"));
  expect(system.checkpointer?.store.location).toBe(`file://${cwd}/cairn-data/checkpoints`);
  expect(system.checkpointer?.approxFrequency).toBe(6 * 3_600_000);
  expect(system.http).toEqual({ host: "127.0.0.1", port: 3000, maxBody: 1_048_576, page: true });
  expect(await readdir(cwd)).toEqual([]);
});

test("cairn.edn in the working directory takes precedence over cairn.json", async () => {
  await writeFile(join(cwd, "cairn.json"), '{"cairn/http-server": {"port": 1}}');
  expect((await configOf({ cwd })).http?.port).toBe(1);
  await writeFile(join(cwd, "cairn.edn"), "{:cairn/http-server {:port 2}}");
  expect((await configOf({ cwd })).http?.port).toBe(2);
  expect((await configOf({ cwd, file: "cairn.json" })).http?.port).toBe(1);
});

test("a named file that does not exist is an error, even if there is a default one", async () => {
  await writeFile(join(cwd, "cairn.edn"), "{}");
  const [problem] = await problemsOf({ cwd, file: "nope.edn" });
  expect(problem).toMatchObject({
    code: "CONFIG_NOT_FOUND",
    place: "nope.edn",
    hint: `Check the path: ${join(cwd, "nope.edn")}.`,
  });
});

test.each(["cairn.yaml", "cairn", "cairn.edn.bak"])(
  "a file named %s is refused because of its ending",
  async (file) => {
    await writeFile(join(cwd, file), "{}");
    const [problem] = await problemsOf({ cwd, file });
    expect(problem?.message).toBe("A configuration file's name must end in .edn or .json.");
  },
);

test("the ending begins at the last dot, and its case does not matter", async () => {
  await writeFile(join(cwd, "my.conf.EDN"), "{:cairn/http-server {:port 7}}");
  expect((await configOf({ cwd, file: "my.conf.EDN" })).http?.port).toBe(7);
});

test("a folder instead of a file is refused as a folder", async () => {
  await mkdir(join(cwd, "x.edn"));
  const [problem] = await problemsOf({ cwd, file: "x.edn" });
  expect(problem?.code).toBe("CONFIG_INVALID");
  expect(problem?.message).toContain("EISDIR");
});

test("a byte order mark and Windows line ends change neither meaning nor positions", async () => {
  await writeFile(join(cwd, "a.json"), '\uFEFF{"cairn/http-server":\r\n{"port": 5}}');
  await writeFile(join(cwd, "b.edn"), "\uFEFF{:cairn/http-server\r\n{:port :x}}");
  expect((await configOf({ cwd, file: "a.json" })).http?.port).toBe(5);
  expect((await problemsOf({ cwd, file: "b.edn" })).map(({ place }) => place)).toEqual(["b.edn:2:8"]);
});

test("a file that is not UTF-8 is refused", async () => {
  await writeFile(join(cwd, "latin.json"), Buffer.from('{"cairn/node": {"id": "\xe4"}}', "latin1"));
  const [problem] = await problemsOf({ cwd, file: "latin.json" });
  expect(problem).toMatchObject({ code: "CONFIG_SYNTAX", message: "The file is not UTF-8 text." });
});

test("a file larger than a megabyte is refused without being read", async () => {
  await writeFile(join(cwd, "big.json"), Buffer.alloc(1024 * 1024 + 1, 0x20));
  const [problem] = await problemsOf({ cwd, file: "big.json" });
  expect(problem?.message).toBe("A configuration must not be larger than 1048576 bytes.");
});

test("a top-level key that is absent from a file has its default, and one that is given has only its own values", async () => {
  await writeFile(
    join(cwd, "cairn.json"),
    '{"cairn/index-store": {"kv-store": {"cairn/module": "cairn.memory/->kv-store"}}}',
  );
  const system = await createSystem(await configOf({ cwd }));
  expect(system.checkpointer).toBeUndefined();
  expect(system.kvProvider.persistent).toBe(false);
  expect(system.http?.port).toBe(3000);
});

test("relative paths are relative to the working directory, not to the file", async () => {
  await mkdir(join(cwd, "etc"));
  await writeFile(
    join(cwd, "etc/cairn.json"),
    '{"cairn/node": {"dir": "data"}, "cairn/index-store": {"kv-store": {"db-dir": "index"}}}',
  );
  const config = await configOf({ cwd, file: "etc/cairn.json" });
  expect(config.dir).toBe(join(cwd, "data"));
  expect(config.dbDir).toBe(join(cwd, "index"));
  expect(settingsOf(config)["cairn/tx-log > path"]).toEqual([join(cwd, "data/n1-log"), "default"]);
});

test("a file may name its schema for editors", async () => {
  const config = await configOf({
    cwd,
    json: '{"$schema": "./cairn.schema.json", "cairn/http-server": {"port": 1}}',
  });
  expect(config.http && config.http.port).toBe(1);
  expect(Object.keys(settingsOf(config)).filter((path) => path.includes("schema"))).toEqual([]);
});

const NO_FILES = ["file:///tmp/a%zz", "file:///%2f", "file://host/x", "file://", "file:a", "FILE:/a"];

test.each([...NO_FILES, "file:///data/a#1", "file:///data/a?x", "file:/a#1"])(
  "%s is not a path on this machine",
  async (dir) => {
    await writeFile(join(cwd, "a.json"), JSON.stringify({ "cairn/node": { dir } }));
    const [problem] = await problemsOf({ cwd, file: "a.json" });
    expect(problem?.message).toContain("Expected a path on this machine");
    expect(problem?.hint).toContain("with ? as %3F and # as %23");
  },
);

test.each([
  ["file:///data", "/data"],
  ["file:/data", "/data"],
  ["file:///data/a%231%3F", "/data/a#1?"],
  ["/data/a#1?", "/data/a#1?"],
])("%s is the path %s", async (dir, path) => {
  await writeFile(join(cwd, "a.json"), JSON.stringify({ "cairn/node": { dir } }));
  expect((await configOf({ cwd, file: "a.json" })).dir).toBe(path);
});

test.each(["127.0.0.1:3000", "[::1]", "http://localhost", "a b"])("%j is not a host", async (host) => {
  await writeFile(join(cwd, "a.json"), JSON.stringify({ "cairn/http-server": { host } }));
  const [problem] = await problemsOf({ cwd, file: "a.json" });
  expect(problem?.message).toContain("Expected an address or a name without a port");
});

test.each(["127.0.0.1", "::", "fe80::1%eth0", "::ffff:127.0.0.1", "node-7.internal"])(
  "%j is a host",
  async (host) => {
    await writeFile(join(cwd, "a.json"), JSON.stringify({ "cairn/http-server": { host } }));
    expect((await configOf({ cwd, file: "a.json" })).http?.host).toBe(host);
  },
);

const FOLDER = "cairn.checkpoint/->filesystem-checkpoint-store";
const AT = "cairn/index-store > kv-store > checkpointer > store";

/** Returns the EDN of a configuration with this value at {@link AT}. */
function storeAt(value: string, more = ""): string {
  return `{:cairn/index-store {:kv-store {:checkpointer {:store ${value} ${more}}}}}`;
}

/** A file whose store is the shared module `site/store`, by that name. */
async function withShared(name: string): Promise<{ cwd: string; file: string }> {
  const named = storeAt(name, ':approx-frequency "PT1H"').slice(0, -1);
  await writeFile(join(cwd, "a.edn"), `${named} :site/store {:cairn/module ${FOLDER} :path "/x"}}`);
  return { cwd, file: "a.edn" };
}

test("a shared module that is null where a parameter names it is refused with both places", async () => {
  const input = await withShared(":site/store");
  expect(await problemsOf({ ...input, edn: "{:site/store nil}" })).toEqual([
    {
      code: "CONFIG_INVALID",
      path: ["site/store"],
      place: "-e:1:14",
      message: `site/store is null, but ${AT} names it.`,
      hint: `Write a module in the place of null, or in the place of "site/store" at ${AT}.`,
    },
  ]);
  const module = `{:cairn/module ${FOLDER} :path "/y"}`;
  expect(await problemsOf({ ...input, edn: `{:site/store ${module}}` })).toEqual([]);
  const replaced = storeAt(module).replace(/}$/, " :site/store nil}");
  expect(await problemsOf({ ...input, edn: replaced })).toEqual([]);
});

test.each(['"site/store"', ":site/store"])("%s gets no parameters at its name", async (name) => {
  const input = await withShared(name);
  // A map of a stronger source is merged with the name.
  for (const map of ['{:path "/y"}', `{:cairn/module ${name} :path "/y"}`])
    expect(await problemsOf({ ...input, edn: storeAt(map) })).toMatchObject([
      {
        place: expect.stringMatching(/^-e/),
        path: AT.split(" > "),
        message: "site/store is a shared module, which has its parameters in the key of that name.",
        hint: 'Write path in the key "site/store", and the name "site/store" in the place of this map.',
      },
    ]);
  expect(await problemsOf({ ...input, edn: storeAt(`{:cairn/module ${name}}`) })).toMatchObject([
    { hint: 'Write "site/store" in the place of the map.' },
  ]);
  const { settings } = await configOf({ ...input, edn: '{:site/store {:path "/y"}}' });
  expect(settings).toContainEqual(expect.objectContaining({ path: ["site/store", "path"], value: "/y" }));
  expect(await problemsOf({ ...input, edn: storeAt('"site/store"') })).toEqual([]);
});
