import { ERROR_CODES, type ErrorCode } from "@cairn/kv";
import { expect, it } from "vitest";
import { BROKEN_CLUSTERS } from "./clusters/all-clusters.ts";

/** Codes whose hint is not a remedy, each with the reason. */
const WITHOUT_CURE: Partial<Record<ErrorCode, string>> = {
  LOG_VERSION: "the remedy is a later version than the one that is tested",
  INTERNAL: "an unexpected error has no known remedy; its hint asks for a report",
};

it("every error code that has a remedy is shown by a broken cluster", () => {
  const shown = new Set(BROKEN_CLUSTERS.flatMap(({ codes }) => codes));
  const untried = ERROR_CODES.filter((code) => !shown.has(code) && WITHOUT_CURE[code] === undefined);
  expect(untried).toEqual([]);
  expect(Object.keys(WITHOUT_CURE).filter((code) => shown.has(code as ErrorCode))).toEqual([]);
});

it("every broken cluster has a unique name", () => {
  const names = BROKEN_CLUSTERS.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});
