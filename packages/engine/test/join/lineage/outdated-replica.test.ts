// @module-tag nats
import { FaultyTxLog } from "@cairn/engine/testing";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { hurryClock } from "@cairn/test-support/nodes/hurried-clock";
import { done, messagesOf } from "@cairn/test-support/nodes/recovery-scene";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import type { LogMessage, TxLog } from "../../../src/log/tx-log.ts";

beforeEach(() => hurryClock());

/** A log whose first reading is by a server that still has the messages `old` of the log in its place. */
class OutdatedTxLog extends FaultyTxLog {
  readonly outdated: readonly LogMessage[];

  constructor(log: TxLog, old: readonly LogMessage[]) {
    super(log);
    this.outdated = old;
  }

  override async *read(...args: Parameters<FaultyTxLog["read"]>): ReturnType<FaultyTxLog["read"]> {
    if (this.readings === 0) {
      this.readings += 1;
      yield this.outdated;
      return;
    }
    yield* super.read(...args);
  }
}

it(
  "a node that is first served by an outdated replica applies nothing of it, and follows the log that was recovered",
  { tags: "rest/slow" },
  async () => {
    const scene = await ClusterScene.open();
    onTestFinished(() => scene.close());
    const first = await scene.ready("a");
    await put(first, 0, 5, "before");
    const old = await messagesOf(scene);
    await scene.stop(first);
    await scene.loseLog();
    await done(scene, "log", "recover", "--from", scene.dbDir("a"));
    const logs: OutdatedTxLog[] = [];
    const node = await scene.ready("a", {
      parts: {
        openTxLog: async ({ signal }) => {
          const log = new OutdatedTxLog(await openNatsTxLog({ servers: [scene.nats.url], signal }), old);
          logs.push(log);
          return log;
        },
      },
    });
    expect(logs.map(({ readings }) => readings)).toEqual([2]);
    expect(await node.outcome(2)).toMatchObject({ committed: true });
    const { index, join } = await node.status();
    expect(index).toMatchObject({ txId: 7, documents: 5 });
    expect(join).toMatchObject({ movedAside: [], orphans: 0 });
  },
);
