import { describe, expect, it } from "vitest";
import { parseAckSubject } from "../src/nats-reader.ts";

describe("the reply subject of a delivered message", () => {
  const expected = { position: 4321, delivery: 77, time: 1_669_112_345_678, nanoseconds: 901_234 };

  it.each([
    ["without domain", "$JS.ACK.cairn.c0ns.1.4321.77.1669112345678901234.9"],
    ["with domain and account", "$JS.ACK.hub.ACCHASH.cairn.c0ns.1.4321.77.1669112345678901234.9"],
    [
      "with domain, account and a random token",
      "$JS.ACK._.ACCHASH.cairn.c0ns.1.4321.77.1669112345678901234.9.r4nd0m",
    ],
  ])("is read %s", (_, subject) => {
    expect(parseAckSubject(subject)).toEqual(expected);
  });

  it.each([undefined, "", "_INBOX.abc.a.1"])(
    "is not found in %j, the subject of a status of the server",
    (subject) => {
      expect(parseAckSubject(subject)).toBeUndefined();
    },
  );
});
