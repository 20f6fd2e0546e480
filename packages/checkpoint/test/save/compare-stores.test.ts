import fc from "fast-check";
import { expect, test } from "vitest";
import type { OtherLook } from "../../src/index.ts";
import { storeComparison } from "../../src/save/compare-stores.ts";
import { formatCheckpointName } from "../../src/store/checkpoint.ts";

const MIN_AGE_MS = 10;

/** Nodes that look at stores one after the other. The names in a store are newest first. */
class Nodes {
  readonly #stores = new Map<string, { readonly name: string }[]>();
  readonly #nodes = new Map<
    string,
    { readonly compare: ReturnType<typeof storeComparison>; last?: OtherLook }
  >();
  #count = 0;

  names(store: string): { readonly name: string }[] {
    const names = this.#stores.get(store) ?? [];
    this.#stores.set(store, names);
    return names;
  }

  /** Lists `store` as `node`, and saves a checkpoint into it unless told not to. Returns what it finds of others. */
  look(node: string, store: string, { saves = true, ageMs = MIN_AGE_MS } = {}): string[] {
    const { compare } = this.#nodes.get(node) ?? { compare: storeComparison(MIN_AGE_MS) };
    const others = [...this.#nodes].flatMap(([other, { last }]) => (other === node || !last ? [] : [last]));
    const found = compare(others, this.names(store)).map((other) => other.node);
    this.#count += 1;
    if (saves) {
      const name = formatCheckpointName({ txId: this.#count, takenAt: 0, suffix: "00000000" });
      this.names(store).unshift({ name });
    }
    const [newest] = this.names(store);
    const seen = { instance: node, node, location: store, at: String(this.#count) };
    this.#nodes.set(node, { compare, ...(newest && { last: { ...seen, newest: { ...newest, ageMs } } }) });
    return found;
  }

  restart(node: string): void {
    this.#nodes.delete(node);
  }
}

test("nodes that save into two stores find each other out once both have looked again, in either order", () => {
  const nodes = new Nodes();
  const rounds = [1, 2, 3].map(() => [
    nodes.look("a", "one"),
    nodes.look("b", "one"),
    nodes.look("c", "two"),
  ]);
  expect(rounds).toEqual([
    [[], [], []],
    [[], [], ["a", "b"]],
    [["c"], [], ["a", "b"]],
  ]);
});

test("a node that only looks finds out another store by what its cluster lacks", () => {
  const nodes = new Nodes();
  nodes.look("a", "one");
  nodes.look("c", "two");
  expect(nodes.look("b", "one", { saves: false })).toEqual([]);
  expect(nodes.look("b", "one", { saves: false })).toEqual([]);
  nodes.look("c", "two", { saves: false });
  expect(nodes.look("b", "one", { saves: false })).toEqual(["c"]);
});

test("the doubt is over once a node lists what the other one found, or the other one was restarted", () => {
  const nodes = new Nodes();
  const apart = (): string[] => {
    for (let n = 0; n < 3; n += 1) nodes.look("c", "two");
    nodes.look("a", "one");
    nodes.look("c", "two");
    return nodes.look("a", "one");
  };
  expect(apart()).toEqual(["c"]);
  // Its own store has a newer checkpoint now, which proves nothing.
  expect(nodes.look("a", "one")).toEqual(["c"]);
  nodes.restart("c");
  expect(nodes.look("a", "one")).toEqual([]);
  expect(apart()).toEqual(["c"]);
  // The other node's store is copied into this one's.
  nodes.names("one").unshift(...nodes.names("two"));
  expect(nodes.look("a", "one")).toEqual([]);
});

test("a checkpoint so young that it may not be listed everywhere proves nothing", () => {
  const nodes = new Nodes();
  for (let n = 0; n < 5; n += 1) {
    nodes.look("c", "two", { ageMs: MIN_AGE_MS - 1 });
    expect(nodes.look("a", "one")).toEqual([]);
  }
});

test("nodes of one store are never told apart, whatever is saved, swept, removed by hand once or restarted", () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ node: fc.constantFrom("a", "b", "c"), saves: fc.boolean() }) },
    fc.record({ restart: fc.constantFrom("a", "b", "c") }),
    fc.record({ keep: fc.integer({ min: 1, max: 3 }) }),
    fc.constant({ keep: 0 }),
    fc.constant({ removeNewest: true }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const nodes = new Nodes();
      // A store that is emptied between any two looks is reported, because it loses what it was given.
      let isTouched = false;
      for (const one of steps) {
        const isByHand = "removeNewest" in one || ("keep" in one && one.keep === 0);
        if (isByHand && isTouched) continue;
        isTouched ||= isByHand;
        if ("node" in one) expect(nodes.look(one.node, "one", one)).toEqual([]);
        else if ("restart" in one) nodes.restart(one.restart);
        else if ("keep" in one) nodes.names("one").splice(one.keep);
        else nodes.names("one").shift();
      }
    }),
  );
});
