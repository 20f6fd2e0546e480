import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Json } from "@cairn/client";
import { CairnError, Deadline } from "@cairn/kv";
import { parseRows, type AskedIndex, queryIndex } from "@cairn/engine/src/own-indexes/queries/index-queries";
import { indexNamed } from "@cairn/engine/src/own-indexes/own-indexes";
import type { IndexQuery, ServedIndex, QueryLimits } from "@cairn/engine/src/own-indexes/own-index";
import type { QueryRun } from "@cairn/engine/src/own-indexes/queries/asked-query";
import { QueryProcesses } from "@cairn/engine/src/own-indexes/queries/query-processes";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

const URL_OF_MODULE = new URL("answering-index.mjs", import.meta.url).href;
const CLOSED = new CairnError("NOT_READY", "The node was closed.");
const LIMITS: QueryLimits = { timeoutMs: 10_000, rows: 100, bytes: 1_000_000 };

let root = "";
let processes: QueryProcesses;
let logged: Record<string, unknown>[] = [];

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), "cairn-queries-"));
  await write([["a", 1]]);
  logged = [];
  const lines = { write: (line: string) => logged.push(JSON.parse(line) as Record<string, unknown>) };
  processes = new QueryProcesses(pino({}, lines));
});

afterEach(async () => {
  await processes.close(CLOSED);
  await rm(root, { recursive: true });
});

async function write(rows: Json): Promise<void> {
  await writeFile(path.join(root, "rows.json"), JSON.stringify({ position: "7-0123456789ab", rows }));
}

function served(changes: Partial<ServedIndex["module"]> & ServedIndex["options"] = {}): ServedIndex {
  const { url = URL_OF_MODULE, export: exported = "answeringIndex", ...options } = changes;
  return {
    module: { url: String(url), export: String(exported) },
    options,
    context: { name: "orders", version: 1, dir: root },
  };
}

async function ask(
  text: string,
  { args = [], index = served(), limits = {}, ...run }: Asked = {},
): ReturnType<typeof parseRows> {
  const settings = { limits: { ...LIMITS, ...limits }, time: new Deadline(30_000), ...run };
  return await parseRows(await processes.run(() => index, { text, args }, settings));
}

interface Asked extends Partial<Omit<QueryRun, "limits">> {
  readonly args?: readonly Json[];
  readonly index?: ServedIndex;
  readonly limits?: Partial<QueryLimits>;
}

/** Has processes answer quickly: such processes get several queries at once. */
async function becomeQuick(): Promise<void> {
  for (let round = 0; round < 2; round += 1) await Promise.all([ask("rows"), ask("rows")]);
}

