import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KnownPaths } from "../src/known-paths.ts";
import { SeededRandom } from "../src/seeded-random.ts";

function numbers(seed: number): number[] {
  const random = new SeededRandom(seed);
  return [1, 2, 3, 4, 5].map(() => random.next());
}

describe("KnownPaths", () => {
  it("agrees with a map, whichever paths are set and deleted", () => {
    const step = fc.record({ path: fc.constantFrom("a", "b", "c", "d"), content: fc.option(fc.string()) });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const known = new KnownPaths();
        const model = new Map<string, string>();
        for (const { path, content } of steps) {
          if (content === null) {
            known.delete(path);
            model.delete(path);
          } else {
            known.set(path, content);
            model.set(path, content);
          }
          const drawn = known.pick(new SeededRandom(steps.length));
          expect(drawn === undefined ? model.size === 0 : model.has(drawn)).toBe(true);
          for (const name of ["a", "b", "c", "d"]) expect(known.contentOf(name)).toBe(model.get(name));
        }
      }),
    );
  });

  it("picks each path about equally often", () => {
    const known = new KnownPaths();
    for (const path of ["a", "b", "c", "d"]) known.set(path, path);
    known.delete("b");
    const random = new SeededRandom(1);
    const drawn = new Map<string, number>();
    for (let count = 0; count < 3000; count += 1) {
      const path = known.pick(random) ?? "";
      drawn.set(path, (drawn.get(path) ?? 0) + 1);
    }
    expect([...drawn.keys()].toSorted()).toEqual(["a", "c", "d"]);
    for (const times of drawn.values()) expect(Math.abs(times - 1000)).toBeLessThan(150);
  });
});

describe("SeededRandom", () => {
  it("returns the same numbers for the same seed, and others for another seed", () => {
    expect(numbers(1)).toEqual(numbers(1));
    expect(numbers(1)).not.toEqual(numbers(2));
    expect(() => new SeededRandom(1).pick([])).toThrow(RangeError);
  });
});
