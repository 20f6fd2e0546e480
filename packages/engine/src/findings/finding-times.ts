import type { Finding } from "@cairn/client";

/**
 * Returns a function that completes findings with the time since which each has lasted, as far as this node has seen:
 * its cause may know no time, or only that of the last failure. No time is later than `now` (in ISO 8601), as after a
 * clock that was ahead and was corrected.
 */
export function findingTimes(): (findings: readonly Finding[], now: string) => readonly Finding[] {
  /** By code. Several findings with the same code that know their times are not remembered. */
  let first: ReadonlyMap<string, string> = new Map();
  return (findings, now) => {
    const isAlone = ({ code }: Finding): boolean => findings.filter((one) => one.code === code).length === 1;
    const remembered = findings.filter((one) => one.since === null || isAlone(one));
    const sinceOf = ({ code, since }: Finding): string => {
      const [earliest = now] = [now, first.get(code) ?? now, since ?? now].toSorted();
      return earliest;
    };
    first = new Map(remembered.map((one) => [one.code, sinceOf(one)]));
    return findings.map((one) => ({
      ...one,
      since: remembered.includes(one) ? (first.get(one.code) ?? now) : sinceOf(one),
    }));
  };
}
