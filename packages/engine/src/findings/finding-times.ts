import type { Finding } from "@cairn/client";

/**
 * Returns a function that completes findings with the time since which each has lasted, as far as this node has seen:
 * its cause may know no time, or only that of the last failure. `now` is in ISO 8601.
 */
export function findingTimes(): (findings: readonly Finding[], now: string) => readonly Finding[] {
  /** By code. Several findings with the same code that know their times are not remembered. */
  let first: ReadonlyMap<string, string> = new Map();
  return (findings, now) => {
    const isAlone = ({ code }: Finding): boolean => findings.filter((one) => one.code === code).length === 1;
    const remembered = findings.filter((one) => one.since === null || isAlone(one));
    const sinceOf = ({ code, since }: Finding): string => {
      const known = first.get(code) ?? now;
      return since === null || known < since ? known : since;
    };
    first = new Map(remembered.map((one) => [one.code, sinceOf(one)]));
    return findings.map((one) =>
      remembered.includes(one) ? { ...one, since: first.get(one.code) ?? now } : one,
    );
  };
}
