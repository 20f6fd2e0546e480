import { expect, it } from "vitest";
import { coalesced } from "../../src/concurrency/shared-results.ts";
import { resolvable } from "../../src/concurrency/semaphore.ts";

it("coalesced calls return the result of a run that began after them, and all calls made during one run share the next", async () => {
  const gates = [resolvable(), resolvable(), resolvable()];
  let runs = 0;
  let underWay = 0;
  const ask = coalesced(async () => {
    const run = (runs += 1);
    expect((underWay += 1)).toBe(1);
    await gates[run - 1]?.promise;
    underWay -= 1;
    if (run === 2) throw new Error("the second fails");
    return run;
  });
  const first = ask();
  await Promise.resolve();
  await Promise.resolve();
  expect(runs).toBe(1);
  const shared = [ask(), ask(), ask()];
  gates[0]?.resolve();
  expect(await first).toBe(1);
  gates[1]?.resolve();
  expect(await Promise.allSettled(shared)).toMatchObject(shared.map(() => ({ status: "rejected" })));
  gates[2]?.resolve();
  expect(await ask()).toBe(3);
  expect(runs).toBe(3);
});
