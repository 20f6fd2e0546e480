// @module-tag nats
import { resolvable } from "@cairn/kv";
import { commitSeed } from "@cairn/kv/testing";
import { NatsOperator } from "@cairn/log-nats/testing";
import { openNatsTxLog } from "@cairn/log-nats/src/nats-tx-log";
import { ClusterScene, put } from "@cairn/test-support/nodes/cluster-scene";
import { seededPicks } from "@cairn/test-support/seeded-random";
import { soakRounds, soakTimeout } from "@cairn/test-support/soak-rounds";
import { expect, it } from "vitest";
import type { LogMessage, TxLog } from "../../src/log/tx-log.ts";
import type { CairnNode } from "../../src/node/node.ts";
import { GatedLog, INSTANTS } from "./gated-log.ts";
import { isSame } from "./parted-histories.ts";

const FIRST = Number(process.env["CAIRN_SOAK_SEED"] ?? 1);
/** The first of the seeds that run with every commit. */
const SAMPLE = commitSeed();
const OPS = [["put", "things", "default/forked", 1]] as const;

/** What a change of the log depends on: what the node has read, and how many messages follow afterwards. */
interface Changing {
  readonly scene: ClusterScene;
  readonly known: readonly LogMessage[];
  readonly more: number;
}

/** What happens to the log. A copy of the log's files has been made before the last messages that the node read. */
const WAYS: Readonly<Record<string, (changing: Changing) => Promise<void>>> = {
  "nothing happens": () => Promise.resolve(),
  "the reading is interrupted": async ({ scene }) => {
    await operate(scene, async (operator) => await operator.deleteConsumers());
  },
  "the log is replaced by a longer one": async ({ scene, known, more }) => {
    const texts = Array.from({ length: known.length + more }, (_, n) => `foreign ${n}`);
    await remake(scene, texts);
  },
  "the log is remade with the same messages": async ({ scene, known, more }) => {
    const others = Array.from({ length: more }, (_, n) => `foreign ${n}`);
    await remake(scene, [...known.map(({ payload }) => Buffer.from(payload).toString()), ...others]);
  },
  "the log is rolled back": async ({ scene, more }) => {
    await scene.rollBackLog();
    await operate(scene, async (operator) => await publish(operator, more));
  },
};

async function operate<T>(scene: ClusterScene, act: (operator: NatsOperator) => Promise<T>): Promise<T> {
  return await NatsOperator.at(scene.nats.url, act, { timeout: 30_000 });
}

async function publish(operator: NatsOperator, count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) await operator.publish(Buffer.from(`other ${n}`));
}

async function remake(scene: ClusterScene, texts: readonly string[]): Promise<void> {
  await operate(scene, async (operator) => {
    await operator.deleteStream();
    await operator.makeForeignStream(texts);
  });
}

async function messagesOf(scene: ClusterScene): Promise<LogMessage[]> {
  return await operate(scene, async (operator) => {
    const messages: LogMessage[] = [];
    for await (const message of operator.messages()) messages.push(message);
    return messages;
  });
}

/** A node that never moves to another history, on a log through which something can happen. */
async function startGated(scene: ClusterScene): Promise<{ node: CairnNode; gated: GatedLog }> {
  const logs: GatedLog[] = [];
  const openTxLog = async ({ signal }: { signal: AbortSignal }): Promise<TxLog> => {
    const gated = new GatedLog(await openNatsTxLog({ servers: [scene.nats.url], signal }));
    logs.push(gated);
    return gated.log;
  };
  const onLogMismatch = { regressed: "halt", different: "halt" } as const;
  const node = await scene.ready("a", { parts: { openTxLog, onLogMismatch } });
  const [gated] = logs;
  if (gated === undefined) throw new Error("no log was opened");
  return { node, gated };
}

