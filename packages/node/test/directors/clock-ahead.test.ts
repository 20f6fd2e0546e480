import { expect, it, onTestFinished, vi } from "vitest";
import { runCairnOrThrow } from "@cairn/test-support/cairn-process";
import { DirectorScene } from "@cairn/test-support/nodes/director-scene";

const PATIENT = { timeout: 60_000, interval: 20 };
const JUMP_MS = 2 * 3_600_000;

it("a shard whose director died while the clock was ahead is reported, and freed as the hint says", async () => {
  await using scene = await DirectorScene.start({ shards: 1 });
  await scene.enqueue(["e1"]);
  const { now } = Date;
  const clock = vi.spyOn(Date, "now").mockImplementation(() => now() + JUMP_MS);
  onTestFinished(() => clock.mockRestore());
  await scene.transact(["claim", scene.name, 0, { as: "dead" }]);
  clock.mockRestore();

  const director = scene.node.client().direct(scene.name, { handle: () => undefined });
  const { reason } = await scene.transact(["claim", scene.name, 0, { as: "other" }]);
  expect(reason).toContain('directed by "dead"');
  const { findings } = await scene.node.status();
  const [, command = ""] =
    /(echo .*)$/.exec(findings.find(({ code }) => code === "clock-wrong")?.hint ?? "") ?? [];
  const shown = await runCairnOrThrow(["queue", "show", scene.name, "--json", "--url", scene.node.url ?? ""]);
  const { shards } = JSON.parse(shown.stdout) as Awaited<ReturnType<typeof scene.queue>>;
  const { shard, epoch } = shards.find(({ holder }) => holder?.as === "dead") ?? {};
  const filled = command
    .replace("QUEUE", scene.name)
    .replace("SHARD", String(shard))
    .replace("EPOCH", String(epoch));
  const [, input = "", args = ""] = /^echo '(.*)' \| cairn (.*)$/.exec(filled) ?? [];
  await runCairnOrThrow([...args.split(" "), "--url", scene.node.url ?? ""], { input: lines(input) });
  await vi.waitFor(async () => expect(await scene.queue()).toMatchObject({ open: 0 }), PATIENT);
  expect(await scene.queue()).toMatchObject({ shards: [{ holder: { as: director.as } }] });
  await director.stop();
});

it("an entry whose attempt failed on a machine with another clock is due by the clock of the log", async () => {
  await using scene = await DirectorScene.start({ shards: 1, retry: { first: 200, max: "PT1M" } });
  await scene.enqueue(["e1"]);
  const client = scene.node.client();
  const transact = client.transact.bind(client);
  vi.spyOn(client, "transact").mockImplementation(async (transaction, options) => {
    const outcome = await transact(transaction, options);
    return { ...outcome, txTime: new Date(Date.parse(outcome.txTime) + JUMP_MS).toISOString() };
  });
  let attempts = 0;
  let retry: unknown;
  const director = client.direct(scene.name, {
    handle({ document }) {
      attempts += 1;
      ({ retry } = document as { retry?: unknown });
      if (attempts === 1) throw new Error("no");
    },
    onError: () => {},
  });
  await vi.waitFor(async () => expect(await scene.queue()).toMatchObject({ open: 0 }), PATIENT);
  await director.stop();
  const { at } = retry as { readonly at: string };
  expect(Math.abs(Date.parse(at) - Date.now() - JUMP_MS)).toBeLessThan(PATIENT.timeout);
});

async function* lines(text: string): AsyncGenerator<string> {
  yield `${text}\n`;
}
