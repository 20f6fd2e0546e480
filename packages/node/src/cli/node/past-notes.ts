import { CairnError } from "@cairn/kv";
import type { Peer } from "../../cluster/ask-cluster.ts";
import type { Past, PastComparison } from "../../cluster/compare-pasts.ts";
import { formatCount, formatNumberOf } from "../terminal/quantities.ts";

/** So much of a digest as tells a few of them apart. */
const SHOWN_DIGITS = 12;

/** What people should know of a comparison of the nodes' past. */
export function pastNotes({ txId, pasts, differ }: PastComparison, peers: readonly Peer[]): string[] {
  const at = `at transaction ${formatCount(txId)}`;
  if (differ === undefined) return [`The same past ${at} on ${formatNumberOf(pasts.size, "node")}.`];
  const shown = peers.flatMap(({ node, instance }) => {
    const past = pasts.get(instance);
    return past === undefined ? [] : [`${node} has ${differ} ${digits(past, differ)}`];
  });
  const what =
    differ === "history" ? "have different transactions" : "made different things of the same ones";
  return [`The nodes ${what} ${at}: ${shown.join(", ")}.`];
}

function digits(past: Past, differ: "history" | "effects"): string {
  return past[differ].slice(0, SHOWN_DIGITS);
}

/** For people and for scripts, where the nodes do not have the same past. */
export function pastProblem({ txId, differ }: PastComparison): CairnError | undefined {
  if (differ === undefined) return undefined;
  const code = differ === "history" ? "LOG_DIFFERENT" : "INDEX_CORRUPT";
  return new CairnError(code, `The nodes do not have the same past at transaction ${formatCount(txId)}.`, {
    hint:
      "Each of them compares its index with a rebuild out of the log, one after the other, and leaves one that is wrong. " +
      "Ask again in some minutes; cairn status --cluster --digest compares now.",
  });
}
