import { ERROR_CODES, type ErrorCode } from "@cairn/kv";
import { expect, it } from "vitest";
import { BROKEN_CLUSTERS } from "./clusters/all-clusters.ts";

/** Codes that no hint can cure, each with why. */
const WITHOUT: Partial<Record<ErrorCode, string>> = {
  INTERNAL: "nobody expects it, so nobody knows its cure: its hint asks for a report",
};

it("every error code is shown by a broken cluster whose hint is followed", () => {
  const shown = new Set(BROKEN_CLUSTERS.flatMap(({ codes }) => codes));
  const untried = ERROR_CODES.filter((code) => !shown.has(code) && WITHOUT[code] === undefined);
  expect(untried).toEqual([]);
  expect(Object.keys(WITHOUT).filter((code) => shown.has(code as ErrorCode))).toEqual([]);
});

it("broken clusters have names of their own", () => {
  const names = BROKEN_CLUSTERS.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});
