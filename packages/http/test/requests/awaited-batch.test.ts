import { Readable } from "node:stream";
import type { TxOutcome } from "@cairn/client";
import { CairnError, TimeSlice } from "@cairn/kv";
import { BatchSubmission } from "@cairn/http/src/requests/batch-submission";
import { IndexBacklog } from "@cairn/http/src/requests/index-backlog";
import { describe, expect, test } from "vitest";

const LINE = JSON.stringify({ ops: [["put", "pods", "default/a", 1]] });

/** Submits an awaited line to an index that is at `positions`, one after the other, whenever the wait has timed out. */
async function submitTo(positions: number[]): ReturnType<BatchSubmission["submitAll"]> {
  const [txId, left] = [9, [...positions]];
  let position = 0;
  const batch = new BatchSubmission(
    { submit: () => Promise.resolve({ txId, checksum: 0 }), indexed: () => Promise.resolve(position) },
    {
      maxBody: 1_000,
      firstLine: 1,
      timeoutMs: 1_000,
      outcomeOf: () => {
        position = left.shift() ?? position;
        return position >= txId
          ? Promise.resolve({ txId, committed: true } as TxOutcome)
          : Promise.reject(new CairnError("TX_TIMEOUT", "not indexed in time", "Wait longer."));
      },
      slice: new TimeSlice(),
      backlog: new IndexBacklog(),
    },
  );
  return await batch.submitAll(Readable.from([Buffer.from(LINE)]));
}

describe("an awaited line of a batch", () => {
  test("is awaited as long as the index makes progress", async () => {
    expect(await submitTo([3, 5, 8, 9])).toMatchObject({ accepted: 1, aborted: 0 });
  });

  test("fails once the index has not moved for the time limit", async () => {
    await expect(submitTo([3, 5, 5, 9])).rejects.toThrow("Line 1: not indexed in time");
  });
});
