import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { s3Store } from "@cairn/checkpoint-s3";
import type { CheckpointerOptions } from "@cairn/checkpoint";
import { Duration } from "luxon";
import { expect, onTestFinished, test } from "vitest";
import type { ConfigInput } from "../src/config-sources.ts";
import type { System } from "@cairn/engine";
import { createSystem } from "../src/create-system.ts";
import { MODULES } from "../src/modules/modules.ts";
import { configOf, problemsOf } from "./support/read.ts";

const FS = "cairn.checkpoint/->filesystem-checkpoint-store";
const DAY = 86_400_000;
/** A key file with the identity of a test vector of age. */
const KEY_FILE = join(import.meta.dirname, "fixtures", "age-identity.txt");

/** The options that the node receives from the checkpointer's map. */
type Options = CheckpointerOptions & Pick<System, "logBackup">;

/**
 * A parameter in the syntax of each source, the option that the checkpointer receives, and a value that is rejected.
 */
interface Case {
  readonly json: unknown;
  readonly edn: string;
  /** The value for a program, if it differs from the JSON. */
  readonly object?: unknown;
  readonly got: Partial<Record<keyof Options | "encryption" | "waitForStoreMs", unknown>>;
  /** The options if the parameter is omitted. */
  readonly byDefault: Partial<Record<keyof Options | "encryption" | "waitForStoreMs", unknown>>;
  readonly wrong: unknown;
}

const CASES: Readonly<Record<string, Case>> = {
  "approx-frequency": {
    json: "PT0.5S",
    edn: "(Duration/ofMillis 500)",
    object: Duration.fromMillis(500),
    got: { approxFrequency: 500 },
    byDefault: {},
    wrong: "PT7D",
  },
  store: {
    json: { "cairn/module": FS, path: "/b" },
    edn: `{:cairn/module ${FS} :path "/b"}`,
    got: { store: "file:///b" },
    byDefault: {},
    wrong: "cairn.memory/->kv-store",
  },
  "restore-from": {
    json: [{ "cairn/module": FS, path: "/m" }],
    edn: `[{:cairn/module ${FS} :path "/m"}]`,
    got: { restoreFrom: ["file:///m"] },
    byDefault: { restoreFrom: undefined },
    wrong: [],
  },
  "wait-for-store": {
    json: "PT1H",
    edn: "(Duration/ofHours 1)",
    object: Duration.fromObject({ hours: 1 }),
    got: { waitForStoreMs: 3_600_000 },
    byDefault: { waitForStoreMs: 600_000 },
    wrong: "soon",
  },
  "verify-every": {
    json: "P1D",
    edn: "(Duration/ofDays 1)",
    object: Duration.fromObject({ days: 1 }),
    got: { verifyEvery: DAY },
    byDefault: { verifyEvery: undefined },
    wrong: "daily",
  },
  "log-backup": {
    json: { every: "PT1M", keep: "P30D" },
    edn: '{:every (Duration/ofMinutes 1) :keep "P30D"}',
    object: { every: Duration.fromObject({ minutes: 1 }), keep: "P30D" },
    got: { logBackup: { every: 60_000, keep: 30 * DAY, codec: "none" } },
    byDefault: { logBackup: undefined },
    wrong: { every: "PT1M", keep: "some" },
  },
  encryption: {
    json: { "key-file": KEY_FILE, "accept-plain?": true },
    edn: `{:key-file "${KEY_FILE}" :accept-plain? true}`,
    got: { encryption: { identities: 1, recipients: 1, acceptPlain: true } },
    byDefault: { encryption: undefined },
    wrong: { "key-file": KEY_FILE, recipients: ["age1nobody"] },
  },
  "checkpoint-dir": {
    json: "/captures",
    edn: '"/captures"',
    got: { checkpointDir: "/captures" },
    byDefault: { checkpointDir: "/srv/cairn-data/n1-index/capture" },
    wrong: 7,
  },
  "keep-dir-between-checkpoints?": {
    json: false,
    edn: "false",
    got: { keepDirBetweenCheckpoints: false },
    byDefault: { keepDirBetweenCheckpoints: true },
    wrong: "perhaps",
  },
  "keep-dir-on-close?": {
    json: true,
    edn: "true",
    got: { keepDirOnClose: true },
    byDefault: { keepDirOnClose: false },
    wrong: 1,
  },
  "retention-policy": {
    json: { "retain-newer-than": "P7D", "retain-at-least": "${THREE}" },
    edn: '{:retain-newer-than "P7D" :retain-at-least "${THREE}"}',
    got: { retentionPolicy: { retainNewerThan: 7 * DAY, retainAtLeast: 3 } },
    byDefault: { retentionPolicy: undefined },
    wrong: { "retain-at-least": 0 },
  },
  "refresh-after": {
    json: 604_800_000,
    edn: "(Duration/ofHours 168)",
    got: { refreshAfter: 7 * DAY },
    byDefault: { refreshAfter: undefined },
    wrong: -1,
  },
  "checkpoint-on-close?": {
    json: true,
    edn: "true",
    got: { checkpointOnClose: true },
    byDefault: { checkpointOnClose: false },
    wrong: "yes please",
  },
  compression: {
    json: "gzip",
    edn: ":gzip",
    object: "gzip",
    got: { compression: "gzip" },
    byDefault: { compression: "none" },
    wrong: "zip",
  },
};

