// @module-tag nats
import { describe, expect, it, onTestFinished } from "vitest";
import { NatsOperator } from "../testing/nats-operator.ts";
import { NatsFixture } from "@cairn/test-support/nodes/nats-fixture";

describe("a stream that captures more than the log's subject", () => {
  const nats = new NatsFixture();

  it.each([["*.*"], ["_INBOX.*"], ["_INBOX.*.*"], ["_INBOX.*.*.*"], ["_INBOX.>"]])(
    "is refused if responses would be stored in the log: %s",
    async (subject) => {
      await expect(inspected(subject)).rejects.toMatchObject({
        code: "CONFIG_INVALID",
        message: expect.stringContaining("captures the subjects below _INBOX"),
      });
    },
  );

  it.each([["*"], ["*.tx"], ["_INBOX.tx"], ["_INBOX.*.tx"]])(
    "is reported if no subject of a response matches: %s",
    async (subject) => {
      expect(await inspected(subject)).toMatchObject([{ code: "LOG_UNSAFE" }]);
    },
  );

  async function inspected(subject: string): Promise<unknown> {
    const log = await nats.open();
    onTestFinished(() => operate((operator) => operator.deleteStream()));
    const own = `${nats.stream}.tx`;
    const subjects = ["*.*", "*.tx"].includes(subject) ? [subject] : [own, subject];
    await operate((operator) => operator.edit({ subjects }));
    return await log.inspect?.();
  }

  async function operate(act: (operator: NatsOperator) => Promise<void>): Promise<void> {
    await NatsOperator.at(nats.server.url, act, { stream: nats.stream });
  }
});
