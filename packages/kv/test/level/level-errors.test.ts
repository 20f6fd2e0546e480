import { expect, it } from "vitest";
import { CairnError } from "../../src/errors/errors.ts";
import { explainOperation } from "../../src/level/level-errors.ts";

it.each(["Permission denied", "Read-only file system"])(
  "a table that cannot be opened because of %s is a matter of permissions, not damage",
  (reason) => {
    const cause = Object.assign(new Error(`IO error: /idx/live/000005.ldb: ${reason}`), {
      code: "LEVEL_IO_ERROR",
    });
    const explained = explainOperation(cause, "/idx/live");
    expect(explained).toMatchObject({ code: "CONFIG_INVALID", cause });
    expect(String(explained)).toContain("/idx/live/000005.ldb");
  },
);

it("an error that names the full disk stays unchanged, even if it resembles LevelDB's message", () => {
  const full = new CairnError("DISK_FULL", "There is no space left to capture the index into /captures/c1.");
  expect(explainOperation(full, "/idx/live")).toBe(full);
});

it("the hint for a full disk states that the node continues by itself", () => {
  const full = explainOperation(
    new Error("IO error: /idx/live/000007.log: No space left on device"),
    "/idx/live",
  );
  expect(full).toMatchObject({ code: "DISK_FULL", hint: expect.stringContaining("by itself") });
});
