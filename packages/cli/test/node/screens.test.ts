import { describe, expect, test } from "vitest";
import type { NodeStatus } from "@cairn/client";
import { type ComparedView, formatCluster } from "../../src/node/cluster-screen.ts";
import { type Column, formatTable } from "../../src/terminal/columns.ts";
import { showProgress } from "../../src/terminal/progress-display.ts";
import { formatBytes, formatDuration, formatNumberOf, formatRelative, formatTime } from "@cairn/text";
import { withFindings } from "@cairn/engine/src/findings/node-findings";
import { formatStatus } from "../../src/node/status-screen.ts";
import { printable } from "../../src/terminal/terminal.ts";
import { MemoryNode } from "@cairn/test-support/nodes/memory-node";
import { CapturedOutput } from "@cairn/test-support/nodes/captured-terminal";

const NOW = Date.parse("2026-11-20T07:00:00.000Z");

const BACKUP: NonNullable<NodeStatus["logBackup"]> = {
  location: "file:///store",
  everyMs: 60_000,
  covered: [{ first: 1, last: 1204 }],
  segments: 3,
  bytes: 4_299_161,
  exposed: { transactions: 3, since: "2026-11-20T06:59:19.000Z" },
  lastLookAt: null,
  nextLookAt: null,
  failedLooks: 0,
  written: { segments: 0, bytes: 0 },
  warnings: [],
  lastFailure: null,
};

const ATTACHED: NonNullable<NodeStatus["attached"]> = {
  checkpoint: "checkpoint-1000-2026-11-20T06-48-00.000Z-1f3a9c0e",
  txId: 1000,
  txTime: "2026-11-20T06:30:00.000Z",
  takenAt: "2026-11-20T06:48:00.000Z",
  requests: 12,
  bytes: 4_299_161,
};

const RETRYING = { retries: true, nextTryAt: null };

describe("the format of quantities:", () => {
  test.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1 KiB"],
    [81_920, "80 KiB"],
    [1536, "1.5 KiB"],
    [1_048_575, "1 MiB"],
    [123_456_789, "118 MiB"],
    [2 ** 50, "1 PiB"],
  ])("%i bytes are %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  test.each([
    [0, "0 ms"],
    [812, "812 ms"],
    [4230, "4.2 s"],
    [59_600, "1 min"],
    [185_000, "3 min 5 s"],
    [3_600_000, "1 h"],
    [18_720_000, "5 h 12 min"],
    [90_000_000, "1 d 1 h"],
  ])("%i ms are %s", (ms, text) => expect(formatDuration(ms)).toBe(text));

  test("times are printed in UTC and relative to now", () => {
    expect(formatTime("2026-11-20T06:12:26.123Z")).toBe("2026-11-20 06:12:26 UTC");
    expect(formatRelative("2026-11-20T06:48:00.000Z", NOW)).toBe("12 min ago");
    expect(formatRelative("2026-11-20T12:12:00.000Z", NOW)).toBe("in 5 h 12 min");
    expect(formatRelative("2026-11-20T07:00:00.400Z", NOW)).toBe("now");
    expect([formatNumberOf(1, "file"), formatNumberOf(1200, "file")]).toEqual(["1 file", "1,200 files"]);
  });
});

