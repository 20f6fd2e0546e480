import type { SkippedCheckpoint } from "@cairn/checkpoint";
import type { NodeStatus } from "@cairn/client";

type Skipped = NodeStatus["join"]["skipped"];

/** The number of skipped checkpoints of one store and error code that a status names, however many there are. */
const MAX_NAMED = 5;

export function listedSkipped(skipped: readonly SkippedCheckpoint[]): Skipped {
  const counts = new Map<string, number>();
  for (const one of skipped) counts.set(kindOf(one), (counts.get(kindOf(one)) ?? 0) + 1);
  const named = new Map<string, number>();
  return skipped.flatMap((one) => {
    const kind = kindOf(one);
    const at = (named.get(kind) ?? 0) + 1;
    named.set(kind, at);
    if (at > MAX_NAMED) return [];
    const { code, message } = one.error;
    const others = at === MAX_NAMED ? (counts.get(kind) ?? at) - at : 0;
    return [{ name: one.name, store: one.store, code, message, others }];
  });
}

function kindOf({ store, error }: SkippedCheckpoint): string {
  return `${error.code} ${store}`;
}

/** Returns how many checkpoints were skipped, with those that are not listed. */
export function numberSkipped(listed: Skipped): number {
  return listed.reduce((sum, { others }) => sum + 1 + others, 0);
}