const PARAMETERS = Object.entries(CASES);
const BASE = { "approx-frequency": "PT6H", store: { "cairn/module": FS, path: "/a" } };

function wholeJson(change: object): string {
  return JSON.stringify(wrapped({ ...BASE, ...change }));
}

function wrapped(checkpointer: object): object {
  return { "cairn/index-store": { "kv-store": { checkpointer } } };
}

/** Returns the options that the checkpointer receives. Stores are represented by their locations. */
async function optionsOf(input: Partial<ConfigInput>): Promise<Record<string, unknown>> {
  const { checkpointer, logBackup, waitForStoreMs } = await createSystem(
    await configOf({ env: ENV, ...input }),
  );
  if (checkpointer === undefined) throw new Error("there is no checkpointer");
  const { store, restoreFrom, ...rest } = checkpointer;
  return {
    ...rest,
    logBackup,
    waitForStoreMs,
    store: store.location,
    encryption: store.encryption && {
      identities: store.encryption.identities.length,
      recipients: store.encryption.recipients.length,
      acceptPlain: store.encryption.acceptPlain,
    },
    ...(restoreFrom === undefined ? {} : { restoreFrom: restoreFrom.map(({ location }) => location) }),
  };
}

const ENV = { CAIRN_NODE_ID: "n1", THREE: "3" };

