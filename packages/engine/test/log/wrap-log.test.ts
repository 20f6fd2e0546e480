import { expect, it } from "vitest";
import type { TxLog } from "../../src/log/tx-log.ts";
import { wrapped } from "@cairn/text";

it("a frozen log, which a user's module may return, can be wrapped", async () => {
  const log = Object.freeze({
    name: "frozen",
    id: () => Promise.resolve("its own"),
    exists: () => Promise.resolve(true),
  }) as unknown as TxLog;
  const own = wrapped<TxLog>(log, { exists: () => Promise.resolve(false) });
  expect([own.name, await own.id(), await own.exists(), own.trim]).toEqual([
    "frozen",
    "its own",
    false,
    undefined,
  ]);
});
