import { expect, it } from "vitest";
import { IndexBacklog } from "../../src/requests/index-backlog.ts";

/** An index whose position is set by hand. */
class Index {
  readonly asked: number[] = [];
  #answer: ((position: number) => void) | undefined;

  readonly indexed = async (txId: number): Promise<number> => {
    this.asked.push(txId);
    return await new Promise((resolve) => {
      this.#answer = resolve;
    });
  };

  /** Ends the current wait with this position. */
  answer(position: number): void {
    this.#answer?.(position);
  }
}

it("a batch waits for the index while more than 4,096 of its transactions are not indexed, and continues once they are", async () => {
  const index = new Index();
  const backlog = new IndexBacklog();
  backlog.add(4_096, 1);
  await backlog.room(index);
  expect(index.asked).toEqual([]);
  backlog.add(5_000, 1);
  let isOver = false;
  const wait = async (): Promise<void> => {
    await backlog.room(index);
    isOver = true;
  };
  const waiting = wait();
  expect(index.asked).toEqual([904]);
  index.answer(500);
  await expect.poll(() => index.asked).toEqual([904, 904]);
  expect(isOver).toBe(false);
  index.answer(904);
  await waiting;
});

it("a batch waits while more than 8 MiB of its lines are not indexed", async () => {
  const index = new Index();
  const backlog = new IndexBacklog();
  for (let txId = 1; txId <= 3; txId += 1) backlog.add(txId, 4 * 1024 * 1024);
  const waiting = backlog.room(index);
  expect(index.asked).toEqual([1]);
  index.answer(1);
  await waiting;
});

it("an index that makes no progress holds no batch up", async () => {
  const index = new Index();
  const backlog = new IndexBacklog();
  backlog.add(10_000, 1);
  const waiting = backlog.room(index);
  index.answer(0);
  await waiting;
  expect(index.asked).toEqual([5_904]);
});
