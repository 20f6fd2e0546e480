import { expect, test } from "vitest";
import { atEndOfTurn } from "../../src/http/end-of-turn.ts";

test("all who wait for the end of a turn go on together behind it, and who comes later behind the next", async () => {
  const order: string[] = [];
  const wait = (who: string): Promise<void> =>
    new Promise((resolve) =>
      atEndOfTurn(() => {
        order.push(who);
        resolve();
      }),
    );
  const first = Promise.all(["first 1", "first 2", "first 3"].map(wait));
  setImmediate(() => order.push("a turn later"));
  order.push("still in the turn");
  await first;
  await wait("second");
  expect(order).toEqual(["still in the turn", "first 1", "first 2", "first 3", "a turn later", "second"]);
});
