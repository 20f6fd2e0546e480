import { DirectorScene, names, sharedNode } from "@cairn/test-support/nodes/director-scene";
import { expect, it, vi } from "vitest";

const shared = sharedNode();
const PATIENT = { timeout: 60_000, interval: 20 };
const handle = (): void => undefined;

it(
  "the shards that a director with a limit leaves are claimed by another one, which keeps them",
  { tags: "rest/slow" },
  async () => {
    await using scene = await shared.scene({ shards: 8, lease: "PT2S" });
    await scene.enqueue(names(40));
    const limited = scene.node.client().direct(scene.name, { shards: 1, handle, drainAt: false });
    await vi.waitFor(() => expect(limited.shards).toHaveLength(1), PATIENT);
    const free = scene.node.client().direct(scene.name, { handle, drainAt: false });
    await vi.waitFor(() => expect(free.shards.length).toBeGreaterThan(4), PATIENT);
    await vi.waitFor(async () => expect(await scene.queue()).toMatchObject({ open: 0 }), PATIENT);
    const { shards } = free;
    await scene.enqueue(names(40).map((name) => `later-${name}`));
    await vi.waitFor(async () => expect(await scene.queue()).toMatchObject({ open: 0 }), PATIENT);
    expect(free.shards).toEqual(expect.arrayContaining([...shards]));
    expect(limited.shards).toHaveLength(1);
    await Promise.all([limited.stop(), free.stop()]);
  },
);

async function roomAgain(scene: DirectorScene): Promise<void> {
  const limited = scene.node.client().direct(scene.name, { shards: 1, handle });
  for (let more = 0; more < 5; more += 1) {
    const entries = names(10).map((name) => ["enqueue", scene.name, `more-${more}-${name}`, {}] as const);
    const enqueued = async (): Promise<boolean> => (await scene.transact(...entries)).committed;
    await vi.waitFor(async () => expect(await enqueued()).toBe(true), { timeout: 60_000, interval: 200 });
  }
  await limited.stop();
}

it("a full shard is drained after a drainer died, and directors hold as many shards as they may", async () => {
  await using scene = await shared.scene({ shards: 2, cap: 10, lease: "PT1S" });
  await scene.enqueue(["x"]);
  await scene.transact(["drain", scene.name, 0, { as: "dead" }]);
  await roomAgain(scene);
});

it("a full shard without a director is drained by one that holds as many as it may", async () => {
  await using scene = await shared.scene({ shards: 2, cap: 10, lease: "PT1S" });
  await scene.enqueue(names(10), { state: "done" });
  await scene.transact(["claim", scene.name, 0, { as: "dead" }]);
  const limited = scene.node.client().direct(scene.name, {
    shards: 1,
    stopMs: 0,
    handle: async (_entry, signal) =>
      await new Promise((resolve) => signal.addEventListener("abort", () => resolve())),
  });
  await vi.waitFor(() => expect(limited.shards).toEqual([1]), PATIENT);
  await scene.enqueue(names(10).map((name) => `open-${name}`));
  expect((await scene.queue()).shards).toMatchObject([
    { entries: 10, open: 0 },
    { entries: 10, open: 10 },
  ]);
  const more = async (): Promise<boolean> =>
    (await scene.transact(["enqueue", scene.name, "more", {}])).committed;
  await vi.waitFor(async () => expect(await more()).toBe(true), { timeout: 60_000, interval: 200 });
  await limited.stop();
});
