import { Readable } from "node:stream";
import type { CheckpointStore } from "@cairn/checkpoint";
import { memoryStore } from "@cairn/checkpoint/testing";
import { wrapped } from "@cairn/text";
import { expect, it } from "vitest";
import { readSegment } from "../../../src/backup/segments/read-segment.ts";

function destroyedBy(end: (content: Readable) => void): CheckpointStore {
  const open = async (): Promise<Readable> => {
    const content = new Readable({ read: () => end(content) });
    return content;
  };
  return wrapped<CheckpointStore>(memoryStore(), { open });
}

it("a segment whose stream ends early without an error is one that the store does not provide", async () => {
  const store = destroyedBy((content) => void content.destroy());
  await expect(readSegment(store, { name: "a", bytes: 10 })).rejects.toMatchObject({
    code: "STORE_UNREACHABLE",
    message: "The stream of a ended early.",
  });
});

it("the reason of the signal is the error of a segment that is no longer read", async () => {
  const reading = new AbortController();
  const reason = new Error("enough");
  const store = destroyedBy((content) => {
    reading.abort(reason);
    content.destroy();
  });
  await expect(readSegment(store, { name: "a", bytes: 10 }, reading.signal)).rejects.toBe(reason);
});
