import { CairnError } from "@cairn/kv";
import type { AnyOperation, Transaction } from "@cairn/client";
import { jsonProblem, splitKey, LIMITS } from "@cairn/client/protocol";
import { formatPolicyProblem, invalidPolicies, policyProblems } from "../policies/policy-problems.ts";
import { bucketProblem, keyProblem, quote, MAX_JSON_DEPTH, isMap } from "@cairn/text";
import { eventProblem } from "./event-record.ts";
import {
  entryOptionsProblem,
  isQueueOperation,
  queueOperationProblem,
  type QueueWrite,
  queueWrite,
} from "./queue-operation.ts";

export class ValidTransaction implements Transaction<AnyOperation> {
  readonly ops: readonly AnyOperation[];
  declare readonly id?: string;
  /** This member exists only in the type, so that no other object can be used as a validated transaction. */
  declare protected readonly isChecked: true;

  /** Called only by {@link validTransaction}. */
  constructor({ ops, id }: Transaction<AnyOperation>) {
    this.ops = ops;
    if (id !== undefined) this.id = id;
  }
}

/**
 * Validates `value` as a transaction to submit. A {@link ValidTransaction} is returned unchanged, so each one is
 * validated only once. Throws `TX_INVALID` with the first invalid operation. The rules are those of POST /api/v1/tx
 * (docs/http.md).
 */
export function validTransaction(value: unknown): ValidTransaction {
  if (value instanceof ValidTransaction) return value;
  checkTransaction(value);
  return new ValidTransaction(value);
}

function checkTransaction(value: unknown): asserts value is Transaction<AnyOperation> {
  if (!isMap(value) || !Array.isArray(value["ops"])) {
    throw invalid('a transaction must be {"ops": [[operation, …], …], "id"?: string}');
  }
  for (const field of Object.keys(value)) {
    if (field !== "ops" && field !== "id") throw invalid(`unknown field ${quote(field)}`);
  }
  const { ops, id } = value as { ops: unknown[]; id?: unknown };
  const idProblem = id === undefined ? undefined : loggedIdProblem(id);
  if (idProblem !== undefined) throw invalid(idProblem);
  if (ops.length === 0) throw invalid("ops must not be empty");
  const written = new Set<string>();
  for (const [index, op] of ops.entries()) {
    const problem = operationProblem(op) ?? writtenTwice(op as AnyOperation, written);
    if (problem !== undefined) throw invalid(`ops[${index}]: ${problem}`);
  }
}

function operationProblem(op: unknown, isLogged = false): string | undefined {
  if (!Array.isArray(op)) return "an operation is an array";
  const [name, bucket, key] = op as unknown[];
  if (name === "event")
    return op.length === 2 ? eventProblem(op[1]) : `event must have 2 parts, not ${op.length}`;
  if (name === "configure") return configureProblem(op);
  // Values other than strings may be nested too deeply to be quoted.
  if (typeof name !== "string") return "an operation begins with its name";
  if (isQueueOperation(name)) {
    const problem = queueOperationProblem(op, isLogged);
    return problem ?? (name === "enqueue" && !isLogged ? documentProblem(op[3]) : undefined);
  }
  const length = OPERATION_LENGTH.get(name);
  if (length === undefined) return `unknown operation ${quote(name)}; known are ${KNOWN}`;
  const hasOptions = op.length === length + 1 && (!isLogged || isMap(op[length]));
  const isEntry = hasOptions && (name === "put" || name === "delete");
  if (op.length !== length && !isEntry)
    return `${String(name)} has ${length} parts, this one has ${op.length}`;
  const keyIssue = operationKeyProblem(bucket, key);
  if (keyIssue !== undefined) return keyIssue;
  const optionsIssue = isEntry ? entryOptionsProblem(op[length]) : undefined;
  if (optionsIssue !== undefined) return optionsIssue;
  if (name === "put") return documentProblem(op[3]);
  if (name === "match") return revisionProblem(op[3]);
  return undefined;
}

