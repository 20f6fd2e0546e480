import { CairnError } from "@cairn/kv";
import type { CheckpointStore } from "@cairn/checkpoint";
import type { KvProvider } from "@cairn/kv";
import type { TxLog } from "../../log/tx-log.ts";
import { KIND_NAMES } from "../types/module-kinds.ts";

/** The members that an interface does not leave to choice. */
type NeededMember<T> = {
  [Name in keyof T & string]-?: undefined extends T[Name] ? never : Name;
}[keyof T & string];

/** What objects of each pluggable kind must have, as far as it can be told without calling them. */
const SHAPES: {
  readonly [K in keyof Shaped]: Readonly<
    Record<NeededMember<Shaped[K]>, "function" | "string" | "number" | "boolean">
  >;
} = {
  "tx-log": {
    name: "string",
    maxPayload: "number",
    id: "function",
    create: "function",
    exists: "function",
    append: "function",
    bounds: "function",
    fetch: "function",
    read: "function",
    close: "function",
  },
  "kv-store": { format: "string", persistent: "boolean", open: "function" },
  "checkpoint-store": {
    location: "string",
    exclusive: "boolean",
    list: "function",
    upload: "function",
    open: "function",
    read: "function",
    create: "function",
    replace: "function",
    remove: "function",
    now: "function",
    close: "function",
  },
};

/** Kinds that a user's module may be, with the interface that its object must have. */
export interface Shaped {
  readonly "tx-log": TxLog;
  readonly "kv-store": KvProvider;
  readonly "checkpoint-store": CheckpointStore;
}

/** Whether a kind can be a user's own. */
export function isShaped(kind: string): kind is keyof Shaped {
  return kind in SHAPES;
}

/** What `value` lacks to be a part of that kind; empty when it lacks nothing. */
export function missingMembers(kind: keyof Shaped, value: unknown): readonly string[] {
  const shape: Readonly<Record<string, string>> = SHAPES[kind];
  return Object.entries(shape)
    .filter(([name, type]) => typeof memberOf(value, name) !== type)
    .map(([name, type]) => (type === "function" ? `${name}()` : `${name} (${type})`));
}

/** The value as a part of that kind; CONFIG_MODULE with what it lacks. `origin` says who made it. */
export function asPart<K extends keyof Shaped>(kind: K, value: unknown, origin: string): Shaped[K] {
  const missing = missingMembers(kind, value);
  // All members of the interface are there; that they keep its contract only their own tests can tell.
  if (missing.length === 0) return value as Shaped[K];
  throw new CairnError(
    "CONFIG_MODULE",
    `${origin} did not give ${KIND_NAMES[kind]}: it lacks ${missing.join(", ")}.`,
    {
      hint: "docs/configuration.md shows a module of one's own.",
    },
  );
}

function memberOf(value: unknown, name: string): unknown {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return undefined;
  return Reflect.get(value, name);
}
