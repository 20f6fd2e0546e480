import { Duration } from "luxon";
import type { CallNode, ConfigNode } from "../source/config-tree.ts";
import {
  DURATION_CALLS,
  isoDurationText,
  luxonDuration,
  parseDuration,
  wholeMilliseconds,
  type DurationResult,
  nearestName,
} from "@cairn/text";
import type { ValueType } from "./reading.ts";

/** Returns the type of a duration above zero, in milliseconds. */
export function duration(): ValueType<number> {
  return {
    name: "duration",
    jsonSchema: {
      type: ["integer", "string"],
      minimum: 1,
      description: "ISO 8601, such as PT6H or P7D, or a whole number of milliseconds",
    },
    read(value) {
      const result = durationOf(value.node);
      if (result === undefined) return value.expected('a duration, such as "PT6H"');
      if ("fault" in result) return value.refuse(result.fault, result.hint);
      return result.ms > 0 ? result.ms : value.expected('a duration above zero, such as "PT6H"');
    },
    show: isoDurationText,
  };
}

/** Returns the type of either a duration above zero, in milliseconds, or `word`, which may be a keyword in EDN. */
export function durationOr<Word extends string>(word: Word): ValueType<number | Word> {
  const length = duration();
  return {
    ...length,
    name: `duration or \`${word}\``,
    read(value) {
      const { node } = value;
      const isWord = (node.type === "string" || node.type === "keyword") && node.text === word;
      return isWord ? word : length.read(value);
    },
    show: (value) => (typeof value === "number" ? length.show?.(value) : value),
  };
}

export function durationOf(node: ConfigNode): DurationResult | undefined {
  if (node.type === "number") {
    if (Number.isInteger(node.value)) return wholeMilliseconds(node.value, String(node.value));
    return {
      fault: `${node.value} is not a whole number of milliseconds.`,
      hint: "Write a whole number of milliseconds, or an ISO 8601 duration such as PT1.5S.",
    };
  }
  if (node.type === "string") {
    // Variables are strings, so digits from a variable are treated as milliseconds, as if they were not quoted.
    const digits = (node.origin.variables ?? []).length > 0 || node.origin.kind === "environment";
    return digits && /^[0-9]+$/.test(node.text)
      ? wholeMilliseconds(Number(node.text), node.text)
      : parseDuration(node.text);
  }
  if (node.type === "instance")
    return Duration.isDuration(node.value) ? luxonDuration(node.value) : undefined;
  return node.type === "call" ? durationOfCall(node) : undefined;
}

function durationOfCall({ name: written, arguments: given }: CallNode): DurationResult {
  const name = written.replace(/^java\.time\./, "");
  const unit = DURATION_CALLS.get(name);
  const [only] = given;
  if (name === "Duration/parse" && given.length === 1 && only?.type === "string")
    return { fault: `(${written} …) is code.`, hint: `Write "${only.text}".` };
  if (unit === undefined) {
    const near = nearestName(name, DURATION_CALLS.keys()) ?? "Duration/ofHours";
    return {
      fault: `(${written} …) is not a duration.`,
      hint: `Did you mean (${near} …)? Known: ${[...DURATION_CALLS.keys()].join(", ")}.`,
    };
  }
  if (given.length !== 1 || only?.type !== "number" || !Number.isInteger(only.value))
    return { fault: `(${written} …) must have one whole number.`, hint: `Write (${written} 6).` };
  return wholeMilliseconds(only.value * unit, `(${written} ${only.value})`);
}