/** The document, event or policies of a logged operation follow on a separate line. */
export function loggedOperationProblem(op: unknown): string | undefined {
  if (!Array.isArray(op)) return operationProblem(op);
  switch (op[0]) {
    case "put":
      if (op.length !== 3 && !(op.length === 4 && isMap(op[3])))
        return "put has 3 parts in the log, and 4 for an entry of a queue";
      return operationKeyProblem(op[1], op[2]) ?? (op.length === 4 ? entryOptionsProblem(op[3]) : undefined);
    case "event":
      return op.length === 1 ? undefined : "event has 1 part in the log";
    case "configure":
      return op.length === 1 ? undefined : expectedRevisionProblem(op, 2);
    default:
      return operationProblem(op, true);
  }
}

/** Returns the reason why the line of an operation in the log is not an event, or not policies. */
export function loggedContentProblem(op: "event" | "configure", content: unknown): string | undefined {
  if (op === "event") return eventProblem(content);
  const [problem] = policyProblems(content);
  return problem === undefined ? undefined : formatPolicyProblem(problem);
}

function configureProblem(op: readonly unknown[]): string | undefined {
  const problems = policyProblems(op[1]);
  if (problems.length > 0) throw invalidPolicies(problems);
  return op.length === 2 ? undefined : expectedRevisionProblem(op, 3);
}

function expectedRevisionProblem(op: readonly unknown[], length: number): string | undefined {
  if (op.length !== length) return `configure has at most ${length} parts`;
  return revisionProblem(op[length - 1]);
}

const KNOWN =
  "put, delete, match, evict, event, configure, claim, renew, release, enqueue, drain, move and retire";

/** The number of parts of each operation, including its name. */
const OPERATION_LENGTH: ReadonlyMap<string, number> = new Map([
  ["put", 4],
  ["delete", 3],
  ["match", 4],
  ["evict", 3],
]);

function operationKeyProblem(bucket: unknown, key: unknown): string | undefined {
  const bucketIssue = bucketProblem(bucket);
  if (bucketIssue !== undefined) return bucketIssue;
  if (typeof key !== "string") return "a key is text: namespace/name";
  const { namespace, name } = splitKey(key);
  return keyProblem(namespace, name);
}

function revisionProblem(revision: unknown): string | undefined {
  if (revision === null || (Number.isSafeInteger(revision) && (revision as number) > 0)) return undefined;
  return "a revision to compare with is a positive integer or null (absent)";
}

export function documentProblem(document: unknown): string | undefined {
  return jsonProblem("a document", document, MAX_JSON_DEPTH)?.reason;
}

function writtenTwice(op: AnyOperation, written: Set<string>): string | undefined {
  if (op[0] === "match" || op[0] === "event") return undefined;
  const { id, shown } = writeOf(op);
  if (written.has(id)) return `${shown} twice in one transaction`;
  written.add(id);
  return undefined;
}

function writeOf(op: Exclude<AnyOperation, readonly ["match" | "event", ...unknown[]]>): QueueWrite {
  if (op[0] === "configure") return { id: "", shown: "the policies are set" };
  if (isQueueOperation(op[0])) {
    const { id, shown } = queueWrite(op as Parameters<typeof queueWrite>[0]);
    return { id, shown: `${shown} is changed` };
  }
  const [, bucket, key] = op as readonly [string, string, string];
  const { namespace, name } = splitKey(key);
  return { id: `${bucket}/${namespace}/${name}`, shown: `${quote(key)} is written` };
}

export function loggedIdProblem(id: unknown): string | undefined {
  if (typeof id !== "string" || id.length === 0 || Buffer.byteLength(id) > LIMITS.idBytes) {
    return `id is text of 1 to ${LIMITS.idBytes} bytes`;
  }
  // A lone surrogate has no UTF-8 encoding, so two different ids could become equal.
  return id.isWellFormed() ? undefined : "id must be valid Unicode";
}

function invalid(problem: string): CairnError {
  return new CairnError(
    "TX_INVALID",
    `Not a valid transaction: ${problem}.`,
    'Send a transaction in the form {"ops": [["put", bucket, key, document], ["delete", bucket, key], …]}. GET /openapi.json of a node and the types of @cairn/client describe every operation. Nothing was submitted.',
  );
}
