import { expect, test } from "vitest";
import { endOfTurn } from "../../src/http/end-of-turn.ts";

test("all who wait for the end of a turn go on together behind it, and who comes later behind the next", async () => {
  const order: string[] = [];
  const first = [1, 2, 3].map((who) => endOfTurn().then(() => order.push(`first ${who}`)));
  setImmediate(() => order.push("a turn later"));
  order.push("still in the turn");
  await Promise.all(first);
  const second = endOfTurn().then(() => order.push("second"));
  await second;
  expect(order).toEqual(["still in the turn", "first 1", "first 2", "first 3", "a turn later", "second"]);
});
