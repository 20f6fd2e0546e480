import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { commitSeed } from "@cairn/kv/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { listCheckpoints } from "../../src/index.ts";
import type { CheckpointStore } from "../../src/index.ts";
import { filesAt } from "@cairn/test-support/stores/index-files";
import { digestsOf, temporaryDirectory } from "@cairn/test-support/stores/places";
import { namesIn, restore, restoredIn, takeAt } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";
import { memoryStore } from "../../testing/index.ts";

const SEED = commitSeed();
const TX_IDS = [1, 2, 10];

type Damage =
  | { readonly kind: "flip" | "cut" | "remove"; readonly file: number; readonly at: number }
  | { readonly kind: "swap"; readonly file: number; readonly other: number }
  | { readonly kind: "foreign"; readonly name: string };

const file = fc.nat({ max: 5 });
const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("flip", "cut", "remove"),
    file,
    at: fc.double({ min: 0, max: 0.999, noNaN: true }),
  }),
  fc.record({ kind: fc.constant("swap" as const), file, other: file }),
  fc.record({
    kind: fc.constant("foreign" as const),
    name: fc.constantFrom(
      "checkpoint-99-2026-11-20T06-12-26.123Z-1f3a9c0e.json",
      "checkpoint-99-2026-11-20T06-12-26.123Z-1f3a9c0e.tar",
      "checkpoint-99-2026-11-20T06-12-26.123Z-1f3a9c0e.verified.json",
      "checkpoint-.json",
      "in-progress.json",
      "reservations/x.json",
    ),
  }),
);

async function restoreAfterAnyDamage(runs: fc.Parameters<[Damage[]]>): Promise<void> {
  const dir = await temporaryDirectory();
  const whole = memoryStore();
  for (const txId of TX_IDS) await takeAt(txId, whole, testSource(), dir);
  let round = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 4 }), async (damages) => {
      round += 1;
      const store = memoryStore();
      for (const name of await namesIn(whole)) await put(store, name, await buffer(await whole.open(name)));
      for (const one of damages) await spoil(store, one);
      const target = join(dir, String(round));
      const { restored, skipped } = await restore([store], target);
      const { checkpoints } = await listCheckpoints(store);
      if (restored === undefined) {
        expect(skipped.length).toBeGreaterThanOrEqual(checkpoints.length);
        return;
      }
      expect(TX_IDS).toContain(restored.manifest.txId);
      expect(await restoredIn(target)).toEqual(digestsOf(filesAt(restored.manifest.txId)));
    }),
    runs,
  );
}

const PROMISE =
  "with any damage to the files of a store, a restore produces exactly one of its checkpoints, or nothing";

test(`${PROMISE} (seed ${SEED})`, async () => {
  await restoreAfterAnyDamage({ seed: SEED, numRuns: 10 });
});

test(`${PROMISE}, in 60 runs`, { tags: "rest/campaign" }, async () => {
  await restoreAfterAnyDamage({ numRuns: 60 });
});

async function spoil(store: CheckpointStore, damaged: Damage): Promise<void> {
  if (damaged.kind === "foreign") {
    await store.create(damaged.name, "not ours");
    return;
  }
  const names = await namesIn(store);
  const name = names[damaged.file % names.length];
  if (name === undefined) return;
  const content = await buffer(await store.open(name));
  await store.remove(name);
  if (damaged.kind === "cut") await put(store, name, content.subarray(0, content.length * damaged.at));
  else if (damaged.kind === "flip")
    await put(store, name, flipped(content, Math.floor(content.length * damaged.at)));
  else if (damaged.kind === "swap") {
    const other = names[damaged.other % names.length] ?? name;
    const instead = other === name ? content : await buffer(await store.open(other));
    await store.remove(other);
    await put(store, name, instead);
    if (other !== name) await put(store, other, content);
  }
}

function flipped(content: Buffer, at: number): Buffer {
  if (content.length === 0) return content;
  content.writeUInt8(content.readUInt8(at) ^ 1, at);
  return content;
}

async function put(store: CheckpointStore, name: string, content: Buffer): Promise<void> {
  await store.upload(name, Readable.from([content], { objectMode: false }));
}
