import { framed } from "@cairn/test-support/framed-message";
import { describe, expect, it } from "vitest";
import { violationsOf } from "./check-observations.ts";
import { LogHistory } from "./log-history.ts";
import type { Observation, ReadObservation, WriteAnswer } from "./observation.ts";

const LOG = "log-1";
const KEY = "default/k1";

/** Transaction 2 puts "a" with the id "one", 3 and 5 compare and set, 4 repeats the id "one", 6 deletes. */
function history(): LogHistory {
  const put = (matched: number | null, document: string): string =>
    `{"ops":[["match","things","${KEY}",${matched}],["put","things","${KEY}"]]}\n${document}`;
  const one = `{"ops":[["put","things","${KEY}"]],"id":"one"}\n"a"`;
  const bodies = [
    JSON.stringify({ birth: { log: LOG, offset: 0 } }),
    one,
    put(2, '"b"'),
    one,
    put(2, '"c"'),
    `{"ops":[["delete","things","${KEY}"]],"id":"two"}`,
  ];
  const log = new LogHistory();
  for (const [n, body] of bodies.entries())
    log.apply({ position: n + 1, time: n + 1, payload: framed(LOG, body) });
  return log;
}

function wrote(value: string, answer: WriteAnswer, id?: string): Observation {
  return { kind: "write", client: 1, value, answer, ...(id === undefined ? {} : { id }) };
}

function saw(minTxId: number, read: ReadObservation["read"]): Observation {
  return { kind: "read", client: 1, node: 0, minTxId, receivedAt: 1_000, read };
}

const committed = (txId: number): WriteAnswer => ({ kind: "outcome", txId, committed: true });
const found = (revision: number, json: string) => ({ revision, json });

describe("violationsOf", () => {
  it.each<[string, Observation]>([
    ["a write that is in the log as its transaction", wrote('"b"', committed(3))],
    ["a write with an id that was sent twice", wrote('"a"', committed(2), "one")],
    [
      "a write whose response names the second of two transactions with its id",
      wrote('"a"', committed(4), "one"),
    ],
    ["a write that lost a conflict", wrote('"c"', { kind: "outcome", txId: 5, committed: false })],
    ["a conflict", wrote('"c"', { kind: "conflict" })],
    ["a write of unknown outcome that is not in the log", wrote('"z"', { kind: "unknown" })],
    ["a version that a key had", saw(2, { of: "get", key: KEY, found: found(3, '"b"') })],
    ["the absence of a deleted key", saw(3, { of: "get", key: KEY, found: null })],
    ["a read of the past", saw(2, { of: "as-of", key: KEY, txId: 2, found: found(2, '"a"') })],
    ["a history", saw(5, { of: "history", key: KEY, versions: [found(3, '"b"'), found(2, '"a"')] })],
    ["a list", saw(4, { of: "list", txId: 5, documents: [`${KEY} 3 "b"`] })],
  ])("accepts %s", (_, one) => {
    expect(violationsOf([one], history())).toEqual([]);
  });

  it.each<[string, Observation, RegExp]>([
    ["an acknowledged write that is not in the log", wrote('"z"', committed(7)), /not in the log/],
    ["a write under another transaction", wrote('"b"', committed(2)), /a different one/],
    ["a conflict of a write that is in the log", wrote('"b"', { kind: "conflict" }), /conflict, but/],
    ["an aborted write acknowledged as committed", wrote('"c"', committed(5)), /aborted/],
    [
      "a key that went back in time",
      saw(3, { of: "get", key: KEY, found: found(2, '"a"') }),
      /never in this state/,
    ],
    [
      "a key with a different value",
      saw(2, { of: "get", key: KEY, found: found(3, '"x"') }),
      /never in this state/,
    ],
    [
      "a key that was deleted before",
      saw(6, { of: "get", key: KEY, found: found(3, '"b"') }),
      /never in this state/,
    ],
    [
      "a wrong read of the past",
      saw(2, { of: "as-of", key: KEY, txId: 2, found: null }),
      /not in this state at/,
    ],
    [
      "an incomplete history",
      saw(2, { of: "history", key: KEY, versions: [found(3, '"b"')] }),
      /no such history/,
    ],
    ["a stale history", saw(3, { of: "history", key: KEY, versions: [found(2, '"a"')] }), /no such history/],
    ["an incomplete list", saw(2, { of: "list", txId: 3, documents: [] }), /differs from the documents/],
    ["a stale list", saw(4, { of: "list", txId: 3, documents: [`${KEY} 3 "b"`] }), /the list is as of 3/],
  ])("reports %s", (_, one, problem) => {
    expect(violationsOf([one], history()).join("; ")).toMatch(problem);
  });
});