/** Changes the log at an instant of a write. Returns whether the write was acknowledged. */
async function expectOwnHistory(seed: number): Promise<string> {
  const picks = seededPicks(seed);
  const ways = Object.keys(WAYS);
  const instant = INSTANTS[seed % INSTANTS.length] ?? INSTANTS[0];
  const way = ways[Math.floor(seed / INSTANTS.length) % ways.length] ?? "nothing happens";
  const isUntouched = way === "nothing happens" || way === "the reading is interrupted";
  // Most changes keep a write from being acknowledged, so the test waits for the limit; the others must not.
  const patience = { timeoutMs: isUntouched ? 60_000 : 3_000 };
  const of = `seed ${seed}: ${way} ${instant}`;
  const scene = await ClusterScene.open();
  try {
    const { node, gated } = await startGated(scene);
    await put(node, 0, 1 + picks.below(5), "kept");
    await gated.interrupt(async () => await scene.copyLog());
    // If there are none, the log is rolled back to what the node has read.
    const unsaved = picks.of([0, 0, 1, 4]);
    if (unsaved > 0) await put(node, 10, 10 + unsaved, "lost");
    const known = await messagesOf(scene);
    const more = picks.of([0, 1, 2, 8]);
    let before: readonly LogMessage[] = known;
    gated.arm(instant, async () => {
      if (instant.endsWith("on their way")) {
        // The log may store the write at the position of one of these.
        await operate(scene, async (operator) => await publish(operator, 12));
        await gated.arrived(known.length + 1);
      }
      before = await messagesOf(scene);
      await WAYS[way]?.({ scene, known, more });
    });
    const submitted = await settled(node.submit({ ops: OPS }, isUntouched ? patience : {}));
    const payload = gated.payload ?? Buffer.alloc(0);
    await gated.changed();
    const indexed = submitted === undefined ? undefined : await settled(node.await(submitted, patience));
    const later = await Promise.all(
      [1, 2, 3].map(async () => await settled(node.submit({ ops: OPS }, patience))),
    );
    const now = await messagesOf(scene);
    const continues = known.every((message, at) => isSame(message, now[at]));
    const at = (messages: readonly LogMessage[]): number =>
      1 + messages.findIndex((message) => Buffer.compare(message.payload, payload) === 0);
    const stored = at(now);
    // Before the log was changed, it was part of the node's history. If it was sent meanwhile, the test does not know
    // whether the log stored it before.
    const isLost = stored === 0 && instant === "while it is sent";
    const isRight = at(before) > 0 || isLost || (stored > 0 && continues);
    if (submitted !== undefined || indexed !== undefined) expect([of, isRight]).toEqual([of, true]);
    if (continues && stored > 0 && submitted !== undefined)
      expect([of, submitted.txId]).toEqual([of, stored]);
    const hasLater = later.some((one) => one !== undefined);
    if (hasLater) expect([of, continues]).toEqual([of, true]);
    if (isUntouched) expect([of, submitted !== undefined, indexed !== undefined]).toEqual([of, true, true]);
    return submitted === undefined ? "refused" : continues ? "acknowledged" : "acknowledged before";
  } catch (error) {
    throw new Error(of, { cause: error });
  } finally {
    await scene.close();
  }
}

async function settled<T>(answer: Promise<T>): Promise<T | undefined> {
  return await answer.catch(() => undefined);
}

async function campaign(from: number, seeds: number): Promise<Record<string, number>> {
  const answers: Record<string, number> = {};
  for (let seed = from; seed < from + seeds; seed += 1) {
    const answer = await expectOwnHistory(seed);
    answers[answer] = (answers[answer] ?? 0) + 1;
  }
  return answers;
}

const PROMISE =
  "a write is acknowledged only into the history of its node, whatever happens to its log and when";
const ROUNDS = soakRounds(60);

it(`${PROMISE} (seeds ${SAMPLE} to ${SAMPLE + 5})`, { timeout: 120_000 }, async () => {
  await campaign(SAMPLE, 6);
});

it(
  `${PROMISE}, in ${ROUNDS} seeds`,
  { tags: "rest/campaign", timeout: soakTimeout(ROUNDS, 20_000) },
  async () => {
    const answers = await campaign(FIRST, ROUNDS);
    process.stdout.write(`forked-writes: ${ROUNDS} seeds from ${FIRST}: ${JSON.stringify(answers)}\n`);
  },
);

it("a write that the node's own reading brings costs no further request, and one that it does not bring is acknowledged after a comparison", async () => {
  const scene = await ClusterScene.open();
  try {
    const { node, gated } = await startGated(scene);
    await put(node, 0, 1, "first");
    const begun = gated.fetches;
    for (let n = 0; n < 20; n += 1) await node.await(await node.submit({ ops: OPS, id: `id-${n}` }));
    expect(gated.fetches).toBe(begun);
    const delivery = resolvable();
    gated.arm("when it is acknowledged, but not delivered", () => delivery.promise);
    const submitted = await node.submit({ ops: OPS });
    expect(gated.fetches).toBe(begun + 1);
    delivery.resolve();
    expect(await node.await(submitted)).toMatchObject({ committed: true });
  } finally {
    await scene.close();
  }
});

it.each(["before it is sent", "when it is delivered, but not acknowledged"] as const)(
  "a write whose node is closed %s may be stored, and its error says so",
  async (instant) => {
    const scene = await ClusterScene.open();
    try {
      const { node, gated } = await startGated(scene);
      gated.arm(instant, async () => await node.close());
      await expect(node.submit({ ops: OPS })).rejects.toMatchObject({
        code: "TX_TIMEOUT",
        message: "The log did not acknowledge the transaction before the node was closed.",
        hint: expect.stringContaining("it may have been stored") as string,
      });
    } finally {
      await scene.close();
    }
  },
);
