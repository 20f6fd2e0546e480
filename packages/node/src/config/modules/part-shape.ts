import { CairnError } from "@cairn/kv";
import type { CheckpointStore } from "@cairn/checkpoint";
import type { KvProvider } from "@cairn/kv";
import type { TxLog } from "../../log/tx-log.ts";
import { KIND_NAMES } from "../types/module-kinds.ts";

/** The names of the required members of an interface. */
type RequiredMember<T> = {
  [Name in keyof T & string]-?: undefined extends T[Name] ? never : Name;
}[keyof T & string];

/** The required members of each pluggable kind, with their types. */
const SHAPES: {
  readonly [K in keyof Shaped]: Readonly<
    Record<RequiredMember<Shaped[K]>, "function" | "string" | "number" | "boolean">
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

/** The pluggable kinds, with their interfaces. */
export interface Shaped {
  readonly "tx-log": TxLog;
  readonly "kv-store": KvProvider;
  readonly "checkpoint-store": CheckpointStore;
}

/** Returns whether a kind is pluggable. */
export function isShaped(kind: string): kind is keyof Shaped {
  return kind in SHAPES;
}

/** Returns the members of a kind that `value` lacks, or has with a different type. */
export function missingMembers(kind: keyof Shaped, value: unknown): readonly string[] {
  const shape: Readonly<Record<string, string>> = SHAPES[kind];
  return Object.entries(shape)
    .filter(([name, type]) => typeof memberOf(value, name) !== type)
    .map(([name, type]) => (type === "function" ? `${name}()` : `${name} (${type})`));
}

/** Throws `CONFIG_MODULE` with the members that `value` lacks; `origin` is the module that created it. */
export function asPart<K extends keyof Shaped>(kind: K, value: unknown, origin: string): Shaped[K] {
  const missing = missingMembers(kind, value);
  // All required members exist. The conformance suites test whether they fulfil their contract.
  if (missing.length === 0) return value as Shaped[K];
  throw new CairnError(
    "CONFIG_MODULE",
    `${origin} did not return ${KIND_NAMES[kind]}: it lacks ${missing.join(", ")}.`,
    {
      hint: "Return a complete part, as docs/configuration.md describes for modules of your own.",
    },
  );
}

function memberOf(value: unknown, name: string): unknown {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return undefined;
  return Reflect.get(value, name);
}
