import { expect, it } from "vitest";
import { decodeAnswer, encodeMessage } from "../../src/cluster/peer-messages.ts";
import { emptyStatus } from "../../testing/index.ts";

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
  const identity = { instance: "i", node: "n", host: "h", pid: 1, startedAt: "2026-11-20T06:00:00.000Z" };
  expect(decodeAnswer(encodeMessage({ cairn: 1, ...identity, status }))?.status).toMatchObject({
    phase: "resting",
    verdict: { state: "attention", message: "All is splendid." },
    findings: [{ code: "new", severity: "attention" }],
    progress: null,
  });
});
