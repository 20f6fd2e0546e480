import type { BoundPolicy, ExpirePolicy, Json, Policies } from "@cairn/client";
import { parseDuration } from "@cairn/text";
import { compareKeys, type ModelVersion } from "./model-version.ts";

interface Due {
  readonly due: number;
  readonly id: string;
  readonly revision: number;
}

/**
 * The policies of docs/policies.md in plain lists: the documents that are due or scanned, and the events that are kept.
 */
export class PoliciesModel {
  revision: number | null = null;
  value: Policies = {};
  #active: Policies = {};
  #due: Due[] = [];
  #scans: string[] = [];
  #scanning: string | undefined;
  #isSet = false;

  /** Begins a transaction. Policies that it sets apply from the next one on. */
  begin(): void {
    this.#active = this.value;
    this.#scanning = this.#scans[0];
  }

  set(policies: Policies, txId: number): void {
    const before = this.value.expire ?? {};
    this.#scans = Object.keys(policies.expire ?? {}).filter((bucket) => {
      const isSame = JSON.stringify(before[bucket]) === JSON.stringify(policies.expire?.[bucket]);
      return !isSame || this.#scans.includes(bucket);
    });
    this.#isSet = true;
    this.value = policies;
    this.revision = txId;
  }

  note(id: string, { document, revision, time }: ModelVersion): void {
    const rule = this.#ruleOf(id);
    if (rule === undefined || document === undefined || !isAbout(rule, document)) return;
    const due = time + milliseconds(rule.after);
    this.#due = [...this.#due.filter((one) => one.due !== due || one.id !== id), { due, id, revision }];
  }

  /** Returns the keys whose documents expire, in the order in which they were due. */
  takeDue(time: number, newest: (id: string) => ModelVersion | undefined): string[] {
    // Without rules, the entries are kept for future rules.
    if (Object.keys(this.#active.expire ?? {}).length === 0) return [];
    const isDue = ({ due }: Due): boolean => due <= time;
    const taken = this.#due.filter(isDue).toSorted((a, b) => a.due - b.due || compareIds(a.id, b.id));
    if (taken.length > 100) throw new Error("the model takes at most what one transaction does");
    this.#due = this.#due.filter((one) => !isDue(one));
    const expired: string[] = [];
    for (const { id, revision } of taken) {
      const version = newest(id);
      const rule = this.#ruleOf(id);
      if (version?.document === undefined || version.revision !== revision || rule === undefined) continue;
      if (version.time + milliseconds(rule.after) > time || !isAbout(rule, version.document)) continue;
      if (!expired.includes(id)) expired.push(id);
    }
    return expired;
  }

  /** Scans one bucket whose rule is new, as it was before the transaction. */
  scan(keys: readonly (readonly [string, readonly ModelVersion[]])[]): void {
    const bucket = this.#scanning;
    if (bucket === undefined) return;
    for (const [id, versions] of keys) {
      const newest = versions.at(-1);
      if (newest !== undefined && id.startsWith(`${bucket} `)) this.note(id, newest);
    }
  }

  end(): void {
    const [first] = this.#scans;
    const isUnchanged =
      !this.#isSet ||
      JSON.stringify(this.#active.expire?.[first ?? ""]) === JSON.stringify(this.value.expire?.[first ?? ""]);
    if (first !== undefined && first === this.#scanning && isUnchanged) this.#scans = this.#scans.slice(1);
    this.#isSet = false;
  }

  /** Returns the events that are kept. `events` must be in the order of their times. */
  boundEvents<T extends { readonly time: bigint }>(
    events: readonly T[],
    time: number,
    by: "age" | "both" = "both",
  ): T[] {
    const bound: BoundPolicy = (by === "age" ? this.value.events : this.#active.events) ?? {};
    const { keep = 100_000, for: age } = bound;
    const oldest = age === undefined ? 0n : BigInt(Math.max(0, time - milliseconds(age))) * 1_000_000n;
    const young = events.filter((one) => one.time >= oldest);
    return by === "age" ? young : young.slice(Math.max(0, young.length - keep));
  }

  #ruleOf(id: string): ExpirePolicy | undefined {
    return this.#active.expire?.[id.slice(0, id.indexOf(" "))];
  }
}

function compareIds(a: string, b: string): number {
  const [bucketA, bucketB] = [a, b].map((id) => id.slice(0, id.indexOf(" ")));
  if (bucketA !== bucketB) return (bucketA ?? "") < (bucketB ?? "") ? -1 : 1;
  return compareKeys(a.slice(a.indexOf(" ") + 1), b.slice(b.indexOf(" ") + 1));
}

function milliseconds(duration: string | number): number {
  if (typeof duration === "number") return duration;
  const result = parseDuration(duration);
  if ("ms" in result) return result.ms;
  throw new Error(result.fault);
}

function isAbout({ when = {} }: ExpirePolicy, document: Json): boolean {
  return Object.entries(when).every(([field, values]) => {
    const text = textOf(document, field);
    return [values].flat().some((value) => String(value) === text);
  });
}

/** Returns the comparable form of a field, implemented independently here. */
export function textOf(document: Json, field: string): string | undefined {
  let value: unknown = document;
  for (const name of field.split(".")) {
    const isMap = value !== null && typeof value === "object" && !Array.isArray(value);
    value =
      isMap && Object.hasOwn(value as object, name) ? (value as Record<string, unknown>)[name] : undefined;
  }
  return ["string", "number", "boolean"].includes(typeof value) ? String(value) : undefined;
}