describe("a table", () => {
  test("aligns its columns and has no spaces at its ends", () => {
    expect(
      formatTable(
        [
          ["KEY", ({ key }) => key],
          ["N", ({ count }) => String(count), "right"],
        ],
        [
          { key: "a", count: 1 },
          { key: "long", count: 200 },
        ],
        PIPE,
      ),
    ).toBe("KEY     N\na       1\nlong  200");
  });

  test("shortens its long cells on a narrow terminal, and keeps all columns", () => {
    const rows = [
      ["checkpoint-100005-2026-11-20T07-27-49.760Z-d23b2086", "100,005", "10.7 MiB", "a"],
      ["checkpoint-7", "7", "1 KiB", "b"],
    ];
    const headings = ["NAME", "TX", "SIZE", "NODE"].map((name, at): Column<string[]> => [
      name,
      (row) => row[at] ?? "",
      name === "TX" ? "right" : undefined,
    ]);
    const shown = (columns: number): readonly string[] =>
      formatTable(headings, rows, { isTTY: true, columns }).split("\n");
    expect(shown(40)).toEqual([
      "NAME                  TX  SIZE      NODE",
      "checkpoint-100…  100,005  10.7 MiB  a",
      "checkpoint-7           7  1 KiB     b",
    ]);
    expect(shown(80)[1]).toContain(
      "checkpoint-100005-2026-11-20T07-27-49.760Z-d23b2086  100,005  10.7 MiB  a",
    );
    // A terminal whose width is unknown shortens nothing.
    expect(shown(0)).toEqual(shown(80));
  });

  test("cannot be broken by control characters", () => {
    expect(printable("a\tb\u001b[31m\u0085\u2028")).toBe("a\\tb\\u001b[31m\\u0085\\u2028");
  });
});

/** A pipe has no width. */
const PIPE = { isTTY: false };

async function screen(changes: Partial<NodeStatus>, colors = false): Promise<string> {
  return formatStatus(withFindings({ ...(await new MemoryNode().status()), ...changes }, NOW), {
    now: NOW,
    colors,
  });
}

