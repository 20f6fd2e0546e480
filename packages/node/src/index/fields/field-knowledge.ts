import type { ActivePolicies, FieldIndex } from "../policies/active-policies.ts";
import type { FieldCounts } from "./field-counts.ts";

/**
 * Indexed fields whose rows are being built, with the document row up to which they are (empty: none yet). Those that are not here
 * are whole. What is behind that row is left to the building.
 */
export type FieldBuilds = ReadonlyMap<number, Uint8Array>;

/** Indexed fields by bucket, without the buckets where nobody has begun to build any: what is written there is left to the building. */
export function begunFields(
  indexed: ActivePolicies["indexed"],
  builds: FieldBuilds,
): ActivePolicies["indexed"] {
  if (builds.size === 0) return indexed;
  const isBegun = ({ id }: FieldIndex): boolean => builds.get(id)?.length !== 0;
  return new Map([...indexed].filter(([, indexes]) => indexes.some(isBegun)));
}

/** What is known of a store's indexed fields by whoever writes to it. */
export interface FieldKnowledge {
  readonly builds: FieldBuilds;
  readonly counts: FieldCounts;
}
