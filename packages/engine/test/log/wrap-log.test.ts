import { expect, it } from "vitest";
import { type TxLog, wrapLog } from "../../src/log/tx-log.ts";

it("a frozen log, which a user's module may return, can be wrapped", async () => {
  const log = Object.freeze({
    name: "frozen",
    id: () => Promise.resolve("its own"),
    exists: () => Promise.resolve(true),
  }) as unknown as TxLog;
  const wrapped = wrapLog(log, { exists: () => Promise.resolve(false) });
  expect([wrapped.name, await wrapped.id(), await wrapped.exists(), wrapped.trim]).toEqual([
    "frozen",
    "its own",
    false,
    undefined,
  ]);
});
