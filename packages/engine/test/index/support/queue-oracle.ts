import type { EntryOptions, Json, QueuePolicy, AnyOperation } from "@cairn/client";
import { textOf } from "./policies-model.ts";

type Fact =
  | {
      kind: "put";
      name: string;
      shard: number;
      open: boolean;
      born: readonly [tx: number, at: number];
      moved?: object;
    }
  | { kind: "gone"; name: string; shard: number; evicted: boolean }
  | { kind: "held"; shard: number; tx: number; as: string; until: number; drains: boolean }
  | { kind: "renewed"; shard: number; until: number }
  | { kind: "freed"; shard: number; tx: number }
  | { kind: "retired" | "emptied" | "spare"; shard: number };

type Put = Extract<Fact, { kind: "put" }>;

class Refused extends Error {}

/**
 * The rules of a queue as questions to its whole history: nothing is kept but the facts that transactions established,
 * and every answer is computed from all of them. An aborted transaction's facts are forgotten.
 */
export class QueueOracle {
  policy: QueuePolicy | undefined;
  readonly facts: Fact[] = [];
  /** The keys with any row in the bucket while it is not a queue. */
  #plain = new Set<string>();
  readonly #queue: string;

  constructor(queue: string) {
    this.#queue = queue;
  }

  /** Applies a transaction. Returns whether it commits, and the shards of the entries that it enqueues. */
  apply(ops: readonly AnyOperation[], tx: number, time: number): { committed: boolean; shards: number[] } {
    const before = this.facts.length;
    const retiring = this.#retiring();
    const hadRows = retiring !== undefined && this.rowNames(retiring).size > 0;
    const shards: number[] = [];
    const written = new Set<string>();
    const plain = new Set(this.#plain);
    let committed = true;
    let next = this.policy;
    try {
      for (const [at, op] of ops.entries()) {
        if (op[0] === "configure") next = this.#configured(op[1].queues?.[this.#queue], ops);
        else if (op[0] !== "event" && op[1] === this.#queue) this.#apply(op, [tx, at], time, written, shards);
      }
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.facts.length = before;
      this.#plain = plain;
      committed = false;
    }
    if (committed) this.policy = next;
    if (retiring !== undefined) this.facts.push({ kind: hadRows ? "emptied" : "spare", shard: retiring });
    return { committed, shards: committed ? shards : [] };
  }

  entries(): Map<string, Put> {
    const entries = new Map<string, Put>();
    for (const fact of this.facts) {
      if (fact.kind === "put") entries.set(fact.name, fact);
      else if (fact.kind === "gone") entries.delete(fact.name);
      else if (fact.kind === "emptied")
        for (const [name, { shard }] of entries) if (shard === fact.shard) entries.delete(name);
    }
    return entries;
  }

  within(shard: number): Put[] {
    return [...this.entries().values()].filter((entry) => entry.shard === shard);
  }

  state(shard: number): "spare" | "active" | "draining" | "retiring" {
    const facts = this.#since(shard);
    if (facts.length === 0) return "spare";
    if (facts.some(({ kind }) => kind === "retired")) return "retiring";
    const last = facts.findLast(({ kind }) => kind === "held" || kind === "freed");
    return last?.kind === "held" && last.drains ? "draining" : "active";
  }

  epoch(shard: number): number {
    const last = this.#since(shard).findLast(({ kind }) => kind === "held" || kind === "freed");
    return last !== undefined && "tx" in last ? last.tx : 0;
  }

  holder(shard: number): { as: string; until: number } | undefined {
    const facts = this.#since(shard);
    const last = facts.findLast(({ kind }) => ["held", "freed", "retired"].includes(kind));
    if (last?.kind !== "held") return undefined;
    const renewed = facts.slice(facts.indexOf(last)).findLast(({ kind }) => kind === "renewed");
    return { as: last.as, until: renewed?.kind === "renewed" ? renewed.until : last.until };
  }

  /** The names of the keys of a shard that have any row: also of entries that were deleted or moved away. */
  rowNames(shard: number): Set<string> {
    const names = new Set<string>();
    for (const fact of this.#since(shard)) {
      if (fact.kind === "put") names.add(fact.name);
      else if (fact.kind === "gone" && fact.evicted) names.delete(fact.name);
      else if (fact.kind === "emptied") names.clear();
    }
    return names;
  }

  shards(): number[] {
    return [...new Set(this.facts.map(({ shard }) => shard))]
      .filter((one) => this.state(one) !== "spare")
      .toSorted();
  }

  #since(shard: number): Fact[] {
    const facts = this.facts.filter((fact) => fact.shard === shard);
    return facts.slice(facts.findLastIndex(({ kind }) => kind === "spare") + 1);
  }

  #retiring(): number | undefined {
    const retired = (shard: number): number =>
      this.facts.findLastIndex((fact) => fact.kind === "retired" && fact.shard === shard);
    const retiring = this.shards().filter((shard) => this.state(shard) === "retiring");
    return retiring.toSorted((a, b) => retired(a) - retired(b))[0];
  }

