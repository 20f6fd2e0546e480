// @module-tag nats
import { describe, expect, it } from "vitest";
import { emptyState, type IndexState } from "../../src/index/rows/index-state.ts";
import { anchorOf } from "../../src/log/anchor.ts";
import type { LogMessage, TxLog } from "../../src/log/tx-log.ts";
import { NodeAppends } from "../../src/node/node-appends.ts";
import type { NodeLife } from "../../src/node/node-life.ts";
import { RefusedSubmissions } from "../../src/node/node-observation.ts";
import { sameHistory, SentMessages } from "../../src/node/same-history.ts";
import { frameMessage, logTagOf } from "../../src/transactions/message-frame.ts";
import { bytes } from "../../testing/log-messages.ts";
import { NatsFixture } from "@cairn/test-support/nodes/nats-fixture";

const fixture = new NatsFixture();

/** Returns a log of five messages, and the check of a node that has read three of them. */
async function behind(): Promise<{ log: TxLog; verify: () => Promise<string | undefined> }> {
  const log = await fixture.open();
  for (const text of ["two", "three", "four", "five"]) await log.append(bytes(text));
  const message = await log.fetch(3);
  if (message === undefined) throw new Error("The log has no message 3.");
  const identity = { id: "log", name: log.name, bounds: await log.bounds(), birth: undefined };
  const state: IndexState = { ...emptyState(identity), txId: 3, sha256: anchorOf(message).sha256 };
  return { log, verify: sameHistory(() => ({ log, identity, state })) };
}

it("accepts a log that holds the last message that the node has read", async () => {
  const { log, verify } = await behind();
  await log.trim?.(3);
  await verify();
  // The log begins directly after that message, so the node lacks nothing.
  await log.trim?.(4);
  await verify();
});

it("says that a log was trimmed, rather than that it is a different one", async () => {
  const { log, verify } = await behind();
  await log.trim?.(5);
  await expect(verify()).rejects.toMatchObject({
    code: "LOG_REGRESSED",
    message: expect.stringMatching(
      /stored the transaction, but no longer holds the message by which this node would recognize it: .*no longer holds message 4\.$/,
    ),
  });
});

it("refuses a log that was replaced by another one", async () => {
  const { verify } = await behind();
  await fixture.manager.streams.delete(fixture.stream);
  await fixture.open();
  await expect(verify()).rejects.toMatchObject({
    code: "LOG_REGRESSED",
    message: expect.stringContaining("no longer the log that this node was following: "),
  });
});

it("acknowledges nothing if the node leaves the log while it appends", async () => {
  const { log } = await behind();
  const identity = { id: "log", name: log.name, bounds: await log.bounds(), birth: undefined };
  const life = {
    identity,
    index: { state: emptyState(identity) } as NodeLife["index"],
    phase: "ready",
    isDoubted: false,
    sent: new SentMessages(),
    observation: { refusals: new RefusedSubmissions() },
    suspect: () => undefined,
    log: {
      name: log.name,
      maxPayload: log.maxPayload,
      peers: log.peers,
      append: async (...given: Parameters<TxLog["append"]>) => {
        const appended = await log.append(...given);
        // The reader has found another log in its place.
        life.index = undefined;
        return appended;
      },
    },
  };
  const { submit } = new NodeAppends(life as unknown as NodeLife, 1_000_000);
  await expect(submit({ ops: [["put", "b", "default/k", 1]] })).rejects.toMatchObject({
    code: "LOG_REGRESSED",
    message: expect.stringContaining("this node has left the log in the meantime"),
  });
});

const message = (text: string): Uint8Array => frameMessage(text, logTagOf("log"));
const at = (position: number, payload: Uint8Array): LogMessage => ({ position, time: 0, payload });

describe("messages that a node has sent", () => {
  it("have a position once the reading has brought the same bytes", () => {
    const sent = new SentMessages();
    sent.anchored();
    const [own, repeated] = [message("a"), message("a")];
    const awaited = sent.add(own);
    const forged = Buffer.from(own);
    forged[forged.length - 1] = 0;
    sent.read([at(4, repeated), at(5, forged)]);
    expect(awaited?.position).toBeUndefined();
    sent.read([at(6, Buffer.from(own))]);
    expect(awaited?.position).toBe(6);
  });

  it("have none if no reading began with the node's last message before they were sent", () => {
    const sent = new SentMessages();
    expect(sent.add(message("a"))).toBeUndefined();
    sent.anchored();
    sent.interrupted();
    expect(sent.add(message("a"))).toBeUndefined();
  });

  it("lose it if the reading is interrupted, and do not get it from the next reading", async () => {
    const sent = new SentMessages();
    sent.anchored();
    const [before, after] = [message("before"), message("after")];
    const awaited = [sent.add(before), sent.add(after)];
    sent.read([at(4, before)]);
    sent.interrupted();
    await Promise.all(awaited.map((one) => one?.answered.promise));
    sent.anchored();
    sent.read([at(4, before), at(5, after)]);
    expect(awaited.map((one) => one?.position)).toEqual([undefined, undefined]);
  });
});
