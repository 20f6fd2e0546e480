import { expect, it } from "vitest";
import { decodeAnswer, encodeAnswer, encodeMessage } from "../../src/cluster/peer-messages.ts";
import { finding } from "../../src/findings/findings.ts";
import { emptyStatus } from "../../testing/index.ts";

const IDENTITY = { instance: "i", node: "n", host: "h", pid: 1, startedAt: "2026-11-20T06:00:00.000Z" };

it("a status with values that only a later version knows is understood as far as possible", () => {
  const status = {
    ...emptyStatus(),
    phase: "resting",
    verdict: { state: "splendid", message: "All is splendid.", hint: null },
    findings: [
      {
        code: "new",
        severity: "grave",
        since: null,
        error: null,
        message: "Something new.",
        meanwhile: "nothing.",
        hint: null,
      },
    ],
    progress: { unit: "furlongs", done: 1, total: 2, etaMs: null },
  };
  expect(decodeAnswer(encodeMessage({ cairn: 1, ...IDENTITY, status }))?.status).toMatchObject({
    phase: "resting",
    verdict: { state: "attention", message: "All is splendid." },
    findings: [{ code: "new", severity: "attention" }],
    progress: null,
  });
});

it("an answer always fits into a message, and says if parts of it are missing", () => {
  const one = finding("checkpoint-warning", { message: "x".repeat(3_000), hint: "Do it." });
  const worst = finding("node-failed", { message: "It failed.", hint: "Restart it." });
  const status = { ...emptyStatus(), findings: [worst, ...Array.from({ length: 400 }, () => one)] };
  const answers = [1_000_000, 65_536, 8_192].map((limit) => {
    const bytes = encodeAnswer({ ...IDENTITY, status }, limit);
    expect(bytes.length).toBeLessThanOrEqual(limit);
    return decodeAnswer(bytes)?.status?.findings.map(({ code }) => code);
  });
  const warnings = Array.from({ length: 19 }, () => "checkpoint-warning");
  expect(answers).toEqual([
    ["node-failed", ...warnings, "status-shortened"],
    ["node-failed", ...warnings, "status-shortened"],
    ["node-failed", ...warnings.slice(0, 4), "status-shortened"],
  ]);
  const small = encodeAnswer({ ...IDENTITY, status: emptyStatus() }, 65_536);
  expect(decodeAnswer(small)?.status?.findings).toEqual([]);
});
