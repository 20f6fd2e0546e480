import { expect, test } from "vitest";
import { checkpointStoreSuite } from "@cairn/checkpoint/testing";
import type { CheckpointStore } from "@cairn/checkpoint";
import { s3FaultProxy } from "./support/s3-fault-proxy.ts";
import { s3Places } from "./support/s3-place.ts";

const withConditions = s3Places();
const without = s3Places({ conditions: false });

const others = new WeakMap<CheckpointStore, () => CheckpointStore>();

function opened(store: () => CheckpointStore): CheckpointStore {
  const first = store();
  others.set(first, store);
  return first;
}

async function reopen(store: CheckpointStore): Promise<CheckpointStore> {
  return others.get(store)?.() ?? store;
}

checkpointStoreSuite("a store in an S3 service", {
  open: async () => opened(withConditions().store),
  reopen,
  hasRanges: true,
});

checkpointStoreSuite("a store in an S3 service without conditional writes", {
  open: async () => opened(without().store),
  reopen,
  hasRanges: true,
});

checkpointStoreSuite("a store behind a proxy that adds conditional writes", {
  async open() {
    const { s3, store } = without();
    const proxy = await s3FaultProxy({ to: s3.endpoint, withConditions: s3.ignoresConditions });
    return opened(() => store({ endpoint: proxy.endpoint }));
  },
  reopen,
  hasRanges: true,
});

test("a store detects whether conditions of writes are evaluated, by the service itself or by a proxy in front of it", async () => {
  const compared = withConditions().store();
  const { s3, store } = without();
  const ignored = store();
  const proxy = await s3FaultProxy({ to: s3.endpoint, withConditions: s3.ignoresConditions });
  const added = store({ endpoint: proxy.endpoint });
  for (const [at, one] of [compared, ignored, added].entries()) await one.create(`probed-${at}.json`, "{}");
  expect(ignored.describe?.()).toMatchObject({ canDelete: true });
  if (!s3.ignoresConditions) return;
  expect([compared.exclusive, ignored.exclusive, added.exclusive]).toEqual([true, false, true]);
});
