import { readdir, rm, truncate } from "node:fs/promises";
import path from "node:path";
import { CairnError } from "@cairn/kv";
import { pino } from "pino";
import { expect, it, onTestFinished, vi } from "vitest";
import { openEmbeddedTxLog } from "../../src/log/embedded/embedded-tx-log.ts";
import { FaultyTxLog } from "../../testing/faulty-tx-log.ts";
import { observedScene, put } from "@cairn/test-support/nodes/observed-node";

interface Line {
  readonly level: number;
  readonly code?: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

const WARNING = pino.levels.values["warn"];

/** A log that can be read although it refuses appends. */
class FullTxLog extends FaultyTxLog {
  full = false;

  override async append(...message: Parameters<FaultyTxLog["append"]>): ReturnType<FaultyTxLog["append"]> {
    if (this.full)
      throw new CairnError("LOG_FULL", "The log accepts no more messages.", { hint: "Free some space." });
    return await super.append(...message);
  }
}

/** Returns a logger and its lines. */
function listening(): { logger: pino.Logger; lines: Line[] } {
  const lines: Line[] = [];
  const write = (line: string): void => void lines.push(JSON.parse(line) as Line);
  return { logger: pino({ level: "info" }, { write }), lines };
}

it("a node warns of an index that was moved aside because the log lost its end, with its orphans", async () => {
  const scene = await observedScene();
  const first = await scene.start("a");
  await first.ready;
  for (const name of ["k1", "k2", "k3"]) await put(first, name);
  await first.close();
  // The last record of the only write-ahead log is damaged, as if the machine had stopped.
  const log = path.join(scene.folder, "log");
  const newest =
    (await readdir(log))
      .filter((name) => name.endsWith(".log"))
      .toSorted()
      .at(-1) ?? "";
  await truncate(path.join(log, newest), 400);

  const { logger, lines } = listening();
  const second = await scene.start("a", { logger });
  await second.ready;
  const { movedAside, orphans } = (await second.status()).join;
  expect(orphans).toBeGreaterThan(0);
  expect(lines.filter(({ code }) => code === "LOG_REGRESSED")).toMatchObject([
    {
      level: WARNING,
      path: movedAside[0]?.path,
      orphans,
      hint: expect.stringContaining("cairn log orphans"),
      msg: expect.stringContaining("The index was moved aside: The log"),
    },
  ]);
});

it("a node warns of a damaged checkpoint that it skipped while joining", async () => {
  const scene = await observedScene();
  const first = await scene.start("a");
  await first.ready;
  await put(first, "k1");
  expect(await first.checkpoint().done).toHaveProperty("checkpoint");
  await first.close();
  const store = path.join(scene.folder, "checkpoints");
  const archive = (await readdir(store)).find((name) => name.endsWith(".tar")) ?? "";
  await truncate(path.join(store, archive), 1024);
  await rm(path.join(scene.folder, "a-index"), { recursive: true });

  const { logger, lines } = listening();
  const second = await scene.start("a", { logger });
  await second.ready;
  expect(lines.filter(({ msg }) => msg.startsWith("checkpoint skipped"))).toMatchObject([
    { level: WARNING, name: archive.replace(/\.tar$/, ""), code: "CHECKPOINT_INCOMPLETE" },
  ]);
});

it("a node logs once that the log refuses transactions, and once that it accepts them again", async () => {
  const scene = await observedScene();
  const log = new FullTxLog(await openEmbeddedTxLog({ path: path.join(scene.folder, "full-log") }));
  const { logger, lines } = listening();
  const node = await scene.start("a", { logger, openTxLog: () => Promise.resolve(log) });
  await node.ready;
  await put(node, "k1");
  log.full = true;
  for (const name of ["k2", "k3"]) await expect(put(node, name)).rejects.toMatchObject({ code: "LOG_FULL" });
  const told = (): Line[] => lines.filter(({ finding }) => finding === "writes-refused");
  const msg = "Transactions are refused: The log accepts no more messages.";
  const begun = { level: 50, code: "LOG_FULL", hint: "Free some space.", msg };
  await vi.waitFor(() => expect(told()).toMatchObject([begun]));
  log.full = false;
  await put(node, "k4");
  await put(node, "k5");
  await vi.waitFor(() => expect(told()).toMatchObject([begun, { level: 30, msg: `This is over: ${msg}` }]));
});

it("a node warns once about a transaction whose time is in the future, which holds back the times of all that follow", async () => {
  const scene = await observedScene();
  const DAY_MS = 86_400_000;
  const { now } = Date;
  const clock = vi.spyOn(Date, "now").mockImplementation(() => now() + DAY_MS);
  onTestFinished(() => clock.mockRestore());
  const first = await scene.start("a");
  await first.ready;
  await put(first, "k1");
  await first.close();
  clock.mockRestore();

  const { logger, lines } = listening();
  const node = await scene.start("a", { logger, stall: { afterMs: 20 } });
  await node.ready;
  const told = (): Line[] => lines.filter(({ msg }) => msg.includes("is in the future"));
  const { txTime } = await node.await(await put(node, "k2"));
  await vi.waitFor(() => expect(told()).toMatchObject([{ level: WARNING, finding: "clock-wrong" }]));
  expect(Date.parse(txTime)).toBeGreaterThan(Date.now() + DAY_MS / 2);
  expect(told()[0]?.msg).toContain(txTime);
});
