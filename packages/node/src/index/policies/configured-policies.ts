import type { Policies, TxId } from "@cairn/client";
import type { StatePolicies } from "../rows/index-state.ts";

/** The policies after transaction `revision` set `json`. What an indexed field had before, it keeps; a number is never given twice. */
export function configured(
  before: StatePolicies | undefined,
  json: Uint8Array,
  revision: TxId,
): StatePolicies {
  const value = JSON.parse(Buffer.from(json).toString("utf8")) as Policies;
  let nextIndex = before?.nextIndex ?? 1;
  const indexes: { id: number; bucket: string; field: string }[] = [];
  for (const [bucket, fields] of Object.entries(value.indexes ?? {})) {
    for (const field of fields) {
      const known = before?.indexes.find((one) => one.bucket === bucket && one.field === field);
      indexes.push(known ?? { id: nextIndex, bucket, field });
      if (known === undefined) nextIndex += 1;
    }
  }
  const scan = Object.keys(value.expire ?? {}).flatMap((bucket) => {
    // Documents that are older than a rule are looked through for it once: all where it is new, else what is still left to look at.
    const isSame = rule(before?.value, bucket) === rule(value, bucket);
    const unfinished = before?.scan.find((one) => one.bucket === bucket);
    return isSame ? (unfinished ?? []) : { bucket, after: "" };
  });
  return { revision, value, indexes, nextIndex, scan };
}

function rule(policies: Policies | undefined, bucket: string): string | undefined {
  const { expire = {} } = policies ?? {};
  return Object.hasOwn(expire, bucket) ? JSON.stringify(expire[bucket]) : undefined;
}