  #configured(after: QueuePolicy | undefined, ops: readonly AnyOperation[]): QueuePolicy | undefined {
    const before = this.policy;
    if (JSON.stringify(after) === JSON.stringify(before)) return after;
    const used = this.shards();
    require(ops.every((op) => op[0] === "configure" || op[1] !== this.#queue));
    if (after === undefined) require(used.length === 0);
    else if (before === undefined) require(this.#plain.size === 0);
    else {
      require(used.every((shard) => shard < after.shards));
      if (JSON.stringify(after.terminal) !== JSON.stringify(before.terminal))
        require(this.entries().size === 0);
    }
    return after;
  }

  #apply(
    op: Exclude<AnyOperation, readonly ["event" | "configure", ...unknown[]]>,
    origin: readonly [tx: number, at: number],
    time: number,
    written: Set<string>,
    enqueued: number[],
  ): void {
    const { policy } = this;
    const isPlain = ["put", "delete", "evict"].includes(op[0]) && op[3] === undefined;
    if (policy === undefined) {
      require(op[0] === "match" || isPlain || (op[0] === "put" && op[4] === undefined));
      if (op[0] === "put") this.#plain.add(op[2]);
      else if (op[0] === "evict") this.#plain.delete(op[2]);
      return;
    }
    const [tx] = origin;
    const until = time + Number(policy.lease);
    const isFree = (shard: number): boolean => (this.holder(shard)?.until ?? 0) <= time;
    /** Requires the newest epoch and, if a holder is named, that holder. Returns the epoch. */
    const requireHold = (shard: number, hold: number | EntryOptions | undefined): number => {
      const { epoch, as } = typeof hold === "object" ? hold : { epoch: hold, as: undefined };
      const holder = this.holder(shard);
      require(holder !== undefined && this.epoch(shard) === epoch && (as ?? holder.as) === holder.as);
      return this.epoch(shard);
    };
    const once = (name: string): void => {
      require(!written.has(name));
      written.add(name);
    };
    const entryAt = (key: string): [Put | undefined, string, number] => {
      const [space = "", name = ""] = key.split("/");
      once(name);
      require(/^\d$/.test(space) && Number(space) < policy.shards);
      return [this.entries().get(name), name, Number(space)];
    };
    const requireRoom = (shard: number): void =>
      require(this.state(shard) === "active" && this.within(shard).length < policy.cap);
    switch (op[0]) {
      case "claim":
        require(op[2] < policy.shards && this.state(op[2]) !== "retiring" && isFree(op[2]));
        this.facts.push({ kind: "held", shard: op[2], tx, as: op[3].as, until, drains: false });
        return;
      case "drain": {
        require(["active", "draining"].includes(this.state(op[2])));
        const drained = this.shards().filter((shard) => this.state(shard) === "draining");
        require(drained.every(isFree));
        for (const shard of drained) this.facts.push({ kind: "freed", shard, tx });
        this.facts.push({ kind: "held", shard: op[2], tx, as: op[3].as, until, drains: true });
        return;
      }
      case "renew":
        requireHold(op[2], op[3]);
        this.facts.push({ kind: "renewed", shard: op[2], until });
        return;
      case "release":
        this.facts.push({ kind: "freed", shard: op[2], tx: requireHold(op[2], op[3]) });
        return;
      case "retire":
        requireHold(op[2], op[3]);
        require(this.state(op[2]) === "draining" && this.within(op[2]).every(({ open }) => !open));
        this.facts.push({ kind: "retired", shard: op[2] });
        return;
      case "enqueue": {
        once(op[2]);
        require(!this.entries().has(op[2]));
        const all = Array.from({ length: policy.shards }, (_, shard) => shard);
        const [spare, ...more] = all.filter((one) => this.state(one) === "spare");
        const openIn = (shard: number): number => this.within(shard).filter(({ open }) => open).length;
        const [roomy = spare] = all
          .filter((one) => this.state(one) === "active" && this.within(one).length < policy.cap)
          .toSorted((a, b) => openIn(a) - openIn(b) || a - b);
        const best = more.length > 0 ? spare : roomy;
        if (best === undefined) throw new Refused();
        this.facts.push({ kind: "put", name: op[2], shard: best, open: isOpen(policy, op[3]), born: origin });
        enqueued.push(best);
        return;
      }
      case "put": {
        const [entry, name, shard] = entryAt(op[2]);
        require(entry === undefined || (entry.shard === shard && op[4] !== undefined));
        if (op[4] !== undefined) requireHold(shard, op[4]);
        if (entry === undefined) requireRoom(shard);
        this.facts.push({
          ...(entry ?? { kind: "put", name, shard, born: origin }),
          open: isOpen(policy, op[3]),
        });
        return;
      }
      case "delete": {
        const [entry, name, shard] = entryAt(op[2]);
        require(entry === undefined || entry.shard === shard);
        requireHold(shard, op[3]);
        if (entry !== undefined) this.facts.push({ kind: "gone", name, shard, evicted: false });
        return;
      }
      case "evict": {
        const [, name = ""] = op[2].split("/");
        if (!written.has(`evicted ${name}`)) once(name);
        written.add(`evicted ${name}`);
        for (const shard of this.shards())
          if (this.rowNames(shard).has(name)) this.facts.push({ kind: "gone", name, shard, evicted: true });
        return;
      }
      case "move": {
        const [entry, name, shard] = entryAt(op[2]);
        require(entry?.shard === shard && this.state(shard) === "draining");
        requireHold(shard, op[4]);
        requireRoom(op[3]);
        this.facts.push({ kind: "gone", name, shard, evicted: false });
        if (entry !== undefined)
          this.facts.push({ ...entry, shard: op[3], moved: { from: shard, txId: tx } });
        return;
      }
      default:
    }
  }
}

function require(condition: boolean): asserts condition {
  if (!condition) throw new Refused();
}

export function isOpen({ terminal }: QueuePolicy, document: Json): boolean {
  return !Object.entries(terminal).every(([field, values]) =>
    [values].flat().some((value) => String(value) === textOf(document, field)),
  );
}
