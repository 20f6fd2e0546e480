import { setImmediate } from "node:timers/promises";
import { CairnError } from "../../src/errors/errors.ts";
import { expect, it } from "vitest";
import { readAhead } from "../../src/concurrency/read-ahead.ts";

async function* pages(onEnd: () => void): AsyncGenerator<[Uint8Array, Uint8Array][]> {
  try {
    yield [[Buffer.from("ca"), Buffer.from("1")]];
    throw new CairnError("DISK_FULL", "No space left.");
  } finally {
    onEnd();
  }
}

it("an error of the prefetched page is thrown when that page is requested", async () => {
  const ahead = readAhead(pages(() => undefined));
  expect((await ahead.next()).done).toBe(false);
  // By now, the prefetched page has failed, and nothing has requested it.
  await setImmediate();
  await expect(ahead.next()).rejects.toMatchObject({ code: "DISK_FULL" });
});

it("pages that are abandoned are closed", async () => {
  let ended = 0;
  for await (const page of readAhead(pages(() => (ended += 1)))) {
    expect(page).toHaveLength(1);
    break;
  }
  expect(ended).toBe(1);
});
