import { isUint8Array } from "node:util/types";
import type { TxLog } from "@cairn/engine";
import { isCairnError } from "@cairn/kv";
import {
  type AnyAnswer,
  type CheckedMethods,
  type Contract,
  isCount,
  isText,
  UNKNOWN_OUTCOME,
} from "./checked-part.ts";

const isPosition = (value: unknown): value is number => isCount(value) && value > 0;
const isTextOrNone = (answer: unknown): boolean => answer === undefined || isText(answer);

/** A method that calls a listener until the function that it returns is called. */
const LISTENING = {
  isOptional: true,
  isSync: true,
  what: "a function that ends it",
  is: (answer: unknown) => typeof answer === "function",
} as const;

const LOG: CheckedMethods<TxLog> = {
  id: { what: "a string or undefined", is: isTextOrNone },
  create: { outcome: UNKNOWN_OUTCOME },
  exists: { what: "a boolean", is: (answer: unknown) => typeof answer === "boolean" },
  append: {
    what: "a position, which is a positive integer, and whether the message is a duplicate",
    is: (answer) => isPosition(answer?.["position"]) && typeof answer?.["duplicate"] === "boolean",
    outcome:
      "The message may have been stored: a transaction with an id can be sent again; otherwise, check first whether its writes exist.",
  },
  bounds: {
    what: "the first and last position, which are integers",
    is: (answer) => {
      const { first, last, lastTime = 0 } = answer ?? {};
      return isPosition(first) && isCount(last) && last >= first - 1 && isCount(lastTime);
    },
  },
  fetch: {
    what: "the message at the position, with a Uint8Array and a time in ms, or undefined",
    is: (answer, position) =>
      answer === undefined || (isMessage(answer) && answer?.["position"] === position),
  },
  read: {
    what: "a later message, with a Uint8Array and a time in ms",
    rows: (from) => {
      let next = from;
      return (message) => {
        if (!isMessage(message) || message.position < next) return false;
        next = message.position + 1;
        return true;
      };
    },
  },
  before: { what: "a string or undefined", is: isTextOrNone, isOptional: true },
  onRestored: LISTENING,
  onStoring: LISTENING,
  trim: { outcome: UNKNOWN_OUTCOME, isOptional: true },
  removeUnused: { outcome: UNKNOWN_OUTCOME, isOptional: true },
  inspect: {
    what: "an array of CairnErrors",
    is: (answer: unknown) => Array.isArray(answer) && answer.every((warning) => isCairnError(warning)),
    isOptional: true,
  },
  contents: { what: "a string", is: isText, isOptional: true },
  close: {},
};

export const TX_LOG: Contract<TxLog> = {
  kind: "log",
  // A joining node tries again, and one that follows its log keeps its index and reads again.
  code: "LOG_UNREACHABLE",
  tests: "describeTxLog of @cairn/engine/testing",
  fields: { name: "string", maxPayload: "number" },
  methods: LOG,
};

function isMessage(message: AnyAnswer): message is { readonly position: number } {
  const { position, time, nanoseconds = 0, payload } = message ?? {};
  const isTimed = Number.isSafeInteger(time) && isCount(nanoseconds) && nanoseconds < 1_000_000;
  return isPosition(position) && isTimed && isUint8Array(payload);
}
