import { isCairnError } from "../../src/errors/errors.ts";
import { levelProvider } from "../../src/level/level-kv-store.ts";
import { countedBatch } from "../../testing/counted-rows.ts";

// Tests start this module as another process. `open DIR` prints the result of opening the store. `write DIR` writes
// counted rows until it is killed, and prints the number of acknowledged rows after each batch. `hold DIR` prints the
// number after one batch, and then writes no more.
const [, , task = "", dir = ""] = process.argv;
try {
  const store = await levelProvider({ writeBufferSize: 256 * 1024 }).open(dir);
  if (task === "write") {
    for (let count = 0; ; count += 100) {
      await store.batch(countedBatch(count, 100, 300));
      process.stdout.write(`${count + 100}\n`);
    }
  }
  if (task === "hold") {
    await store.batch(countedBatch(0, 100, 300));
    process.stdout.write("100\n");
    setInterval(() => store.stats(), 60_000);
    await new Promise(() => {});
  }
  await store.close();
  process.stdout.write("opened\n");
} catch (error) {
  if (!isCairnError(error)) throw error;
  process.stdout.write(`${error.code}\n`);
}
