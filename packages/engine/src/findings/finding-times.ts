import type { Finding } from "@cairn/client";

/**
 * Returns a function that completes findings with the time since which each has lasted, as far as this node has seen:
 * what causes a finding may know no time, or only that of the last failure. `now` is in ISO 8601.
 */
export function findingTimes(): (findings: readonly Finding[], now: string) => Finding[] {
  let first = new Map<string, string>();
  return (findings, now) => {
    const seen = new Map<string, string>();
    const dated = findings.map((one) => {
      const isAlone = findings.filter(({ code }) => code === one.code).length === 1;
      const known = first.get(one.code);
      const since = one.since ?? now;
      if (!isAlone) return { ...one, since: one.since ?? known ?? now };
      return { ...one, since: known === undefined || since < known ? since : known };
    });
    for (const { code, since } of dated) {
      const earliest = seen.get(code) ?? since;
      seen.set(code, since < earliest ? since : earliest);
    }
    first = seen;
    return dated;
  };
}
