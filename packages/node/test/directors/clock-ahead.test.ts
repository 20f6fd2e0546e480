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

async function* lines(text: string): AsyncGenerator<string> {
  yield `${text}\n`;
}
