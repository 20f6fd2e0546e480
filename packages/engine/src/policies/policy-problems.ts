import { CairnError } from "@cairn/kv";
import type { Json } from "@cairn/client";
import {
  parseDuration,
  wholeMilliseconds,
  didYouMean,
  nearestName,
  bucketProblem,
  ownMember,
  isMap,
} from "@cairn/text";
import { comparableText, MAX_FIELD_VALUE_BYTES } from "./field-values.ts";
import { LIMITS } from "@cairn/client/protocol";

interface PolicyProblem {
  readonly path: readonly string[];
  readonly message: string;
}

const MAX_POLICIES_BYTES = 64 * 1024;
const POLICY_NAMES = ["indexes", "expire", "history", "events", "outcomes", "queues"];
const MAX_VALUES = 100;

/** In the policy `history`, stands for all buckets that it does not name. It cannot be a bucket's name. */
export const OTHER_BUCKETS = "*";

/**
 * Returns the problems of a set of policies. Rules and wording are part of the index version: all nodes must read the
 * same policies from a message, and the index stores the first problem of a rejected one.
 */
export function policyProblems(value: unknown): readonly PolicyProblem[] {
  const check = new PolicyCheck();
  check.policies(value);
  if (check.problems.length === 0 && Buffer.byteLength(JSON.stringify(value)) > MAX_POLICIES_BYTES) {
    check.add([], `Policies are at most ${MAX_POLICIES_BYTES} bytes of JSON.`);
  }
  return check.problems;
}

export function formatPolicyProblem({ path, message }: PolicyProblem): string {
  return path.length === 0 ? message : `${path.join(" > ")}: ${message}`;
}

export function invalidPolicies(problems: readonly PolicyProblem[]): CairnError {
  const hint = `Correct the policies, which are a map with ${POLICY_NAMES.join(", ")}. GET /openapi.json describes each of them (PUT /api/v1/policies). Nothing was changed.`;
  const message = `Not valid policies: ${problems.map(formatPolicyProblem).join(" ")}`;
  return new CairnError("TX_INVALID", message, { hint, details: { problems } });
}

export function policyMilliseconds(duration: string | number): number {
  const result = durationOf(duration);
  if ("ms" in result) return result.ms;
  throw new Error(`a duration was not checked: ${duration}`);
}

function durationOf(value: string | number) {
  return typeof value === "number" ? wholeMilliseconds(value, String(value)) : parseDuration(value);
}

type Path = readonly string[];

class PolicyCheck {
  readonly problems: PolicyProblem[] = [];

  add(path: Path, message: string): void {
    this.problems.push({ path, message });
  }

  policies(value: unknown): void {
    const map = this.#map(value, [], POLICY_NAMES);
    if (map === undefined) return;
    this.#byBucket(map["indexes"], ["indexes"], (fields, path) => this.#fields(fields, path));
    this.#byBucket(map["expire"], ["expire"], (rule, path) => this.#expire(rule, path));
    this.#byBucket(map["history"], ["history"], (bound, path) => this.#bound(bound, path, 0), OTHER_BUCKETS);
    if (map["events"] !== undefined) this.#bound(map["events"], ["events"], 1);
    if (map["outcomes"] !== undefined) this.#bound(map["outcomes"], ["outcomes"], LIMITS.leastOutcomes);
    this.#byBucket(map["queues"], ["queues"], (queue, path) => this.#queue(queue, path));
    this.#neverBoth(map["expire"], map["queues"]);
  }

