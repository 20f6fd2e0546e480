import { describe, expect, it } from "vitest";
import { publishFailure } from "../src/nats-stream-error.ts";

/** All errors that nats-server 2.15 may return when a node publishes a message, according to its errors.json. */
const ANSWERS: readonly [code: number, apiCode: number, description: string, comesTo: string][] = [
  [409, 10158, "duplicate message id is in process", "retry"],
  [429, 10167, "too many requests", "retry"],
  [500, 10007, "JetStream cluster not assigned to this server", "retry"],
  [500, 10009, "JetStream cluster can not handle request", "retry"],
  [503, 10008, "JetStream system temporarily unavailable", "retry"],
  [503, 10039, "JetStream not enabled for account", "retry"],
  [503, 10076, "JetStream not enabled", "retry"],
  [503, 10077, "raft: not leader", "retry"],
  [503, 10163, "expected last sequence per subject temporarily unavailable", "retry"],
  [500, 10118, "stream is offline", "retry"],
  [400, 10002, "resource limits exceeded for account", "LOG_FULL"],
  [503, 10023, "insufficient resources", "LOG_FULL"],
  [500, 10028, "insufficient memory resources available", "LOG_FULL"],
  [500, 10047, "insufficient storage resources available", "LOG_FULL"],
  [503, 10077, "maximum messages exceeded", "LOG_FULL"],
  [503, 10077, "maximum bytes exceeded", "LOG_FULL"],
  [503, 10077, "maximum messages per subject exceeded", "LOG_FULL"],
  [503, 10077, "write /data/1.blk: no space left on device", "LOG_FULL"],
  [400, 10054, "message size exceeds maximum allowed", "TX_TOO_LARGE"],
  [503, 10077, "message too large", "TX_TOO_LARGE"],
  [400, 10060, "expected stream does not match", "LOG_UNREACHABLE"],
  [400, 10070, "wrong last msg ID: x", "LOG_UNREACHABLE"],
  [400, 10071, "wrong last sequence: 7", "LOG_UNREACHABLE"],
  [400, 10164, "wrong last sequence", "LOG_UNREACHABLE"],
  [400, 10097, "header size exceeds maximum allowed of 64k", "LOG_UNREACHABLE"],
  [400, 10109, "invalid operation on sealed stream", "LOG_UNREACHABLE"],
  [400, 10120, "no JetStream default or applicable tiered limit present", "LOG_UNREACHABLE"],
  [400, 10169, "message counter increment is missing", "LOG_UNREACHABLE"],
];

describe("a publication that a server refuses", () => {
  it.each(ANSWERS)("with %i, error %i (%s), is reported as %s", (code, apiCode, description, comesTo) => {
    const failure = publishFailure("cairn", { code, err_code: apiCode, description });
    expect(failure === "retry" ? failure : failure.code).toBe(comesTo);
    if (failure !== "retry") expect(failure.hint).toBeDefined();
  });

  it.each([
    [408, "retry"],
    [404, "LOG_UNREACHABLE"],
    [412, "LOG_UNREACHABLE"],
    [599, "retry"],
  ])("for which only the status %i is known: %s", (code, comesTo) => {
    const failure = publishFailure("cairn", { code, description: "something new" });
    expect(failure === "retry" ? failure : failure.code).toBe(comesTo);
  });
});
