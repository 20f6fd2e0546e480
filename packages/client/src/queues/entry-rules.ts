import { isoDuration } from "../types/iso-duration.ts";
import { jsonProblem } from "../types/json-problem.ts";
import type { FieldValues, PolicyDuration, QueuePolicy } from "../types/policies.ts";
import type { QueueEntry } from "../types/queues.ts";
import type { Json } from "../types/transaction.ts";
import type { EntryHandler } from "./director-options.ts";

/** Thrown by a handler that will never finish: the entry gets the `dead` fields of `retry` without further attempts. */
export class GiveUp extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = "GiveUp";
  }
}

/** The failed attempts at an entry, in its field `retry`. */
export interface Attempts {
  readonly attempts: number;
  /** The time of the next attempt; null if there is none. */
  readonly at: string | null;
  readonly error: string;
  /** When an attempt began of which nothing is known but that; undefined if the last attempt was answered. */
  readonly begun?: string;
}

const DEFAULT_RETRY = { first: "PT1S", max: "PT5M" } as const;
const MAX_ERROR_CHARACTERS = 500;
export const UNANSWERED = "The process of the director ended during the attempt.";
/** The pause before an entry is handed out again whose document does not say when it is due. */
export const AGAIN_PAUSE_MS = 1_000;

interface Fields {
  readonly [name: string]: Json;
}

/** Returns whether an entry is finished, as every node decides it (docs/queues.md#the-policy). */
export function isFinished(document: Json, { terminal }: QueuePolicy): boolean {
  return Object.entries(terminal).every(([field, values]) => {
    let value: Json | undefined = document;
    for (const name of field.split(".")) value = fieldOf(value, name);
    // Nodes compare texts.
    const isComparable = ["string", "boolean", "number"].includes(typeof value);
    return isComparable && valuesOf(values).some((one) => String(one) === String(value));
  });
}

/** Returns an entry with the first value of each terminal field, which finishes it. */
export function finished(document: Json, { terminal }: QueuePolicy): Json {
  const first = Object.entries(terminal).map(([field, values]) => [field, valuesOf(values)[0] ?? true]);
  return withFields(asMap(document), Object.fromEntries(first));
}

/**
 * Returns an entry after an attempt that failed at `now`: with the time of the next attempt or, after the last one, with
 * the `dead` fields. Undefined if the entry stays as it is: what is not a map cannot count attempts.
 */
export function failed(document: Json, error: Error, policy: QueuePolicy, now: number): Json | undefined {
  const { limit = Infinity, dead } = policy.retry ?? {};
  const attempts = (attemptsOf(document)?.attempts ?? 0) + 1;
  const message = error.message.slice(0, MAX_ERROR_CHARACTERS);
  if (dead !== undefined && (error instanceof GiveUp || attempts >= limit)) {
    return withFields({ ...asMap(document), retry: { attempts, at: null, error: message } }, dead);
  }
  if (!isMap(document)) return undefined;
  return { ...document, retry: { attempts, at: nextAt(attempts, policy, now), error: message } };
}

function nextAt(attempts: number, { retry }: QueuePolicy, now: number): string {
  const { first, max } = { ...DEFAULT_RETRY, ...retry };
  const factor = 2 ** Math.min(Math.max(0, attempts - 1), 50);
  return new Date(now + Math.min(durationMs(max), durationMs(first) * factor)).toISOString();
}

/**
 * Returns an entry as it is written before an attempt that may end the director's process, so that the next director
 * knows of it. If the entry was in hand when another process ended, the attempt counts, or the entry is given up if those
 * that counted were enough. Undefined if attempts at it are not counted.
 */
export function begun(document: Json, policy: QueuePolicy, now: number): Json | undefined {
  const { limit = Infinity, dead } = policy.retry ?? {};
  if (!isMap(document) || dead === undefined || limit === Infinity) return undefined;
  const { attempts: before = 0 } = attemptsOf(document) ?? {};
  const isSuspected = isSuspect(document);
  if (isSuspected && before >= limit)
    return withFields({ ...document, retry: { attempts: before, at: null, error: UNANSWERED } }, dead);
  const attempts = isSuspected ? before + 1 : before;
  const at = nextAt(attempts, policy, now);
  return { ...document, retry: { attempts, at, error: UNANSWERED, begun: new Date(now).toISOString() } };
}

/** Returns whether an entry was in hand when the process of its director ended, which its handler may have caused. */
export function isSuspect(document: Json): boolean {
  return attemptsOf(document)?.begun !== undefined;
}