describe("the status screen", () => {
  test("shows the progress of a restore", async () => {
    const progress = { unit: "bytes", done: 1_048_576, total: 4_194_304, etaMs: 900 } as const;
    expect(await screen({ phase: "restoring", progress })).toMatch(
      /^Phase +restoring: 1 MiB of 4 MiB \(25 %\), about 900 ms left$/m,
    );
    const replaying = { unit: "transactions", done: 5, total: 1200, etaMs: null } as const;
    expect(await screen({ phase: "replaying", progress: replaying })).toContain(
      "5 of 1,200 transactions (0 %)",
    );
  });

  test("shows the documents of an open index whose files cannot be measured", async () => {
    const { index } = await new MemoryNode().status();
    expect(await screen({ index: { ...index, documents: 3, bytes: null } })).toMatch(
      /^Documents +3 in files of unknown size$/m,
    );
  });

  test("does not show a log as empty that the node has not read, although its index knows the id", async () => {
    const { log } = await new MemoryNode().status();
    const unread = { ...log, reachable: true, exists: true, firstTxId: null, lastTxId: null };
    expect(await screen({ phase: "failed", log: unread })).toMatch(/^Log .*\(id [^)]+\), not read yet/m);
  });

  test("shows from which checkpoint a restoring node serves stale reads, and when it is whole", async () => {
    const progress = { unit: "bytes", done: 37, total: 100, etaMs: 40_000 } as const;
    const changes = { phase: "restoring", attached: ATTACHED } as const;
    const text = `serves stale reads as of transaction 1,000, 12 min ago, from ${ATTACHED.checkpoint}`;
    const line = async (more: Partial<NodeStatus>): Promise<string | undefined> =>
      /^Attached +(.*)$/m.exec(await screen({ ...changes, ...more }))?.[1];
    expect(await line({ progress })).toBe(`${text}; 37 % here, whole in 40 s`);
    expect(await line({ progress: { ...progress, etaMs: null } })).toBe(`${text}; 37 % here`);
    expect(await line({ progress: null })).toBe(text);
    expect(await line({ attached: null })).toBeUndefined();
    // Nodes of 0.1.0 do not report it.
    const { attached: _, ownIndexes: __, ...earlier } = await new MemoryNode().status();
    expect(formatStatus(earlier as NodeStatus, { now: NOW, colors: false })).not.toContain("Attached");
  });

  test("shows how far each index of one's own is, and which version answers meanwhile", async () => {
    const own = { name: "orders", version: 3, txId: null, served: null, built: null, failure: null } as const;
    const failure = {
      code: "OWN_INDEX_FAILED",
      message: "No.",
      hint: null,
      since: "2026-11-20T06:00:00.000Z",
    };
    const building = { ...own, state: "building", built: 350_000 } as const;
    const text = await screen({
      ownIndexes: [
        { ...own, state: "live", txId: 1234, served: 3 },
        building,
        { ...building, served: 2 },
        { ...own, state: "failed", failure: { ...failure, nextTryAt: "2026-11-20T07:05:00.000Z" } },
      ],
    });
    expect(Array.from(text.matchAll(/^Own index +(.*)$/gm), ([, line]) => line)).toEqual([
      "orders 3: live, transaction 1,234",
      "orders 3: building, 350,000 documents so far",
      "orders 3: building, 350,000 documents so far; version 2 answers meanwhile",
      "orders 3: failed, next try in 5 min",
    ]);
    expect(text).toMatch(/^Attention +OWN_INDEX_FAILED: No\./m);
  });

  test("shows when the index was scrubbed", async () => {
    const { index } = await new MemoryNode().status();
    const lastScrub = { at: "2026-11-20T06:00:00.000Z", durationMs: 86_400_000, bytes: 4_194_304 };
    expect(await screen({ index: { ...index, lastScrub } })).toMatch(/^Scrubbed +4 MiB in 1 d, 1 h ago$/m);
    const empty = { ...lastScrub, bytes: 0 };
    expect(await screen({ index: { ...index, lastScrub: empty } })).toMatch(
      /^Scrubbed +1 h ago; the index had no tables to compare yet$/m,
    );
    expect(await screen({})).not.toContain("Scrubbed");
  });

  test("shows why a node failed and what to do", async () => {
    const about = { code: "LOG_DIFFERENT", message: "Another log.", hint: "Check the address." };
    const { join, checkpoints } = await new MemoryNode().status();
    const text = await screen({
      phase: "failed",
      failure: { ...about, ...RETRYING },
      join: { ...join, readyAfterMs: 1 },
      checkpoints: { ...checkpoints, last: null, lastCheckAt: "2026-11-20T06:58:00.000Z" },
    });
    expect(text).toMatch(
      /^Failing +LOG_DIFFERENT: Another log\.\n +Meanwhile, this node serves nothing\.\n +Check the address\.$/m,
    );
    // It has looked at the store before it failed.
    expect(text).toMatch(/^Checkpoint +unknown until the node is ready$/m);
  });

  test.each([
    [true, "2026-11-20T07:00:07.000Z", "in 7.0 s"],
    [true, null, "as soon as the node notices a change"],
    [false, null, "none: the node has halted until it is restarted"],
  ])("shows when a failed node will try again (%s, %s)", async (retries, nextTryAt, shown) => {
    const failure = { code: "DISK_FULL", message: "Full.", hint: null, retries, nextTryAt };
    expect(await screen({ phase: "failed", failure })).toMatch(new RegExp(`^Next try +${shown}$`, "m"));
  });

  test("shows what was skipped, moved aside and saved, and what is being saved", async () => {
    const name = "checkpoint-1000-2026-11-20T06-00-00.000Z-1f3a9c0e";
    const text = await screen({
      join: {
        restoredFrom: { name, store: "file:///store", txId: 1000 },
        skipped: [
          {
            name: "checkpoint-2",
            store: "file:///c",
            code: "CHECKPOINT_CORRUPT",
            message: "Bad.",
            others: 7,
          },
        ],
        movedAside: [
          { path: "/q/1", at: "2026-11-20T06:00:00.000Z", code: "INDEX_CORRUPT", message: "Worse." },
        ],
        orphans: 12,
        uncompared: [],
        replayed: 200,
        readyAfterMs: 812,
      },
      checkpoints: {
        last: { name, txId: 1000, takenAt: "2026-11-20T06:00:00.000Z", bytes: 81_920, ageMs: 3_601_000 },
        lastSaved: { name, txId: 1000, bytes: 81_920, at: "2026-11-20T06:00:02.000Z", durationMs: 1_500 },
        lastVerified: {
          name,
          txId: 1000,
          verifiedAt: "2026-11-20T06:10:00.000Z",
          node: "b",
          digest: "sha256:0",
          ageMs: 3_000_000,
          durationMs: 2_000,
        },
        lastDrill: {
          at: "2026-11-20T06:55:00.000Z",
          durationMs: 2_000,
          outcome: "failed",
          name: null,
          code: "CHECKPOINT_CORRUPT",
          message: "Bad.",
          hint: null,
        },
        lastCheckAt: "2026-11-20T06:58:00.000Z",
        nextCheckAt: "2026-11-20T12:00:00.000Z",
        approxFrequencyMs: 3_600_000,
        locations: ["file:///store"],
        running: { startedAt: "2026-11-20T06:59:50.000Z", step: "uploading", bytes: 2048 },
        skipped: {
          at: "2026-11-20T06:58:00.000Z",
          reason: "unchanged",
          because: "Nothing has changed.",
        },
        warnings: [
          { at: "2026-11-20T06:20:00.000Z", about: "future-checkpoint", message: "Twice.", hint: "Rename." },
        ],
        lastFailure: {
          at: "2026-11-20T06:30:00.000Z",
          code: "STORE_FULL",
          message: "Full.",
          hint: "Free some.",
        },
        store: null,
      },
    });
    for (const line of [
      "Attention    12 transactions lost by the log are only in quarantine.",
      "Attention    CHECKPOINT_CORRUPT: A checkpoint could not be verified. Bad. (since 2026-11-20 06:55:00 UTC, 5 min ago)",
      "Attention    Twice. (since 2026-11-20 06:20:00 UTC, 40 min ago)",
      "             Rename.",
      "Notice       INDEX_CORRUPT: The node moved its index aside and built another one. Worse. (since 2026-11-20 06:00:00 UTC, 1 h ago)",
      `Joined       from ${name} in file:///store, 200 transactions replayed`,
      "Skipped      checkpoint-2: CHECKPOINT_CORRUPT, Bad.",
      "             and 7 others in file:///c: CHECKPOINT_CORRUPT",
      "Moved aside  /q/1: INDEX_CORRUPT, Worse.",
      `Checkpoint   ${name}, 80 KiB, 1 h old`,
      `Saved here   ${name}, in 1.5 s, 59 min 58 s ago`,
      `Verified     ${name}, by b, in 2.0 s, 50 min ago`,
      "Saving       uploading, 2 KiB, for 10 s",
      "Next check   in 5 h",
    ]) {
      expect(text.split("\n")).toContain(line);
    }
  });

  test("shows the log's backup, what is exposed, and its problems", async () => {
    expect(await screen({})).not.toContain("backup");
    const damaged = { code: "SEGMENT_CORRUPT", message: "Damaged.", hint: "Remove it." };
    const lastFailure = {
      code: "STORE_UNREACHABLE",
      message: "No answer.",
      hint: "Wait.",
      since: "2026-11-20T06:59:19.000Z",
    };
    const text = await screen({ logBackup: { ...BACKUP, warnings: [damaged], lastFailure } });
    for (const line of [
      "Log backup  1 to 1,204 in 3 segments, 4.1 MiB; exposed: at most 3 transactions, 41 s",
      "Attention   STORE_UNREACHABLE: The log is not backed up. No answer. (since 2026-11-20 06:59:19 UTC, 41 s ago)",
      "            Wait.",
      "Attention   SEGMENT_CORRUPT: Damaged.",
      "            Remove it.",
    ]) {
      expect(text.split("\n")).toContain(line);
    }
    const unknown = {
      covered: null,
      segments: null,
      bytes: null,
      exposed: { transactions: null, since: null },
    };
    expect(await screen({ logBackup: { ...BACKUP, ...unknown } })).toContain(
      "Log backup  unknown until the first look",
    );
    const empty = { ...BACKUP, covered: [], segments: 0, bytes: 0 };
    expect(await screen({ logBackup: empty })).toContain("Log backup  nothing; exposed: ");
    const nothing = { transactions: 0, since: null };
    expect(await screen({ logBackup: { ...BACKUP, exposed: nothing } })).toContain("MiB; exposed: nothing");
  });

  test("cannot be broken by strings from a checkpoint in the store", async () => {
    const status = await new MemoryNode().status();
    const skipped = [
      { name: "c", store: "s", code: "CHECKPOINT_CORRUPT", message: "It says \u001b[2J\n.", others: 0 },
    ];
    const text = await screen({ join: { ...status.join, skipped } }, true);
    expect(text).toContain("Skipped     c: CHECKPOINT_CORRUPT, It says \\u001b[2J\\n.");
    expect(text).toContain("\u001b[32mready");
  });

  test("has colors only on request", async () => {
    expect(await screen({})).not.toContain("\u001b");
    expect(await screen({}, true)).toContain("\u001b[32mready");
  });
});