  /** An entry leaves a queue only with its shard, so that no rule removes unfinished entries. */
  #neverBoth(expire: unknown, queues: unknown): void {
    if (!isMap(expire) || !isMap(queues)) return;
    for (const bucket of Object.keys(expire)) {
      if (!Object.hasOwn(queues, bucket)) continue;
      this.add(["expire", bucket], "The entries of a queue do not expire: retiring a shard removes them.");
    }
  }

  #queue(value: unknown, path: Path): void {
    const names = ["shards", "cap", "terminal", "lease"];
    const queue = this.#map(value, path, [...names, "retry"]);
    if (queue === undefined) return;
    for (const name of names) if (queue[name] === undefined) this.add(path, `It lacks "${name}".`);
    this.#count(queue["shards"], [...path, "shards"], LIMITS.shards);
    this.#count(queue["cap"], [...path, "cap"], LIMITS.keep);
    if (queue["lease"] !== undefined) this.#duration(queue["lease"], [...path, "lease"]);
    if (queue["terminal"] === undefined) return;
    const at = [...path, "terminal"];
    const terminal = this.#map(queue["terminal"], at);
    if (terminal !== undefined && Object.keys(terminal).length === 0) {
      this.add(at, 'Expected at least one field, such as {"state": ["done"]}.');
    }
    this.#fieldValues(terminal, at);
    if (queue["retry"] !== undefined) this.#retry(queue["retry"], [...path, "retry"], terminal);
  }

  /** Directors act on this part, so that all treat an entry alike. Whether an entry is finished does not depend on it. */
  #retry(value: unknown, path: Path, terminal: Record<string, unknown> | undefined): void {
    const retry = this.#map(value, path, ["first", "max", "limit", "dead"]);
    if (retry === undefined) return;
    for (const name of ["first", "max"] as const) {
      if (retry[name] !== undefined) this.#duration(retry[name], [...path, name]);
    }
    this.#count(retry["limit"], [...path, "limit"], LIMITS.keep);
    if (retry["limit"] !== undefined && retry["dead"] === undefined) {
      this.add(path, 'With "limit", "dead" says which fields finish an entry after the last attempt.');
    }
    if (retry["dead"] === undefined) return;
    const at = [...path, "dead"];
    const dead = this.#map(retry["dead"], at);
    if (dead === undefined) return;
    this.#fieldValues(dead, at);
    for (const [field, values] of Object.entries(terminal ?? {})) {
      const among = [values].flat().map((one) => comparableText(one as Json));
      const set = ownMember(dead, field);
      if (Array.isArray(set) || !among.includes(comparableText(set as Json))) {
        this.add(at, `It must finish an entry, so "${field}" must have one of its values in "terminal".`);
      }
    }
  }

  #count(value: unknown, path: Path, most: number): void {
    if (
      value === undefined ||
      (Number.isSafeInteger(value) && (value as number) > 0 && (value as number) <= most)
    )
      return;
    this.add(path, `Expected a whole number from 1 to ${most}.`);
  }

  #byBucket(value: unknown, path: Path, one: (value: unknown, path: Path) => void, others?: string): void {
    if (value === undefined) return;
    const map = this.#map(value, path);
    if (map === undefined) return;
    for (const [bucket, inner] of Object.entries(map)) {
      const problem = bucket === others ? undefined : bucketProblem(bucket);
      if (problem === undefined) one(inner, [...path, bucket]);
      else this.add([...path, bucket], sentence(problem));
    }
  }

  #fields(value: unknown, path: Path): void {
    if (!Array.isArray(value) || value.length === 0) {
      this.add(path, 'Expected a list of fields, such as ["state", "node"].');
      return;
    }
    if (value.length > LIMITS.fields) this.add(path, `A bucket has at most ${LIMITS.fields} indexed fields.`);
    const seen = new Set<unknown>();
    for (const [index, field] of (value as unknown[]).entries()) {
      const at = [...path, String(index)];
      const problem = fieldProblem(field);
      if (problem !== undefined) this.add(at, problem);
      else if (seen.has(field)) this.add(at, `${JSON.stringify(field)} is listed twice.`);
      seen.add(field);
    }
  }

  #expire(value: unknown, path: Path): void {
    const rule = this.#map(value, path, ["when", "after"]);
    if (rule === undefined) return;
    if (rule["after"] === undefined) this.add(path, 'It lacks "after", such as "P30D".');
    else this.#duration(rule["after"], [...path, "after"]);
    if (rule["when"] === undefined) return;
    const at = [...path, "when"];
    this.#fieldValues(this.#map(rule["when"], at), at);
  }

  #fieldValues(map: Record<string, unknown> | undefined, path: Path): void {
    for (const [field, values] of Object.entries(map ?? {})) {
      const at = [...path, field];
      const problem = fieldProblem(field);
      if (problem !== undefined) this.add(at, problem);
      this.#values(values, at);
    }
  }

  #values(value: unknown, path: Path): void {
    const values: unknown[] = Array.isArray(value) ? value : [value];
    if (values.length === 0 || values.length > MAX_VALUES) {
      this.add(path, `Expected 1 to ${MAX_VALUES} values.`);
    }
    for (const one of values) {
      if (comparableText(one as Json) !== undefined) continue;
      this.add(path, `Expected text of at most ${MAX_FIELD_VALUE_BYTES} bytes, a number, true or false.`);
    }
  }

  #bound(value: unknown, path: Path, least: number): void {
    const bound = this.#map(value, path, ["keep", "for"]);
    if (bound === undefined) return;
    const { keep, for: age } = bound;
    if (keep === undefined && age === undefined) {
      this.add(path, 'It bounds nothing: give "keep" (a count), "for" (a duration), or both.');
    }
    const isCount =
      Number.isSafeInteger(keep) && (keep as number) >= least && (keep as number) <= LIMITS.keep;
    if (keep !== undefined && !isCount) {
      this.add([...path, "keep"], `Expected a whole number from ${least} to ${LIMITS.keep}.`);
    }
    if (age !== undefined) this.#duration(age, [...path, "for"]);
  }

  #duration(value: unknown, path: Path): void {
    if (typeof value !== "string" && typeof value !== "number") {
      this.add(path, 'Expected a duration, such as "P30D" or a number of milliseconds.');
      return;
    }
    const result = durationOf(value);
    if ("fault" in result) this.add(path, [result.fault, result.hint].filter(Boolean).join(" "));
    else if (result.ms === 0) this.add(path, "Expected a duration above zero.");
  }

  #map(value: unknown, path: Path, known?: readonly string[]): Record<string, unknown> | undefined {
    if (!isMap(value)) {
      this.add(path, known === undefined ? "Expected a map." : `Expected a map with ${known.join(", ")}.`);
      return undefined;
    }
    for (const name of known === undefined ? [] : Object.keys(value)) {
      if (known?.includes(name) === true) continue;
      const near = nearestName(name, known ?? []);
      const hint = near === undefined ? `Known: ${known?.join(", ")}.` : didYouMean(near);
      this.add(
        [...path, name],
        `There is no ${path.length === 0 ? "such policy" : "such thing here"}. ${hint}`,
      );
    }
    return value;
  }
}

function fieldProblem(field: unknown): string | undefined {
  if (typeof field !== "string" || field === "" || Buffer.byteLength(field) > LIMITS.fieldBytes) {
    return `A field is text of 1 to ${LIMITS.fieldBytes} bytes.`;
  }
  if (/[:<>]/.test(field)) return 'A field\'s name has no ":", "<" or ">", since a condition ends it there.';
  if (field.startsWith("-")) return 'A field\'s name does not begin with "-", which reverses an order.';
  if (!field.isWellFormed()) return "A field's name must be valid Unicode.";
  if (field.split(".").includes("")) return 'A field is a name, or names with "." between them.';
  return undefined;
}

function sentence(problem: string): string {
  return `${problem.charAt(0).toUpperCase()}${problem.slice(1)}.`;
}
