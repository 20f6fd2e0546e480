import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { NodeStatus } from "@cairn/node";
import { describe, expect, it } from "vitest";
import { AcknowledgedHistory, differences, type StoredDocument } from "./acknowledged.ts";
import { falseAlarms, isFalseAlarm, readLogLine } from "./alarms.ts";
import { givenBuild } from "./builds.ts";
import { type StoredCheckpoint, StoreHistory, wrongRemoval } from "./store-history.ts";

function saved(indexVersion: number, txId: number): StoredCheckpoint {
  return {
    name: `checkpoint-${txId}-2026-11-20T06-00-00.000Z-0000000${indexVersion}`,
    indexVersion,
    txId,
    takenAt: "2026-11-20T06:00:00.000Z",
  };
}

function stored(revision: number, document: unknown): Map<string, StoredDocument> {
  return new Map([["pods default/a", { revision, document }]]);
}

describe("an acknowledged history", () => {
  const history = new AcknowledgedHistory();
  // The transactions are added in the order of the responses, which differs from the order of the log.
  history.add(5, "e", [["delete", "pods", "default/b"]]);
  history.add(3, "c", [
    ["match", "pods", "default/a", 2],
    ["put", "pods", "default/a", 3],
  ]);
  history.add(2, "b", [
    ["put", "pods", "default/a", 2],
    ["put", "pods", "default/b", 2],
  ]);
  history.add(4, "d", [
    ["match", "pods", "default/a", 2],
    ["put", "pods", "default/a", 4],
  ]);

  it("results in the documents that follow from the order of the log", () => {
    expect(history.documents()).toEqual(new Map([["pods default/a", { revision: 3, document: 3 }]]));
  });

  it("reports a transaction as lost if the log lacks it or has it under another id", () => {
    expect(history.lost((id) => ({ b: 2, c: 3, d: 4, e: 5 })[id])).toEqual([]);
    expect(history.lost((id) => ({ b: 2, c: 3, d: 6 })[id])).toHaveLength(2);
  });

  it("reports two transactions with one id", () => {
    expect(new AcknowledgedHistory().add(2, "a", [])).toBeUndefined();
    const twice = new AcknowledgedHistory();
    twice.add(2, "a", []);
    expect(twice.add(2, "b", [])).toContain("both acknowledged");
  });

  it("differs from a node's documents by a document, a revision, or a missing or additional document", () => {
    const expected = history.documents();
    expect(differences(expected, stored(3, 3))).toEqual([]);
    expect(differences(expected, stored(3, 2))).toHaveLength(1);
    expect(differences(expected, stored(9, 3))).toHaveLength(1);
    expect(differences(expected, new Map())).toHaveLength(1);
    expect(differences(new Map(), stored(3, 3))).toHaveLength(1);
  });
});

describe("a false alarm", () => {
  const none = new Set<string>();
  const sound = {
    index: { divergence: null },
    failure: null,
    join: { movedAside: [{ code: "INDEX_VERSION", message: "", path: "" }], skipped: [] },
  } as unknown as NodeStatus;

  it("is not reported if a version skips the other one's checkpoints", () => {
    expect(falseAlarms(sound, none)).toEqual([]);
    expect(isFalseAlarm({ level: "warn", code: "INDEX_VERSION", msg: "moved aside" }, none)).toBe(false);
  });

  it("is a divergence, a failure, or an index that is reported as damaged", () => {
    const divergence = { code: "LOG_DIFFERENT", message: "" };
    const damaged = [{ code: "INDEX_CORRUPT", message: "", path: "", at: "" }];
    expect(falseAlarms({ ...sound, index: { ...sound.index, divergence } } as NodeStatus, none)).toHaveLength(
      1,
    );
    expect(falseAlarms({ ...sound, join: { ...sound.join, movedAside: damaged } }, none)).toHaveLength(1);
    const failure = { code: "LOG_TRIMMED", message: "", hint: null, retries: true, nextTryAt: null };
    expect(falseAlarms({ ...sound, failure }, none)).toHaveLength(1);
    expect(falseAlarms({ ...sound, failure }, new Set(["LOG_TRIMMED"]))).toEqual([]);
  });

  it("is a line of a log with an alarm's code at any level, unless the round causes it", () => {
    const line = readLogLine('{"level":"info","code":"CHECKPOINT_CORRUPT","msg":"passed over"}');
    expect(line === undefined ? undefined : isFalseAlarm(line, none)).toBe(true);
    expect(isFalseAlarm({ level: "error", code: "LOG_TRIMMED", msg: "" }, none)).toBe(true);
    expect(isFalseAlarm({ level: "error", code: "LOG_TRIMMED", msg: "" }, new Set(["LOG_TRIMMED"]))).toBe(
      false,
    );
    expect(readLogLine("not of the log")).toBeUndefined();
  });
});

describe("a removal by retention", () => {
  it("is wrong unless enough newer checkpoints of the same version remain", () => {
    expect(wrongRemoval(saved(4, 1), [saved(4, 2), saved(4, 3)], 2)).toBeUndefined();
    expect(wrongRemoval(saved(4, 1), [saved(4, 2), saved(5, 3), saved(5, 4)], 2)).toContain("only 1 newer");
    expect(wrongRemoval(saved(4, 9), [saved(4, 2), saved(4, 3)], 2)).toContain("only 0 newer");
  });

  it("is found by polling the folder", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-store-history-"));
    const write = async ({ name, indexVersion, txId, takenAt }: StoredCheckpoint): Promise<void> =>
      await writeFile(
        path.join(folder, `${name}.json`),
        JSON.stringify({ format: { index: indexVersion }, txId, takenAt }),
      );
    const history = new StoreHistory(folder, 1);
    await write(saved(4, 1));
    await write(saved(5, 2));
    expect(await history.poll()).toEqual([]);
    await rm(path.join(folder, `${saved(4, 1).name}.json`));
    expect(await history.poll()).toHaveLength(1);
    expect(history.seen.get(saved(4, 1).name)).toEqual(saved(4, 1));
    await write(saved(5, 3));
    await rm(path.join(folder, `${saved(5, 2).name}.json`));
    expect(await history.poll()).toEqual([]);
    await rm(folder, { recursive: true });
  });
});

describe("a build of another version", () => {
  it("is refused if the checkout is not built", async () => {
    const empty = await mkdtemp(path.join(tmpdir(), "cairn-no-build-"));
    expect(() => givenBuild(empty)).toThrow(/no built checkout/);
    await rm(empty, { recursive: true });
  });
});