async function pidOf(): Promise<number> {
  return (await ask("about")).rows[0]?.[0] as number;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe("a query of an own index", () => {
  it("is answered as of a transaction, by a process that may only read and is used again", async () => {
    expect(await ask("rows")).toEqual({ txId: 7, columns: ["value", "more"], rows: [["a", 1]], more: false });
    const args = [1, null, "é", { a: [true] }];
    expect((await ask("args", { args })).rows).toEqual([[args]]);
    expect((await ask("later")).rows).toEqual([["a", 1]]);
    const [[pid, readOnly] = []] = (await ask("about")).rows;
    expect(readOnly).toBe(true);
    expect(pid).not.toBe(process.pid);
    expect(await pidOf()).toBe(pid);
  });

  it("is answered without the node's secrets", async () => {
    vi.stubEnv("CAIRN_AUTH_TOKEN", "secret");
    try {
      const [[, , names] = []] = (await ask("about")).rows;
      expect(names).toContain("PATH");
      expect(names).not.toContain("CAIRN_AUTH_TOKEN");
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it("is answered from the new files after the old ones were released", async () => {
    await ask("rows");
    await processes.release(root);
    await write([["b", 2]]);
    expect((await ask("rows")).rows).toEqual([["b", 2]]);
  });

  it("passes on what its module reports", async () => {
    await ask("notice");
    expect(logged).toEqual([expect.objectContaining({ msg: "something to know" })]);
  });

  it("returns the first of endless rows, and says that there are more", async () => {
    const { rows, more } = await ask("endless");
    expect([rows.length, more]).toEqual([100, true]);
    expect((await ask("rows", { limits: { rows: 1 } })).more).toBe(false);
  });

  it("is refused once its rows exceed the limit of bytes, and its process is kept", async () => {
    const pid = await pidOf();
    await expect(ask("wide", { args: [3, 500_000] })).rejects.toMatchObject({ code: "QUERY_LIMIT" });
    expect(await pidOf()).toBe(pid);
  });

  it.each([
    ["a row is an object", ["a"], [{ a: 1 }]],
    ["a row is null", ["a"], [null]],
    ["a row is a text", ["a"], ["text"]],
    ["a row has too many values", ["a"], [[1], [1, 2]]],
    ["a row has too few values", ["a", "b"], [[1]]],
    ["there are no columns", null, []],
    ["the columns are a text", "ab", []],
    ["a column is a number", ["a", 1], []],
    ["the rows are a number", ["a"], 5],
    ["there are no rows", ["a"], null],
  ])("fails because of its module if %s", async (_, ...odd) => {
    await expect(ask("odd", { args: odd })).rejects.toMatchObject({
      code: "OWN_INDEX_FAILED",
      hint: expect.stringMatching(/correct the module of the index/i) as unknown,
    });
  });

  it("is ended at its time limit, and the next one is answered", async () => {
    const pid = await pidOf();
    const begun = performance.now();
    await expect(ask("loop", { limits: { timeoutMs: 200 } })).rejects.toMatchObject({ code: "QUERY_LIMIT" });
    expect(performance.now() - begun).toBeLessThan(1_000);
    expect((await ask("rows")).rows).toEqual([["a", 1]]);
    await vi.waitFor(() => expect(isAlive(pid)).toBe(false));
    expect(logged).toEqual([]);
  });

  it("is ended when it is aborted", async () => {
    const pid = await pidOf();
    const aborting = new AbortController();
    const asked = ask("loop", { signal: aborting.signal });
    aborting.abort(new Error("the client has left"));
    await expect(asked).rejects.toThrow("the client has left");
    await vi.waitFor(() => expect(isAlive(pid)).toBe(false));
  });

  it.each([
    ["abort", "last words"],
    ["memory", "heap"],
    ["native", ""],
  ])("alone fails if it ends its process (%s)", { tags: "rest/slow" }, async (text, lastWords) => {
    const other = ask("later");
    const unhurried = { limits: { timeoutMs: 120_000 }, time: new Deadline(120_000) };
    await expect(ask(text, unhurried)).rejects.toMatchObject({ code: "QUERY_LIMIT" });
    await other;
    expect((await ask("rows")).rows).toEqual([["a", 1]]);
    const stderr = expect.stringMatching(lastWords) as string;
    expect(logged).toEqual([expect.objectContaining({ stderr })]);
  });

  it.each([
    ["OWN_INDEX_FAILED", "fails", served()],
    ["OWN_INDEX_FAILED", "rows", served({ failsToOpen: true })],
    ["OWN_INDEX_FAILED", "rows", served({ export: "none" })],
    ["OWN_INDEX_FAILED", "rows", served({ url: "file:///none.mjs" })],
    ["REQUEST_INVALID", "rows", served({ export: "silentIndex" })],
  ])("fails with %s (%s)", async (code, text, index) => {
    const faulty = { ...index, context: { ...index.context, dir: text === "fails" ? root : "other" } };
    await expect(ask(text, { index: faulty })).rejects.toMatchObject({ code });
    expect((await ask("rows")).rows).toEqual([["a", 1]]);
  });

  it("is answered while others run forever, as are 50 at once", async () => {
    const limits = { timeoutMs: 60_000 };
    const runaways = [ask("loop", { limits }), ask("loop", { limits })].map((one) =>
      one.catch((error: unknown) => error),
    );
    const all = await Promise.all(Array.from({ length: 50 }, () => ask("rows")));
    expect(all.map(({ rows }) => rows)).toEqual(Array.from({ length: 50 }, () => [["a", 1]]));
    await processes.close(CLOSED);
    for (const one of runaways) expect(await one).toMatchObject({ code: "NOT_READY" });
  });

  it("is refused if all processes are busy for longer than it may take", async () => {
    const runaways = [ask("loop"), ask("loop")].map((one) => one.catch((error: unknown) => error));
    const asked = ask("rows", { time: new Deadline(100) });
    await expect(asked).rejects.toMatchObject({ code: "OVERLOADED" });
    await processes.close(CLOSED);
    for (const one of runaways) expect(await one).toMatchObject({ code: "NOT_READY" });
    await expect(ask("rows")).rejects.toMatchObject({ code: "NOT_READY" });
  });

  it("is answered by another process if the one that it was sent to turns out to be slow, or ends", async () => {
    const limits = { timeoutMs: 60_000 };
    await becomeQuick();
    const runaway = ask("loop", { limits }).catch((error: unknown) => error);
    const aborted = ask("abort").catch((error: unknown) => error);
    const all = await Promise.all(Array.from({ length: 50 }, () => ask("rows")));
    expect(all.map(({ rows }) => rows)).toEqual(Array.from({ length: 50 }, () => [["a", 1]]));
    expect(await aborted).toMatchObject({ code: "QUERY_LIMIT" });
    await processes.close(CLOSED);
    expect(await runaway).toMatchObject({ code: "NOT_READY" });
  });

  it(
    "waits for one of two processes, however many have been started beside long queries",
    { tags: "rest/slow" },
    async () => {
      await becomeQuick();
      const long = [ask("busy", { args: [4_000] }), ask("busy", { args: [4_000] })];
      await delay(550);
      await becomeQuick();
      const pids = await Promise.all([pidOf(), pidOf()]);
      await Promise.all(long);
      await becomeQuick();
      expect(pids).not.toContain(await pidOf());
      const begun = performance.now();
      await Promise.all(Array.from({ length: 4 }, () => ask("busy", { args: [200] })));
      expect(performance.now() - begun).toBeGreaterThan(390);
    },
  );

  it("runs once, although it was sent to a slow process before another one answered it", async () => {
    const begun = path.join(root, "begun");
    await becomeQuick();
    const busy = [ask("busy", { args: [300] }), ask("busy", { args: [300] })];
    const others = Array.from({ length: 6 }, () => ask("note", { args: [begun] }));
    await Promise.all([...busy, ...others]);
    // Whatever the processes have still received is done by then.
    await Promise.all([ask("rows"), ask("rows"), ask("rows")]);
    expect(await readFile(begun, "utf8")).toBe("n".repeat(6));
  });

  it("runs once, although its process got no processor time until another one answered it", async () => {
    const begun = path.join(root, "begun");
    await becomeQuick();
    const pid = await pidOf();
    process.kill(pid, "SIGSTOP");
    const asked = Array.from({ length: 8 }, () => ask("note", { args: [begun] }));
    // The stopped process has begun one, as far as the node knows.
    await expect.poll(() => readFile(begun, "utf8").catch(() => "")).toBe("n".repeat(7));
    process.kill(pid, "SIGCONT");
    await Promise.all(asked);
    await Promise.all([ask("rows"), ask("rows"), ask("rows")]);
    expect(await readFile(begun, "utf8")).toBe("n".repeat(8));
  });

  it("is answered although one before it was aborted", async () => {
    await becomeQuick();
    const aborting = new AbortController();
    const asked = Array.from({ length: 8 }, () => ask("later", { signal: aborting.signal }));
    const other = ask("rows");
    aborting.abort(new Error("the client has left"));
    for (const one of asked) await expect(one).rejects.toThrow("the client has left");
    expect((await other).rows).toEqual([["a", 1]]);
  });

  it("is answered although its module tells a service manager that it is ready", async () => {
    for (let n = 0; n < 3; n += 1) expect((await ask("ready")).rows).toEqual([[false]]);
  });

  it("is refused as overload, not as too slow, if it has waited for nearly all of its time", async () => {
    await becomeQuick();
    const before = [ask("busy", { args: [450] }), ask("busy", { args: [450] })];
    const late = [1, 2].map(() => ask("busy", { args: [400], time: new Deadline(600) }));
    for (const one of await Promise.allSettled(late))
      expect(one).toMatchObject({ reason: { code: "OVERLOADED" } });
    await Promise.all(before);
    await becomeQuick();
    const alone = ask("busy", { args: [400], time: new Deadline(200) });
    await expect(alone).rejects.toMatchObject({ code: "QUERY_LIMIT" });
  });

  it("has a process in which the module of no other index has run", async () => {
    const other = {
      ...served(),
      context: { ...served().context, name: "others", dir: path.join(root, "others") },
    };
    await mkdir(other.context.dir);
    await copyFile(path.join(root, "rows.json"), path.join(other.context.dir, "rows.json"));
    const pids: Json[] = [];
    for (const index of [served(), other, served(), other])
      pids.push((await ask("about", { index })).rows[0]?.[0] ?? null);
    expect([pids[0] === pids[2], pids[1] === pids[3], pids[0] === pids[1]]).toEqual([true, true, false]);
  });

  it("waits for memory after the first part of a large answer", async () => {
    const limits = { bytes: 10_000_000 };
    const refused = new Error("no memory");
    const admit = vi.fn<() => Promise<void>>(() => Promise.reject(refused));
    expect((await ask("wide", { args: [2, 1_000], admit })).rows).toHaveLength(2);
    expect(admit).not.toHaveBeenCalled();
    await expect(ask("wide", { args: [3, 500_000], limits, admit })).rejects.toBe(refused);
    let waited = false;
    const slowly = async (): Promise<void> => {
      // Its own time is over by then.
      await delay(700);
      waited = true;
    };
    await ask("rows");
    const large = { args: [3, 500_000], limits: { ...limits, timeoutMs: 600 } };
    expect((await ask("wide", { ...large, admit: slowly })).rows).toHaveLength(3);
    expect(waited).toBe(true);
  });
});

const ROWS = { text: "rows", args: [] };

describe("an own index that is asked", () => {
  const index: AskedIndex = {
    newest: 7,
    served: () => served(),
    damaged: (_served, error) => error,
    position: {
      reached: async (txId, timeoutMs) => {
        if (txId > 7)
          throw Object.assign(new Error(`not reached in ${timeoutMs} ms`), { code: "TX_TIMEOUT" });
      },
    },
  };

  it("is first waited for", async () => {
    expect((await queryIndex(() => index, processes, "orders", ROWS, { minTx: 7 })).txId).toBe(7);
    const late = queryIndex(() => index, processes, "orders", ROWS, { minTx: 8, timeoutMs: 5 });
    await expect(late).rejects.toMatchObject({ code: "TX_TIMEOUT" });
  });

  it.each([
    [
      "later than all that it was given",
      "8-0123456789ab",
      /as of transaction 8, and the node has indexed 7\.$/,
    ],
    ["missing", undefined, /must be a position, not "undefined"\.$/],
    ["a number", 7, /must be a position, not "7"\.$/],
  ])("has failed if the position of its answer is %s", async (_, position, message) => {
    await writeFile(path.join(root, "rows.json"), JSON.stringify({ position, rows: [] }));
    await expect(queryIndex(() => index, processes, "orders", ROWS, {})).rejects.toMatchObject({
      code: "OWN_INDEX_FAILED",
      message: expect.stringMatching(message),
      hint: expect.stringContaining("the last complete batch"),
    });
  });

  it.each([{ timeoutMs: NaN }, { rows: -1 }, { rows: 1.5 }, { bytes: 0 }, { rows: "5" }, { foo: 1 }])(
    "is refused with limits that would limit nothing: %o",
    async (limits) => {
      const asked = queryIndex(() => index, processes, "orders", ROWS, { limits: limits as object });
      const [name = ""] = Object.keys(limits);
      await expect(asked).rejects.toMatchObject({
        code: "REQUEST_INVALID",
        message: expect.stringContaining(` limit ${name}`) as string,
      });
    },
  );

  it.each([
    [5, []],
    ["rows", null],
    [undefined, undefined],
  ])("is refused if its text or its arguments cannot be any: %j, %j", async (text, args) => {
    const query = { text, args } as unknown as IndexQuery;
    const asked = queryIndex(() => index, processes, "orders", query, {});
    await expect(asked).rejects.toMatchObject({ code: "REQUEST_INVALID" });
  });

  it("is too long, and no other one is, if it has no time", async () => {
    const asked = queryIndex(() => index, processes, "orders", ROWS, { timeoutMs: 0 });
    await expect(asked).rejects.toMatchObject({
      code: "QUERY_LIMIT",
      hint: expect.stringContaining("give it more time") as string,
    });
  });
});

it.each([
  [[], "This node has none."],
  [["orders", "people"], "The node has orders, people."],
])("an index that a node does not have is not found (%j)", (names, hint) => {
  const indexes = names.map((name) => ({
    ...served(),
    name,
    version: 1,
    ready: "later" as const,
    checkpoint: true,
  }));
  const refused = expect.objectContaining({ code: "NOT_FOUND", hint: expect.stringContaining(hint) });
  expect(() => indexNamed(indexes, "order")).toThrow(refused as Error);
});

it("a node that is killed leaves no process, whatever its queries do", async () => {
  const parent = spawn(process.execPath, ["--input-type=module", "-e", script()], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(parent.stdout, "data")) as [Buffer];
  const pids = JSON.parse(line.toString()) as number[];
  expect(pids.map(isAlive)).toEqual([true, true]);
  parent.kill("SIGKILL");
  await vi.waitFor(() => expect(pids.map(isAlive)).toEqual([false, false]), 5_000);
});

/** A program that asks a process for its id and then has it loop, and leaves another one idle. */
function script(): string {
  const worker = new URL("../../dist/bundle/query-process-worker.js", import.meta.url).pathname;
  return `
    import { fork } from "node:child_process";
    const order = (text) => ({
      query: { text, args: [] }, limits: { rows: 1, bytes: 1000 },
    });
    const children = [0, 1].map(() => fork(${JSON.stringify(worker)}, [String(process.pid)], { execArgv: [] }));
    await Promise.all(children.map((child) => new Promise((resolve) => {
      child.once("message", resolve);
      child.send({ index: ${JSON.stringify(served())} });
      child.send(order("rows"));
    })));
    children[0].send(order("loop"));
    console.log(JSON.stringify(children.map(({ pid }) => pid)));
  `;
}
