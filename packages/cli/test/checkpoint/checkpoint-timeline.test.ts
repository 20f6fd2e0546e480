// @module-tag nats
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ListedCheckpoint } from "@cairn/client";
import { formatTimeline, showsUnicode } from "../../src/checkpoint/checkpoint-timeline.ts";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";
import { saveCheckpoint } from "@cairn/test-support/stores/save-checkpoint";

const NOW = Date.parse("2026-11-20T12:00:00.000Z");
const HOUR = 3_600_000;

function taken(hoursAgo: number, node: string, parts: Partial<ListedCheckpoint> = {}): ListedCheckpoint {
  const takenAt = new Date(NOW - hoursAgo * HOUR).toISOString();
  const unverified = { durationMs: 1, verifiedAt: null, verifiedBy: null, kept: null };
  return { name: "c", txId: 1, takenAt, bytes: 1, node, logId: "l", documents: 1, ...unverified, ...parts };
}

test("the bar shows who saved when, what is verified or damaged, and gaps against the period", () => {
  const found = [
    taken(0.1, "b"),
    taken(1.1, "a", { verifiedAt: "2026-11-20T11:00:00.000Z" }),
    taken(5.1, "a", { damaged: true }),
    taken(6.1, "a"),
  ];
  const options = { periodMs: HOUR, now: NOW, width: 36, unicode: true };
  // Three characters for each of twelve hours.
  const unicode = "                 a──✗────░░░░░░░A──b";
  expect(formatTimeline(found, options).split("\n")).toEqual([
    unicode,
    "The last 12 h, 3 for each period of 1 h; a a; b b; capital: verified; ✗ damaged; ░ none for more than 1.1 periods",
  ]);
  const [plain = "", legend = ""] = formatTimeline(found, { ...options, unicode: false }).split("\n");
  expect(plain).toBe(unicode.replaceAll("─", "-").replaceAll("░", ".").replaceAll("✗", "!"));
  expect(legend).toMatch(/^[ -~]+$/);
});

test("checkpoints that are older, in the future or of many nodes do not break the bar", () => {
  const options = { periodMs: HOUR, now: NOW, width: 200, unicode: false };
  expect(formatTimeline([taken(100, "a")], options).split("\n")[0]).toBe(".".repeat(72));
  expect(formatTimeline([taken(-5, "a\u001b")], options)).toMatch(/^ {71}a\nThe last .*; a a\\u001b$/);
  expect(formatTimeline([], { ...options, width: 0 }).split("\n")[0]).toBe(" ".repeat(12));
  const many = Array.from({ length: 30 }, (_, n) => taken(n / 3, `node-${String(n).padStart(2, "0")}`));
  expect(formatTimeline(many, options).split("\n")[0]).toMatch(/^[ *a-z-]{72}$/);
});

test("characters other than ASCII are used only in a locale with UTF-8", () => {
  expect(showsUnicode({ LANG: "en_US.UTF-8" })).toBe(true);
  expect(showsUnicode({ LANG: "C.utf8" })).toBe(true);
  expect(showsUnicode({ LANG: "en_US.UTF-8", LC_ALL: "C" })).toBe(false);
  expect(showsUnicode({ LANG: "en_US.UTF-8", LC_ALL: "" })).toBe(true);
  expect(showsUnicode({})).toBe(false);
});

let scene: ClusterScene;
beforeEach(async () => {
  scene = await ClusterScene.open();
});
afterEach(() => scene.close());

test("cairn checkpoint list shows the bar above the table on a terminal, and never in a pipe or as JSON", async () => {
  const a = await scene.ready("a", { parts: { http: { host: "127.0.0.1", port: 0, maxBody: 1_000 } } });
  await put(a, 0, 1, "x");
  await saveCheckpoint(a);
  const list = async (isTTY: boolean, ...args: string[]): Promise<string> => {
    const terminal = new CapturedTerminal({ isTTY, cwd: scene.folder, env: { LANG: "en_US.UTF-8" } });
    const { code, stdout } = await cairn(["checkpoint", "list", ...args], terminal);
    expect(code).toBe(0);
    return stdout;
  };
  const url = ["--url", a.url ?? ""];
  expect(await list(true, ...url)).toMatch(/^ {71}a\nThe last 3 d, 6 for each period of 6 h; a a\n\nNAME /);
  expect(await list(false, ...url)).toMatch(/^NAME /);
  expect(await list(true, ...url, "--json")).toMatch(/^\{/);
  // A folder does not tell the period.
  expect(await list(true, "./checkpoints")).toMatch(/^NAME /);
});