/** Returns an entry without what makes it a suspect, as its handler gets it. */
export function unsuspected(document: Json): Json {
  const { begun: _, ...retry } = attemptsOf(document) ?? {};
  return isMap(document) && isSuspect(document) ? { ...document, retry } : document;
}

/** Returns the time before which an entry must not be attempted again (ms since 1970); 0 if it may be now. */
export function dueAt(document: Json): number {
  const written = fieldOf(fieldOf(document, "retry"), "at");
  const at = Date.parse(typeof written === "string" ? written : "");
  return Number.isNaN(at) ? 0 : at;
}

/** Returns when an entry with a new document is handed out again (ms since 1970); Infinity if it is finished. */
export function dueAgainAt(before: Json, after: Json, policy: QueuePolicy, now: number): number {
  if (isFinished(after, policy)) return Infinity;
  const at = dueAt(after);
  // A time that the document contained before this attempt says nothing about the next one.
  return at === 0 || at === dueAt(before) ? now + AGAIN_PAUSE_MS : at;
}

function attemptsOf(document: Json): Attempts | undefined {
  const retry = fieldOf(document, "retry");
  const [attempts, at, error, since] = ["attempts", "at", "error", "begun"].map((name) =>
    fieldOf(retry, name),
  );
  if (typeof attempts !== "number" || typeof error !== "string") return undefined;
  const known = { attempts, at: typeof at === "string" ? at : null, error };
  return typeof since === "string" ? { ...known, begun: since } : known;
}

/** Returns a policy. Throws if this program cannot read all of its durations. */
export function checkedPolicy(policy: QueuePolicy): QueuePolicy {
  const { lease, retry: { first = lease, max = lease } = {} } = policy;
  for (const duration of [lease, first, max]) durationMs(duration);
  return policy;
}

/**
 * Returns a duration of a policy in milliseconds, rounded as by the nodes, which have checked it. Throws if this program
 * cannot read it, as when it is older than the nodes: with a lease of 0, for example, a director would do nothing.
 */
export function durationMs(duration: PolicyDuration): number {
  const ms = Math.round((typeof duration === "number" ? duration : isoDuration(duration)?.ms) ?? NaN);
  if (ms > 0 && ms < Infinity) return ms;
  throw new Error(
    `This program cannot read the duration ${JSON.stringify(duration)} in the policy of the queue.`,
  );
}

/** Returns the document of an entry as a map, so that it can be given fields. */
function asMap(document: Json): Fields {
  return isMap(document) ? document : { document };
}

/** Returns a document with some fields replaced. A field's name may be a path. What is not a map becomes one. */
function withFields(document: Json, fields: Fields): Json {
  let changed = document;
  for (const [field, value] of Object.entries(fields)) changed = withField(changed, field.split("."), value);
  return changed;
}

function withField(document: Json, [name = "", ...rest]: readonly string[], value: Json): Json {
  const map = isMap(document) ? document : {};
  return { ...map, [name]: rest.length === 0 ? value : withField(fieldOf(map, name) ?? {}, rest, value) };
}

function fieldOf(document: Json | undefined, name: string): Json | undefined {
  return isMap(document) && Object.hasOwn(document, name) ? document[name] : undefined;
}

function isMap(document: Json | undefined): document is Fields {
  return typeof document === "object" && document !== null && !Array.isArray(document);
}

function valuesOf(values: FieldValues): readonly (string | number | boolean)[] {
  return typeof values === "object" ? values : [values];
}

/**
 * Has an entry handled. Returns its new document, undefined for none, or the reason why the attempt failed. Never rejects,
 * whatever the handler returns or throws: an attempt fails, not a director.
 */
export async function handleEntry(
  handle: EntryHandler,
  entry: QueueEntry,
  signal: AbortSignal,
): Promise<{ readonly document: Json | undefined } | { readonly error: Error }> {
  try {
    const result: unknown = await handle(entry, signal);
    if (result === undefined) return { document: undefined };
    const problem = jsonProblem("what the handler returned", result);
    if (problem !== undefined)
      return { error: new Error(`The document cannot be stored: ${problem.reason}.`) };
    // The handler may go on to change what it returned.
    return { document: JSON.parse(JSON.stringify(result)) as Json };
  } catch (thrown) {
    return { error: asError(thrown) };
  }
}

/** Returns what was thrown as an error with a message. Anything can be thrown, and not everything has a text. */
export function asError(thrown: unknown): Error {
  try {
    if (thrown instanceof Error && typeof thrown.message === "string") return thrown;
    return new Error(String(thrown));
  } catch {
    return new Error("A value without a text was thrown.");
  }
}
