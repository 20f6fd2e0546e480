import { isDeepStrictEqual } from "node:util";
import type { Feed } from "./reading.ts";

/** A transaction of a client, recognized by the `uid` in the document that it puts. */
export interface Write {
  readonly uid: string;
  readonly id: string | undefined;
  readonly ops: readonly (readonly unknown[])[];
  /** What the client knows. Only what was committed must be found; what was aborted or not even stored must not. */
  state: "committed" | "aborted" | "refused" | "unknown";
  /** Its transaction, unless that may have changed since. */
  at: number | undefined;
  /** The number of {@link Model.losses} when it was last acknowledged. */
  losses: number;
  /** Why it may be missing although it was acknowledged. */
  excuse?: string;
}

/** All transactions that clients have submitted, and what must be found of them. */
export class Model {
  readonly writes = new Map<string, Write>();
  /** How often the log has lost something that it had acknowledged. */
  losses = 0;
  /** The writes that were reported as having other content. */
  readonly #others = new Set<string>();
  #uids = 0;
  /** The last transaction that is known to be in its place since the last comparison. */
  #floor = Infinity;

  nextUid(): string {
    this.#uids += 1;
    return `u${this.#uids}`;
  }

  record(write: Omit<Write, "losses">): Write {
    const recorded = { ...write, losses: this.losses };
    this.writes.set(write.uid, recorded);
    return recorded;
  }

  /** The log has lost what followed a transaction: it must be found all the same, but its ids are free again. */
  lost(after: number): void {
    this.losses += 1;
    // What was written to a log between two losses may have the ids of what the first one has lost.
    this.#floor = Math.min(this.#floor, after);
    for (const write of this.writes.values())
      if (write.at !== undefined && write.at > this.#floor) write.at = undefined;
  }

  get committed(): number {
    return [...this.writes.values()].filter(({ state }) => state === "committed").length;
  }

  /**
   * Compares the model with all changes of the tracked buckets, and takes over the positions. Returns what is wrong.
   * `lacks`: whether transactions may be missing.
   */
  compare(feeds: readonly Feed[], lacks: boolean): string[] {
    const seen = new Map<string, Set<number>>();
    const others = new Map<string, unknown>();
    for (const feed of feeds) {
      for (const [txId, changes] of feed) {
        for (const change of changes) {
          const uid = change.op === "put" ? uidOf(change.document) : undefined;
          if (change.op !== "put" || uid === undefined) continue;
          seen.set(uid, (seen.get(uid) ?? new Set()).add(txId));
          const write = this.writes.get(uid);
          if (write !== undefined && !isDeepStrictEqual(change.document, documentOf(write)))
            others.set(uid, change.document);
        }
      }
    }
    if (!lacks) this.#floor = Infinity;
    return [...this.writes.values()].flatMap((write) => {
      const places = [...(seen.get(write.uid) ?? [])];
      const isOther = others.has(write.uid) && !this.#others.has(write.uid);
      const problem =
        lacks && places.length === 0
          ? undefined
          : (problemOf(write, places) ?? (isOther ? "OTHER CONTENT" : undefined));
      const content = isOther ? ` as ${JSON.stringify(others.get(write.uid))}` : "";
      const text = `${problem}: ${JSON.stringify(write)}, found at [${places.join()}]${content}`;
      if (isOther) this.#others.add(write.uid);
      if (places.length > 0) write.at = places[0];
      // Each is reported once.
      if (problem !== undefined) write.state = places.length > 0 ? "committed" : "unknown";
      return problem === undefined ? [] : [text];
    });
  }
}

function uidOf(document: unknown): string | undefined {
  return (document as { readonly uid?: string } | null)?.uid;
}

/** Returns the document with the `uid` of a write. */
function documentOf({ uid, ops }: Write): unknown {
  return ops.flat().find((part) => uidOf(part) === uid);
}

function problemOf({ state, at, excuse }: Write, places: readonly number[]): string | undefined {
  const [place] = places;
  if (place === undefined) return state === "committed" && excuse === undefined ? "LOST" : undefined;
  if (places.length > 1) return "APPLIED TWICE";
  if (state === "refused" || state === "aborted") return `APPLIED ALTHOUGH IT WAS ${state.toUpperCase()}`;
  return at !== undefined && at !== place ? "MOVED" : undefined;
}
