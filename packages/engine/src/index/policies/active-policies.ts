import type { BoundPolicy, FieldValues, Json, Policies, TxId } from "@cairn/client";
import { nanoseconds, ownMember, madeOnce } from "@cairn/text";
import type { IndexState, StatePolicies } from "../rows/index-state.ts";
import { OTHER_BUCKETS, policyMilliseconds } from "../../policies/policy-problems.ts";
import { comparableText, fieldPath, fieldValue } from "../../policies/field-values.ts";

/** An indexed field; `id` is its number in rows. */
export type FieldIndex = StatePolicies["indexes"][number] & { readonly path: readonly string[] };

/** Conditions on the fields of a document, all of which must hold. */
interface Conditions {
  readonly conditions: readonly { readonly path: readonly string[]; readonly values: ReadonlySet<string> }[];
}

export interface ExpireRule extends Conditions {
  /** The age at which a document expires (ms since its last write). */
  readonly after: number;
}

/** The rule of a queue. Its conditions hold for finished entries. */
export interface QueueRule extends Conditions {
  readonly shards: number;
  readonly cap: number;
  /** The duration for which a claim holds (ms). */
  readonly lease: number;
}

/** A bound that keeps at most `keep` items, and none older than `age` (ms); Infinity for no bound. */
export interface Bound {
  readonly keep: number;
  readonly age: number;
}

export interface ActivePolicies {
  readonly indexed: ReadonlyMap<string, readonly FieldIndex[]>;
  readonly expire: ReadonlyMap<string, ExpireRule>;
  /** By bucket. That of {@link OTHER_BUCKETS}, if there is one, applies to all other buckets. */
  readonly history: ReadonlyMap<string, Bound>;
  readonly events: Bound;
  readonly outcomes: Bound | undefined;
  readonly queues: ReadonlyMap<string, QueueRule>;
}

/** Returns the time (ns) before which events are too old at `time` (ms); 0 if their age is not bounded. */
export function oldestEventTime({ age }: Bound, time: number): bigint {
  return age >= time ? 0n : nanoseconds(time - age);
}

/** Part of the index version. It does not limit the age, because events may have old times. */
const DEFAULT_EVENT_BOUND: Bound = { keep: 100_000, age: Infinity };

const active = new WeakMap<StatePolicies, ActivePolicies>();

/** Stands for the policies of an index in which none were ever set. */
const NONE: StatePolicies = { revision: 0, value: {}, indexes: [], nextIndex: 1, scan: [] };

export function activePolicies({ policies = NONE }: IndexState): ActivePolicies {
  return madeOnce(active, policies, () => activate(policies));
}

function activate({ value, indexes }: StatePolicies): ActivePolicies {
  const indexed = new Map<string, FieldIndex[]>();
  for (const index of indexes) {
    madeOnce(indexed, index.bucket, () => []).push({ ...index, path: fieldPath(index.field) });
  }
  const expire = new Map(
    Object.entries(value.expire ?? {}).map(([bucket, { when = {}, after }]) => [
      bucket,
      { after: policyMilliseconds(after), conditions: conditionsOf(when) },
    ]),
  );
  const history = new Map(
    Object.entries(value.history ?? {}).map(([bucket, bound]) => [bucket, boundOf(bound, NO_BOUND)]),
  );
  const queues = new Map(
    Object.entries(value.queues ?? {}).map(([bucket, { shards, cap, terminal, lease }]) => [
      bucket,
      { shards, cap, lease: policyMilliseconds(lease), conditions: conditionsOf(terminal) },
    ]),
  );
  const events = boundOf(value.events ?? {}, DEFAULT_EVENT_BOUND);
  const outcomes = value.outcomes === undefined ? undefined : boundOf(value.outcomes, NO_BOUND);
  return { indexed, expire, history, events, outcomes, queues };
}

export function boundsHistory({ history }: ActivePolicies, bucket: string): boolean {
  return history.has(bucket) || history.has(OTHER_BUCKETS);
}

const NO_BOUND: Bound = { keep: Infinity, age: Infinity };

function boundOf({ keep, for: age }: BoundPolicy, otherwise: Bound): Bound {
  return {
    keep: keep ?? otherwise.keep,
    age: age === undefined ? otherwise.age : policyMilliseconds(age),
  };
}

function conditionsOf(fields: Readonly<Record<string, FieldValues>>): Conditions["conditions"] {
  return Object.entries(fields).map(([field, values]) => ({
    path: fieldPath(field),
    values: new Set([values].flat().flatMap((value) => comparableText(value) ?? [])),
  }));
}

/** Returns whether a rule applies to a document: whether it expires, or is a finished entry of a queue. */
export function appliesTo({ conditions }: Conditions, document: Json): boolean {
  return conditions.every(({ path, values }) => {
    const text = comparableText(fieldValue(document, path));
    return text !== undefined && values.has(text);
  });
}

/** The policies after transaction `revision` set `json`. Indexed fields keep their numbers, which are never reused. */
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
    // Older documents are scanned once for a rule: from the beginning if it is new, else from where the scan stopped.
    const isSame = expireText(before?.value, bucket) === expireText(value, bucket);
    const unfinished = before?.scan.find((one) => one.bucket === bucket);
    return isSame ? (unfinished ?? []) : { bucket, after: "" };
  });
  return { revision, value, indexes, nextIndex, scan };
}

function expireText(policies: Policies | undefined, bucket: string): string | undefined {
  const { expire = {} } = policies ?? {};
  return JSON.stringify(ownMember(expire, bucket));
}
