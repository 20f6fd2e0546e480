import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { resolvable } from "@cairn/kv";
import { expect, it, onTestFinished, vi } from "vitest";
import { captureInTime } from "../../src/checkpoints/index-source.ts";

it("a kv-store that never ends a capture is named, and what it copies later is removed", async () => {
  const dir = await mkdtemp(path.join(tmpdir(), "cairn-unending-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const copied = resolvable();
  let captures = 0;
  const capture = async (into: string) => {
    captures += 1;
    await copied.promise;
    await writeFile(path.join(into, "rows"), "rows");
    return { linked: 0, copied: 1, bytes: 4 };
  };
  const rows = { capture };
  // A second one is not begun: each may hold a thread for ever.
  for (let round = 0; round < 2; round += 1)
    await expect(captureInTime(rows, dir, "own-rows/1", 10)).rejects.toMatchObject({
      code: "SYSTEM_REFUSED",
      message: expect.stringContaining("The kv-store (own-rows/1) has not copied the index"),
    });
  expect(captures).toBe(1);
  copied.resolve();
  await vi.waitFor(() => expect(access(dir)).rejects.toThrow("ENOENT"));
});
