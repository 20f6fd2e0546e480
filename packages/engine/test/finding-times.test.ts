import { expect, it } from "vitest";
import { finding } from "../src/findings/findings.ts";
import { findingTimes } from "../src/findings/finding-times.ts";

const at = (second: number): string => `2026-01-01T00:00:0${second}.000Z`;

it("a finding has lasted since it was first seen, or since its cause knows, until it is over", () => {
  const dated = findingTimes();
  const failing = (second: number) =>
    finding("checkpoint-failing", { message: "m", hint: null, since: at(second) });
  const away = finding("log-unreachable", { message: "m", hint: null });
  const since = (findings: Parameters<typeof dated>[0], now: number): unknown =>
    dated(findings, at(now)).map((one) => one.since);
  expect(since([failing(1)], 2)).toEqual([at(1)]);
  expect(since([failing(3), away], 4)).toEqual([at(1), at(4)]);
  expect(since([away], 5)).toEqual([at(4)]);
  expect(since([failing(6)], 6)).toEqual([at(6)]);
  expect(since([away], 7)).toEqual([at(7)]);
});

it("a finding that began while the clock was ahead has lasted since the clock was corrected", () => {
  const dated = findingTimes();
  const away = finding("log-unreachable", { message: "m", hint: null });
  expect(dated([away], at(9)).map((one) => one.since)).toEqual([at(9)]);
  for (const now of [3, 4]) expect(dated([away], at(now)).map((one) => one.since)).toEqual([at(3)]);
});

it("findings of the same kind keep the times of their causes", () => {
  const file = (second: number) =>
    finding("file-unusable", { message: `${second}`, hint: null, since: at(second) });
  const dated = findingTimes();
  dated([file(1)], at(1));
  expect(dated([file(1), file(3)], at(4)).map((one) => one.since)).toEqual([at(1), at(3)]);
  expect(dated([file(3)], at(5)).map((one) => one.since)).toEqual([at(3)]);
  expect(dated([file(3), file(9)], at(5)).map((one) => one.since)).toEqual([at(3), at(5)]);
});
