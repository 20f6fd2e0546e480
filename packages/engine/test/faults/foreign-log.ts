import { encodeBirthRecord } from "../../src/transactions/transaction-codec.ts";
import type { LogMessage } from "../../src/log/tx-log.ts";
import { framed } from "../transactions/framed.ts";
import { seededRandom } from "@cairn/test-support/nodes/seeded-log";

/** The log id of every foreign log. */
export const FOREIGN_LOG_ID = "log-1";

type Pick = <T>(values: readonly T[]) => T;

const BUCKETS = [
  "pods",
  "pods",
  "pods",
  "jobs",
  "constructor",
  "to-string",
  "events",
  "Pods",
  "__proto__",
  "",
];
const KEYS = [
  "a",
  "b",
  "default/a",
  "c/d/e",
  "ü",
  "\u0000",
  "\ud83d\ude00",
  "\\ud800",
  "__proto__",
  "/",
  "",
  "x".repeat(1_030),
];
const DOCUMENTS = [
  "1",
  "null",
  '{"state":"on"}',
  '{"state":"off","n":1}',
  '{"state":"on","state":"off"}',
  '{"__proto__":{"state":"on"}}',
  '{"state":1e400}',
  '{"state":"\\ud800"}',
  '{"state":{"deep":[1]}}',
  "-0",
  "12345678901234567890",
  ' {"state" : true} ',
  "not json",
  "",
  '{"state":}',
  "\ufeff1",
  "[1,]",
  "\r1",
  "[".repeat(501) + "]".repeat(501),
];
const POLICIES = [
  "{}",
  '{"indexes":{"pods":["state"]}}',
  '{"indexes":{"pods":["state","n"],"jobs":["state"]}}',
  '{"expire":{"pods":{"after":5}}}',
  '{"expire":{"pods":{"when":{"state":"on"},"after":1}}}',
  '{"history":{"pods":{"keep":1}}}',
  '{"history":{"pods":{"keep":2,"for":10},"jobs":{"keep":0}}}',
  '{"events":{"keep":2}}',
  '{"indexes":{"__proto__":["a"]}}',
  '{"indexes":{"pods":["state"]},"indexes":{}}',
  "[]",
];
const EVENTS = [
  '{"object":"o","reason":"r"}',
  '{"object":"o","reason":"r","time":"5"}',
  '{"object":"o","reason":"r","time":"9223372036854775807"}',
  '{"object":"o"}',
  '{"object":"o","reason":"r","by":1}',
];
const IDS = ["one", "two", "three", "\\ud800", "\\ud801", "", "x".repeat(257)];
const INSERTED = [
  "",
  "{",
  "}",
  "[",
  "]",
  '"',
  ",",
  ":",
  "\n",
  "\\",
  "0",
  " ",
  "\u0000",
  '"ops":[],',
  '"id":"x",',
  "\u00e9",
];

/**
 * Returns the line of operations and the documents of one transaction, which in most cases a node could have written.
 */
function body(random: () => number, pick: Pick): string {
  if (random() < 0.02)
    return pick(['{"birth":{"log":"log-1","offset":0}}', '{"birth":{"log":"x","offset":3}}', "[]", "null"]);
  const lines: string[] = [];
  const ops = Array.from({ length: 1 + Math.floor(random() ** 3 * 5) }, () => {
    const key = `"${pick(BUCKETS)}","${pick(KEYS)}"`;
    const kind = random();
    if (kind < 0.55) {
      lines.push(pick(DOCUMENTS));
      return `["put",${key}]`;
    }
    if (kind < 0.7) return `["delete",${key}]`;
    if (kind < 0.75) return `["evict",${key}]`;
    if (kind < 0.85) return `["match",${key},${pick(["null", "2", "3", "5", "0", "1.5", '"2"'])}]`;
    if (kind < 0.92) {
      lines.push(pick(EVENTS));
      return '["event"]';
    }
    if (kind < 0.99) {
      lines.push(pick(POLICIES));
      return pick(['["configure"]', '["configure",null]', '["configure",4]']);
    }
    return pick(['["cas","pods","a"]', "[]", "null", "[[[[]]]]", "{}"]);
  });
  const id = random() < 0.2 ? `,"id":"${pick(IDS)}"` : "";
  if (random() < 0.02) lines.push("1");
  if (random() < 0.02) lines.pop();
  return [`{"ops":[${ops.join(",")}]${id}}`, ...lines].join("\n");
}

/**
 * Returns a log of `count` messages by arbitrary writers. They may be badly framed or changed, and may belong to
 * another log.
 */
export function foreignLog(seed: number, count: number): LogMessage[] {
  const random = seededRandom(seed);
  const pick: Pick = (values) => {
    const value = values[Math.floor(random() * values.length)];
    if (value === undefined) throw new Error("nothing to pick from");
    return value;
  };
  const messages = [
    {
      position: 1,
      time: 1_000,
      payload: encodeBirthRecord({ log: FOREIGN_LOG_ID, offset: 0 }, "0".repeat(16)),
    },
  ];
  for (let position = 2; position <= count; position += 1) {
    let text = body(random, pick);
    if (random() < 0.15) {
      const at = Math.floor(random() * text.length);
      text = text.slice(0, at) + pick(INSERTED) + text.slice(at + Math.floor(random() * 3));
    }
    const logId = random() < 0.03 ? "log-2" : FOREIGN_LOG_ID;
    const payload = Buffer.from(framed(text.toWellFormed(), { logId }));
    if (random() < 0.05) {
      const at = Math.floor(random() * payload.length);
      payload[at] = (payload[at] ?? 0) ^ (1 << Math.floor(random() * 8));
    }
    messages.push({ position, time: 1_000 + Math.floor(random() * 40) + position, payload });
  }
  return messages;
}