async function fileOf(name: string, text: string): Promise<{ file: string }> {
  const dir = await mkdtemp(join(tmpdir(), "cairn-parameters-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const file = join(dir, name);
  await writeFile(file, text);
  return { file };
}

test("every parameter of the checkpointer is tested here", () => {
  const checkpointer = MODULES.find(({ kind }) => kind === "checkpointer");
  expect(Object.keys(CASES).toSorted()).toEqual(Object.keys(checkpointer?.parameters ?? {}).toSorted());
});

test.each(PARAMETERS)(
  "%s means the same in a file, on the command line and in a program",
  async (name, one) => {
    const json = wholeJson({ [name]: one.json });
    const edn = `{:cairn/index-store {:kv-store {:checkpointer {:approx-frequency "PT6H" :store {:cairn/module ${FS} :path "/a"}}}}}`;
    const changed = `{:cairn/index-store {:kv-store {:checkpointer {:${name} ${one.edn}}}}}`;
    const sources: Partial<ConfigInput>[] = [
      await fileOf("cairn.json", json),
      { ...(await fileOf("cairn.edn", edn)), edn: changed },
      await fileOf("cairn.edn", ednFile(name, one.edn)),
      { json },
      { object: wrapped({ ...BASE, [name]: one.object ?? one.json }) },
      { object: wrapped(BASE), json: JSON.stringify(wrapped({ [name]: one.json })) },
    ];
    for (const source of sources) expect(await optionsOf(source)).toMatchObject(one.got);
  },
);

test.each(PARAMETERS)("%s has its default", async (_name, one) => {
  const options = await optionsOf({ object: wrapped(BASE) });
  for (const [key, value] of Object.entries(one.byDefault)) expect(options[key]).toEqual(value);
});

test.each(PARAMETERS)("a wrong %s is refused with its position", async (name, one) => {
  const problems = await problemsOf({ json: wholeJson({ [name]: one.wrong }) });
  expect(problems.length).toBeGreaterThan(0);
  for (const problem of problems) {
    expect(problem.path.join(" > ")).toContain(`checkpointer > ${name}`);
    expect(problem.message).not.toBe("");
  }
});

test.each(["approx-frequency", "store"])("a checkpointer without %s is a problem", async (name) => {
  const rest = Object.fromEntries(Object.entries(BASE).filter(([key]) => key !== name));
  const problems = await problemsOf({ object: wrapped(rest) });
  expect(problems.map(({ message }) => message).join()).toContain(`requires the parameter ${name} (`);
});

test("segments are kept for a week by default, forever if the log is trimmed, and compressed like archives", async () => {
  const backedUp = wrapped({ ...BASE, "log-backup": { every: "PT1M" }, compression: "gzip" });
  const untrimmed = await optionsOf({ object: backedUp });
  const trimmed = await optionsOf({ object: { ...backedUp, "cairn/tx-log": { trim: { keep: "PT1H" } } } });
  expect(untrimmed["logBackup"]).toEqual({ every: 60_000, keep: 7 * DAY, codec: "gzip" });
  expect(trimmed["logBackup"]).toEqual({ every: 60_000, keep: "all", codec: "gzip" });
});

test("a log backup whose parameters contradict each other is a problem", async () => {
  const keeping = (keep: string): object => wrapped({ ...BASE, "log-backup": { every: "PT1H", keep } });
  expect(await problemsOf({ object: keeping("PT1M") })).toMatchObject([
    { message: expect.stringContaining("keep is shorter than every"), hint: expect.stringContaining("P7D") },
  ]);
  expect(await problemsOf({ object: keeping("PT1H") })).toEqual([]);
  const reader = {
    ...wrapped({ ...BASE, "log-backup": { every: "PT1H" } }),
    "cairn/tx-log": {
      "cairn/module": "cairn.log-backup/->tx-log",
      store: { "cairn/module": FS, path: "/a" },
    },
  };
  expect(await problemsOf({ object: reader })).toMatchObject([
    {
      path: ["cairn/index-store", "kv-store", "checkpointer", "log-backup"],
      message: expect.stringContaining("cannot back the log up"),
      hint: expect.stringContaining("Remove log-backup"),
    },
  ]);
});

test.each([
  [{ "log-backup": { every: "PT1M" } }, undefined],
  [{ "log-backup": { every: "PT1M", keep: "all" } }, undefined],
  [{ "log-backup": { every: "PT1M", keep: "P7D" } }, "no effect without verify-every"],
  [{ "log-backup": { every: "PT1M", keep: "P7D" }, "verify-every": "P1D" }, undefined],
  [{ "log-backup": { every: "PT1M", keep: "PT1H" }, "verify-every": "P1D" }, "shorter than approx-frequency"],
])("with a trimmed log, %j causes the notice %s", async (change, notice) => {
  const object = {
    ...wrapped({ ...BASE, "approx-frequency": "PT6H", ...change }),
    "cairn/tx-log": { trim: { keep: "PT1H" } },
  };
  const { notices } = await configOf({ object });
  expect(notices).toEqual(notice === undefined ? [] : [expect.stringContaining(notice)]);
});

test("a read-only store can be restored from, but not saved to", async () => {
  const readOnly = { "cairn/module": "cairn.s3/->checkpoint-store", bucket: "b-1", "read-only?": true };
  for (const change of [
    wrapped({ ...BASE, store: readOnly }),
    { ...wrapped({ ...BASE, store: "s" }), s: readOnly },
  ]) {
    expect(await problemsOf({ object: change })).toMatchObject([
      {
        path: ["cairn/index-store", "kv-store", "checkpointer", "store"],
        message: "The store in which checkpoints are saved is read-only.",
        hint: expect.stringContaining("restore-from"),
      },
    ]);
  }
  expect(await problemsOf({ object: wrapped({ ...BASE, "restore-from": [readOnly] }) })).toEqual([]);
});

test("a program's own read-only store is refused as the store for saving, before anything is created", async () => {
  const store = s3Store({ bucket: "b-1", readOnly: true });
  const config = await configOf({ object: wrapped({ ...BASE, store }) });
  await expect(createSystem(config)).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    hint: expect.any(String),
  });
});

test("a checkpointer with only restore-from restores but saves nothing", async () => {
  const mirror = { "cairn/module": FS, path: "/m" };
  const system = await createSystem(
    await configOf({ object: wrapped({ "restore-from": [mirror] }), env: ENV }),
  );
  expect(system.checkpointer).toBeUndefined();
  expect(system.restoreFrom?.map(({ location }) => location)).toEqual(["file:///m"]);
  for (const change of [
    { "verify-every": "P1D" },
    { "log-backup": { every: "PT1M" } },
    { "approx-frequency": "P1D" },
  ]) {
    expect(await problemsOf({ object: wrapped({ "restore-from": [mirror], ...change }) })).toMatchObject([
      {
        message: expect.stringContaining("requires the parameter store"),
        hint: expect.stringContaining("restore-from"),
      },
    ]);
  }
});

function ednFile(name: string, value: string): string {
  const base = new Map([
    ["approx-frequency", '"PT6H"'],
    ["store", `{:cairn/module ${FS} :path "/a"}`],
    [name, value],
  ]);
  const entries = [...base].map(([key, text]) => `:${key} ${text}`).join(" ");
  return `{:cairn/index-store {:kv-store {:checkpointer {${entries}}}}}`;
}
