import type { KvReader } from "@cairn/kv";
import type { ActivePolicies } from "../policies/active-policies.ts";
import type { Expiry } from "./expiry.ts";
import type { StatePolicies } from "../rows/index-state.ts";
import type { KeyState } from "./key-states.ts";
import { documentRowPrefix, prefixEnd } from "../rows/row-keys.ts";
import {
  checkedVersion,
  versionValueJson,
  versionValueRevision,
  versionValueTime,
} from "../rows/version-values.ts";

/** How many documents of a bucket with a new rule one transaction looks at. A part of the index version. */
const SCANNED_PER_TRANSACTION = 200;

/** How far a bucket was looked through; undefined: to its end. */
export interface Scanned {
  readonly after: string | undefined;
}

/** Notes the next documents of a bucket, as they were before a transaction, for a rule that is newer than they are. */
export async function readScan(
  reader: KvReader,
  { bucket, after }: StatePolicies["scan"][number],
  rules: ActivePolicies["expire"],
  expiry: Expiry,
  touched: readonly (KeyState | undefined)[],
): Promise<Scanned> {
  const rule = rules.get(bucket);
  if (rule === undefined) return { after: undefined };
  const prefix = documentRowPrefix(bucket);
  const begin = after === "" ? { gte: prefix } : { gt: Buffer.from(after, "hex") };
  // What the transaction wrote itself is noted, or gone.
  const written = new Set(
    touched.flatMap((key) => (key?.changed === true ? key.rowKey.toString("hex") : [])),
  );
  let last: Uint8Array | undefined;
  let count = 0;
  for await (const rows of reader.range({
    ...begin,
    lt: prefixEnd(prefix),
    limit: SCANNED_PER_TRANSACTION,
  })) {
    for (const [rowKey, bytes] of rows) {
      count += 1;
      last = rowKey;
      const value = checkedVersion(rowKey, bytes);
      const document = versionValueJson(value);
      if (document === undefined || written.has(Buffer.from(rowKey).toString("hex"))) continue;
      expiry.note(rowKey, rule, versionValueRevision(value), versionValueTime(value), document);
    }
  }
  if (count < SCANNED_PER_TRANSACTION || last === undefined) return { after: undefined };
  return { after: Buffer.from(last).toString("hex") };
}
