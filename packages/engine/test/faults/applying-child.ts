// This process applies a seeded log to an index until it is killed: node applying-child.js DIR SEED LIFE
import { levelProvider } from "@cairn/kv";
import { emptyState } from "../../src/index/rows/index-state.ts";
import { keepFieldsBuilt } from "../../src/index/keep-fields-built.ts";
import { IndexStore } from "../../src/index/index-store.ts";
import { SEEDED_LOG_ID, seededMessageWithFields, seededRandom } from "@cairn/test-support/nodes/seeded-log";

const [, , dir = "", seed = "", life = ""] = process.argv;
const random = seededRandom(Number(seed) * 31 + Number(life));
// The buffers are small, so that tables are flushed and compacted within the second for which this process lives.
const provider = levelProvider({ writeBufferSize: 64 * 1024 });
const largest = random() < 0.5 ? 4 : 400;
const empty = emptyState({
  id: SEEDED_LOG_ID,
  name: "seeded",
  bounds: { first: 1, last: 0 },
  birth: undefined,
});
for (;;) {
  const index = await IndexStore.open(await provider.open(dir), empty);
  const stopBuilding = new AbortController();
  const building = keepFieldsBuilt(index, stopBuilding.signal);
  for (let batch = 0; batch < 1 + random() * 60; batch += 1) {
    const from = index.state.txId + 1;
    const count = 1 + Math.floor(random() * largest);
    await index.apply(
      Array.from({ length: count }, (_, n) => seededMessageWithFields(Number(seed), from + n)),
    );
    process.stdout.write(`${index.state.txId}\n`);
  }
  stopBuilding.abort();
  await building;
  await index.close();
}
