import { CairnClientError } from "./types/client-error.ts";
import type {
  CallOptions,
  ClientEntriesOptions,
  ClientEventQuery,
  ClientFollowQuery,
  ClientListQuery,
  ClientQueryOptions,
  ClientReadOptions,
  ClientWatchQuery,
  DocumentSelection,
  HttpClientOptions,
  LoadOptions,
  RemoveQuery,
  SubmitOptions,
  WaitOptions,
  WriteOptions,
} from "./types/client-types.ts";

/** The names of options; the compiler requires all of them. */
type Names<Options> = Readonly<Record<keyof Options, true>>;

const CALL: Names<CallOptions> = { signal: true };
const WAIT: Names<WaitOptions> = { ...CALL, timeoutMs: true };
const READ: Names<ClientReadOptions> = { ...WAIT, minTx: true, stale: true, linearizable: true };
const SUBMIT: Names<SubmitOptions> = { ...WAIT, id: true };
const WRITE: Names<WriteOptions> = { ...SUBMIT, ifRevision: true };
const PLACE = { bucket: true, namespace: true } as const;
const SELECTION: Names<DocumentSelection> = { namespace: true, prefix: true, from: true, to: true };
const LIST: Names<ClientListQuery> = {
  ...READ,
  ...SELECTION,
  asOf: true,
  where: true,
  order: true,
  pageSize: true,
};
const ENTRIES: Names<ClientEntriesOptions> = { ...READ, limit: true, cursor: true };
const SQL: Names<ClientQueryOptions> = { ...WAIT, minTx: true, limit: true };
const EVENTS: Names<ClientEventQuery> = { ...READ, limit: true, bucket: true, object: true, before: true };
const FOLLOW: Names<ClientFollowQuery> = { ...CALL, ...PLACE, from: true, onReconnect: true };
const WATCH: Names<ClientWatchQuery> = { ...FOLLOW, onPosition: true };
const LOAD: Names<LoadOptions> = { ...WAIT, onProgress: true };
const REMOVE: Names<RemoveQuery> = { ...LOAD, ...SELECTION };

const HTTP: Names<HttpClientOptions> = {
  urls: true,
  token: true,
  retryForMs: true,
  attemptMs: true,
  fetch: true,
};

/** The options of each call, and of the client itself. */
const OPTIONS = {
  CairnClient: { ...HTTP, readYourWrites: true, access: true },
  get: { ...READ, asOf: true },
  list: LIST,
  page: LIST,
  history: { ...READ, pageSize: true },
  put: WRITE,
  delete: WRITE,
  update: WAIT,
  load: LOAD,
  deleteAll: REMOVE,
  transact: WAIT,
  submit: CALL,
  await: WAIT,
  watch: WATCH,
  follow: FOLLOW,
  buckets: READ,
  policies: READ,
  setPolicies: WRITE,
  queues: READ,
  queue: READ,
  openEntries: ENTRIES,
  entry: READ,
  enqueue: SUBMIT,
  sql: SQL,
  recordEvent: SUBMIT,
  events: EVENTS,
  status: CALL,
  cluster: WAIT,
  digest: CALL,
} as const;

export type CallName = keyof typeof OPTIONS;

/**
 * Returns the options of a call. Throws `REQUEST_INVALID` if one is unknown: for a program without types, a misspelt
 * `ifRevision` would write unconditionally, and a misspelt `prefix` would delete everything.
 */
export function checkedOptions<Options extends object>(call: CallName, options: Options): Options {
  requirePlain(call, options);
  for (const name of Object.keys(options))
    if (!Object.hasOwn(OPTIONS[call], name))
      throw invalid(
        `${call} has no option ${JSON.stringify(name)}.`,
        `Nothing was sent. The options of ${call} are ${Object.keys(OPTIONS[call]).join(", ")}.`,
      );
  for (const [name, value] of Object.entries(options)) {
    const [is, what] = VALUES[name] ?? [];
    if (value !== undefined && is?.(value) === false)
      throw invalid(`The ${name} of ${call} is ${String(value)}.`, `Nothing was sent. ${name} is ${what}.`);
  }
  return options;
}

type ValueCheck = readonly [is: (value: unknown) => boolean, what: string];
const isNotNegative = (value: unknown): boolean => typeof value === "number" && value >= 0;
const MILLISECONDS: ValueCheck = [isNotNegative, "a number of milliseconds, and not negative"];
const isWhole = (value: unknown): boolean => Number.isInteger(value) && isNotNegative(value);
const WHOLE: ValueCheck = [isWhole, "a whole number, and not negative"];
const isSignal = (value: unknown): boolean => typeof (value as AbortSignal | null)?.aborted === "boolean";

/** What is checked here because it would end no wait, be ignored, or fail without the name of the option. */
const VALUES: Readonly<Record<string, ValueCheck>> = {
  signal: [isSignal, "an AbortSignal"],
  timeoutMs: MILLISECONDS,
  retryForMs: MILLISECONDS,
  attemptMs: MILLISECONDS,
  minTx: WHOLE,
  limit: WHOLE,
  pageSize: WHOLE,
};

/** Also throws for a filter without a value, which would delete everything. */
export function checkedRemoval(query: RemoveQuery): RemoveQuery {
  checkedOptions("deleteAll", query);
  for (const [name, value] of Object.entries(query))
    if (Object.hasOwn(SELECTION, name) && (value ?? "") === "")
      throw invalid(
        `deleteAll was given a ${name} without a value.`,
        `Nothing was deleted. To delete all documents of a bucket, omit ${name}.`,
      );
  return query;
}

/** Inherited members would be ignored: without its `prefix`, a call of `deleteAll` would delete everything. */
function requirePlain(call: CallName, options: unknown): void {
  if (typeof options === "object" && options !== null) {
    const prototype: unknown = Object.getPrototypeOf(options);
    // Each realm has an Object of its own.
    if (prototype === null || Object.getPrototypeOf(prototype) === null) return;
  }
  throw invalid(
    `The options of ${call} are not a plain object.`,
    "Nothing was sent. Pass them as {name: value}.",
  );
}

function invalid(message: string, hint: string): CairnClientError {
  return new CairnClientError("REQUEST_INVALID", message, { hint });
}
