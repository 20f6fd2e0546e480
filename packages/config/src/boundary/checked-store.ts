import { Readable } from "node:stream";
import type { CheckpointStore, StoredContent, StoredRanges } from "@cairn/checkpoint";
import { isCairnError } from "@cairn/kv";
import {
  type AnyAnswer,
  type CheckedMethods,
  type Contract,
  isCount,
  isText,
  moduleFault,
  thrown,
  UNKNOWN_OUTCOME,
} from "./checked-part.ts";

const RANGES: CheckedMethods<StoredRanges> = {
  read: {
    what: "a Buffer with the bytes of the range",
    is: (answer: unknown, start, end) => Buffer.isBuffer(answer) && answer.length === end - start,
  },
  close: {},
};

const STORE: CheckedMethods<CheckpointStore> = {
  list: {
    what: "an array of files with the prefix, each with its name, size and time in ms",
    is: (answer: unknown, prefix) =>
      Array.isArray(answer) &&
      answer.every((file: AnyAnswer) => {
        const { name, bytes, modifiedAt } = file ?? {};
        return isText(name) && name.startsWith(prefix) && isCount(bytes) && Number.isFinite(modifiedAt);
      }),
  },
  upload: {
    what: "the number of bytes",
    is: (answer) => isCount(answer?.["bytes"]),
    outcome: UNKNOWN_OUTCOME,
  },
  open: {
    what: "a Readable",
    is: (answer: unknown) => answer instanceof Readable,
    within: (content: StoredContent, boundary, name, { signal } = {}) => {
      const destroy = content.destroy.bind(content);
      // A stream is destroyed with the error that its reader receives.
      content.destroy = (given) => {
        // Some callers of destroy() say with null that there is no error.
        const error = given ?? undefined;
        const isRight = error === undefined || isCairnError(error) || signal?.aborted === true;
        const happened = `the stream of open() ended with ${thrown(error)} while ${name} was read.`;
        return destroy(isRight ? error : moduleFault(boundary, happened, error));
      };
      return content;
    },
  },
  openRanges: {
    what: "an object with read() and close()",
    part: RANGES,
    isOptional: true,
  },
  read: {
    what: "a text with its tag, or undefined",
    is: (answer) => answer === undefined || (isText(answer?.["text"]) && isText(answer?.["tag"])),
  },
  create: {
    what: "a boolean",
    is: (answer: unknown) => typeof answer === "boolean",
    outcome: UNKNOWN_OUTCOME,
  },
  replace: {
    what: "false or the new tag",
    is: (answer: unknown) => answer === false || isText((answer as AnyAnswer)?.["tag"]),
    outcome: UNKNOWN_OUTCOME,
  },
  remove: { outcome: UNKNOWN_OUTCOME },
  now: { what: "a number of ms", is: Number.isFinite },
  describe: { isSync: true, isOptional: true },
  tidy: {
    what: "an array of names",
    is: (answer: unknown) => Array.isArray(answer) && answer.every(isText),
    outcome: UNKNOWN_OUTCOME,
    isOptional: true,
  },
  close: {},
};

export const CHECKPOINT_STORE: Contract<CheckpointStore> = {
  kind: "checkpoint store",
  // It is tried again, and never treated as empty.
  code: "STORE_UNREACHABLE",
  tests: "checkpointStoreSuite of @cairn/checkpoint/testing",
  fields: { location: "string", exclusive: "boolean" },
  methods: STORE,
};