describe("the screen of a cluster", () => {
  test("cannot be broken by a node's response", async () => {
    const own = await new MemoryNode().status();
    const failure = { code: "LOG_GAP", message: "It says \u001b[2J.", hint: "\u0007", ...RETRYING };
    const peer = { instance: "i", node: "n\u001b", host: "h", pid: 1, startedAt: "2026-11-20T06:00:00.000Z" };
    const log = { name: "l", id: own.log.id ?? "", lastTxId: 3 };
    const status = withFindings({ ...own, failure }, NOW);
    const silent = [{ instance: "j", node: "m\u001b", forMs: 1_000 }];
    const view: ComparedView = {
      log,
      silent,
      peers: [{ ...peer, status }],
      past: undefined,
      comparison: undefined,
    };
    const text = formatCluster(view, NOW, PIPE);
    expect(text).toMatch(
      /^Attention +n\\u001b: LOG_GAP: It says \\u001b\[2J\.\n +Meanwhile, .*\n +\\u0007$/m,
    );
    expect(text).not.toContain("\u001b");
  });

  test("shows from which checkpoint a restoring node serves stale reads", async () => {
    const own = await new MemoryNode().status();
    const peer = { instance: "i", node: "b", host: "h", pid: 1, startedAt: "2026-11-20T06:00:00.000Z" };
    const progress = { unit: "bytes", done: 37, total: 100, etaMs: 40_000 } as const;
    const status = { ...own, phase: "restoring", attached: ATTACHED, progress } as const;
    const log = { name: "l", id: own.log.id ?? "", lastTxId: 3 };
    const view = { log, peers: [{ ...peer, status }], silent: [], past: undefined, comparison: undefined };
    expect(formatCluster(view, NOW, PIPE).split("\n")).toContain(
      `b serves stale reads as of transaction 1,000, 12 min ago, from ${ATTACHED.checkpoint}; 37 % here, whole in 40 s.`,
    );
  });

  test("shows no checkpoint as missing before a node has looked at the store", async () => {
    const own = await new MemoryNode().status();
    const peer = { instance: "i", node: "a", host: "h", pid: 1, startedAt: "2026-11-20T06:00:00.000Z" };
    const log = { name: "l", id: own.log.id ?? "", lastTxId: 3 };
    const shown = (checkpoints: Partial<NodeStatus["checkpoints"]>): string | undefined => {
      const status = { ...own, phase: "ready", checkpoints: { ...own.checkpoints, ...checkpoints } } as const;
      const view = { log, peers: [{ ...peer, status }], silent: [], past: undefined, comparison: undefined };
      return formatCluster(view, NOW, PIPE).split("\n")[3];
    };
    const nextCheckAt = "2026-11-20T07:00:10.000Z";
    expect(shown({ lastCheckAt: null, nextCheckAt })).toMatch(/ unknown +unknown$/);
    expect(shown({ lastCheckAt: "2026-11-20T06:59:50.000Z", nextCheckAt })).toMatch(/ none +none$/);
    expect(shown({ lastCheckAt: null, nextCheckAt: null })).toMatch(/ none +none$/);
  });

  test("shows what is exposed if any node backs the log up", async () => {
    const own = await new MemoryNode().status();
    const peer = { instance: "i", host: "h", pid: 1, startedAt: "2026-11-20T06:00:00.000Z" };
    const log = { name: "l", id: own.log.id ?? "", lastTxId: 3 };
    const shown = (logBackup: NodeStatus["logBackup"]): string => {
      const peers = [
        { ...peer, node: "a", status: withFindings({ ...own, logBackup }, NOW) },
        { ...peer, node: "b", status: own },
      ];
      return formatCluster({ log, peers, silent: [], past: undefined, comparison: undefined }, NOW, PIPE);
    };
    expect(shown(null)).not.toContain("EXPOSED");
    const lines = shown(BACKUP).split("\n");
    expect(lines[2]).toMatch(/VERIFIED +EXPOSED$/);
    expect(lines[3]).toMatch(/^a .* 3 transactions, 41 s$/);
    expect(lines[4]).toMatch(/^b .* unknown$/);
    const lastFailure = {
      code: "STORE_DENIED",
      message: "No.",
      hint: "Allow it.",
      since: "2026-11-20T06:59:19.000Z",
    };
    const failed = shown({ ...BACKUP, lastFailure });
    expect(failed).toMatch(
      /^Attention +a: STORE_DENIED: The log is not backed up\. No\. \(since .*, 41 s ago\)\n.*\n +Allow it\.$/m,
    );
  });
});

describe("progress", () => {
  test("is a line every five seconds without a terminal", () => {
    const output = new CapturedOutput(false);
    let now = 0;
    const display = showProgress(output, "loading", 10_485_760, () => now);
    for (now = 0; now <= 11_000; now += 500) display.update(now * 500, "7 transactions");
    display.stop();
    expect(output.text).toBe(
      "loading 2.4 MiB of 10 MiB (23 %) at 488 KiB/s, about 16 s left, 7 transactions\n" +
        "loading 4.8 MiB of 10 MiB (47 %) at 488 KiB/s, about 11 s left, 7 transactions\n",
    );
  });

  test("of unknown size shows amount and rate", () => {
    const output = new CapturedOutput(false);
    let now = 0;
    const display = showProgress(output, "loading", undefined, () => now);
    now = 5000;
    display.update(1_048_576, "7 transactions");
    expect(output.text).toBe("loading 1 MiB at 205 KiB/s, 7 transactions\n");
  });

  test("shows no more than there is if more comes than was expected", () => {
    const output = new CapturedOutput(false);
    let now = 0;
    const display = showProgress(output, "importing", 1_048_575, () => now);
    now = 5000;
    display.update(1_048_576, "7 written");
    expect(output.text).toBe("importing 1 MiB at 205 KiB/s, 7 written\n");
  });

  test("is one line on a terminal, which fits into it, is rewritten at most 8 times a second, and removed at the end", () => {
    const output = Object.assign(new CapturedOutput(true), { columns: 30 });
    let now = 0;
    const display = showProgress(output, "loading", 100, () => now);
    for (now = 0; now <= 200; now += 50) display.update(now / 4, "7 transactions");
    display.stop();
    display.stop();
    expect(output.text.split("\r\u001B[K")).toEqual([
      "",
      "loading 0 B of 100 B (0 %) a…",
      "loading 38 B of 100 B (37 %)…",
      "",
    ]);
  });
});
