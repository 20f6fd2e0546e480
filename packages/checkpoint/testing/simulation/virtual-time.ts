/** A planned event. Its `fire` returns whether any code may continue because of the event. */
interface Planned {
  readonly at: number;
  readonly order: number;
  readonly fire: () => boolean;
  cancelled: boolean;
}

/** Time that advances only when nothing is left to do at the current instant. */
export interface VirtualTime {
  /** Returns the time in milliseconds since 1970. */
  now(): number;
  /**
   * Plans `fire`, and returns a function that cancels it. Events at the same time fire in the order in which they were
   * planned.
   */
  plan(delay: number, fire: () => boolean): () => void;
  /** Fires all events that are planned for `until` or earlier. */
  run(until: number): Promise<void>;
}

/** Creates virtual time that begins at `start`. */
export function virtualTime(start = Date.parse("2026-11-20T06:00:00.000Z")): VirtualTime {
  const heap: Planned[] = [];
  let now = start;
  let order = 0;
  return {
    now: () => now,
    plan(delay, fire) {
      const planned = { at: now + Math.max(0, delay), order: order++, fire, cancelled: false };
      push(heap, planned);
      return () => {
        planned.cancelled = true;
      };
    },
    async run(until) {
      await settled();
      for (;;) {
        const next = heap[0];
        if (next === undefined || next.at > until) break;
        pop(heap);
        if (next.cancelled) continue;
        now = next.at;
        if (next.fire()) await settled();
      }
      now = until;
    },
  };
}

/** Resolves once all pending promises and ticks are settled: simulated code waits for nothing outside virtual time. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function earlier(a: Planned, b: Planned): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

function push(heap: Planned[], planned: Planned): void {
  let at = heap.length;
  heap.push(planned);
  while (at > 0) {
    const above = (at - 1) >> 1;
    const parent = heap[above];
    if (parent === undefined || !earlier(planned, parent)) break;
    heap[at] = parent;
    at = above;
  }
  heap[at] = planned;
}

function pop(heap: Planned[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    const left = heap[2 * at + 1];
    const right = heap[2 * at + 2];
    if (left === undefined) break;
    const isRight = right !== undefined && earlier(right, left);
    const child = isRight ? right : left;
    if (!earlier(child, last)) break;
    heap[at] = child;
    at = 2 * at + (isRight ? 2 : 1);
  }
  heap[at] = last;
}
