import { randomBytes } from "node:crypto";
import { CairnError, isCairnError } from "@cairn/kv";
import type { CheckpointStore, TaggedText } from "../store/checkpoint-store.ts";
import type { Clock } from "../timing/clock.ts";
import {
  isLive,
  leaseFile,
  LeaseSchema,
  MAX_LEASE_MS,
  parseLease,
  SHARED_LEASE,
  unfinishedOf,
} from "../store/lease-record.ts";
import type { LeaseRecord } from "../store/lease-record.ts";
import { parseStoredRecord } from "../store/stored-record.ts";

/** An upload of which nothing moves for so long is given up: renewed for ever, its lease would end all checkpoints. */
const STALLED_AFTER_MS = 600_000;

/** A lease that this process holds, renewed until it is released or lost. */
export interface Lease {
  /** Which of the leases in the store's file is this one. */
  readonly nonce: string;
  /** Aborted when another node has taken the lease over, or could have: `CONFLICT`, or why the store could not renew it. */
  readonly lost: AbortSignal;
  /** What the next renewal tells the others. */
  note(progress: { readonly archive?: string; readonly bytes: number }): void;
  /** The upload of the noted archive has ended, and left nothing unfinished. */
  settle(): void;
  /** Renews now, so that it holds for a while; throws why it is lost. For the moment before publishing. */
  confirm(): Promise<void>;
  /** Ends the lease. Fine when it is lost. */
  release(): Promise<void>;
}

/** Who wants the lease and for how long at a time. */
export interface LeaseOptions {
  /** The node's id. */
  readonly owner: string;
  /** Each log has a lease of its own. */
  readonly logId: string;
  /** How long it holds without being renewed; no longer than {@link MAX_LEASE_MS}. It is renewed three times in that. */
  readonly ttlMs: number;
  readonly clock: Clock;
  /** Aborted, it is not renewed any more, although it was not released. */
  readonly signal?: AbortSignal;
  /** Hears who else holds it. */
  readonly onHeld?: (lease: LeaseRecord, storeNow: number) => void;
}

/** Takes the lease, or answers undefined while somebody else holds it. An expired one is taken over. */
export async function acquireLease(
  store: CheckpointStore,
  options: LeaseOptions,
): Promise<Lease | undefined> {
  const nonce = randomBytes(8).toString("hex");
  const ttlMs = Math.min(options.ttlMs, MAX_LEASE_MS);
  const file = leaseFile(options.logId);
  let noted: { archive?: string; bytes: number } = { bytes: 0 };
  let unfinished: readonly string[] = [];
  // By this machine's clock, when the store's was asked last.
  let askedAt = 0;
  // By the store's clock, when this lease began; every renewal repeats it.
  let since: string | undefined;
  const leaseText = (times: Pick<LeaseRecord, "expiresAt" | "since" | "renewedAt">): string => {
    const { bytes, ...rest } = noted;
    return JSON.stringify({
      owner: options.owner,
      nonce,
      ...rest,
      ...(unfinished.length === 0 ? {} : { unfinished: [...unfinished] }),
      progress: { bytes },
      ...times,
    } satisfies LeaseRecord);
  };
  const text = async (): Promise<string> => {
    askedAt = options.clock.now();
    const now = await store.now();
    const renewedAt = new Date(now).toISOString();
    since ??= renewedAt;
    return leaseText({ since, renewedAt, expiresAt: new Date(now + ttlMs).toISOString() });
  };

  const isHeld = async (name: string, current: TaggedText): Promise<boolean> => {
    const held = await parseLease(store, name, current.text);
    const storeNow = await store.now();
    if (held === undefined || !isLive(held, storeNow)) return false;
    options.onHeld?.(held, storeNow);
    return true;
  };
  const shared = await store.read(SHARED_LEASE);
  if (shared !== undefined && (await isHeld(SHARED_LEASE, shared))) return undefined;
  if (!(await store.create(file, await text()))) {
    const current = await store.read(file);
    if (current === undefined || (await isHeld(file, current))) return undefined;
    // Its holder may have died while it uploaded.
    unfinished = unfinishedOf(parseStoredRecord(LeaseSchema, current.text));
    if ((await store.replace(file, await text(), current.tag)) === false) return undefined;
  }
  // Read back: gives the tag, and where creating does not exclude others, only the last writer finds itself.
  const mine = await store.read(file);
  if (mine === undefined || parseStoredRecord(LeaseSchema, mine.text)?.nonce !== nonce) return undefined;

  let tag = mine.tag;
  let isSettled = false;
  const { clock } = options;
  // By this machine's clock, from before the store's own was asked: never later than the lease expires there.
  let heldUntil = askedAt + ttlMs;
  // Why the last renewal failed, if it did: the reason to give when the lease runs out.
  let trouble: unknown;
  const lost = new AbortController();
  const ended = new AbortController();
  // The clock and not the store's answer: a process that stood still, or waited for an answer, must know before it goes on.
  const requireHeld = (): void => {
    if (clock.now() >= heldUntil) lost.abort(trouble ?? leaseRanOut());
    lost.signal.throwIfAborted();
  };
  const renew = async (): Promise<void> => {
    requireHeld();
    const record = await text();
    const from = askedAt;
    const renewed = await store.replace(file, record, tag);
    if (renewed === false) lost.abort(leaseLost());
    else {
      tag = renewed.tag;
      heldUntil = from + ttlMs;
      trouble = undefined;
    }
    requireHeld();
  };
  let queue: Promise<void> = Promise.resolve();
  // One renewal at a time: two would each find that the other has changed the tag.
  const renewNext = (): Promise<void> => {
    const next = queue.then(renew);
    queue = next.catch(() => undefined);
    return next;
  };

  const { signal } = options;
  const over = signal === undefined ? ended.signal : AbortSignal.any([ended.signal, signal]);
  const renewing = keepRenewing(
    {
      renew: renewNext,
      uploaded: () => (noted.archive === undefined ? undefined : noted.bytes),
      onTrouble: (error) => {
        trouble = error;
      },
    },
    { ttlMs, clock, ended: over },
    lost,
  );
  const expiring = (async () => {
    while (await clock.wait(Math.max(1, heldUntil - clock.now()), over)) {
      if (lost.signal.aborted) return;
      if (clock.now() >= heldUntil) lost.abort(trouble ?? leaseRanOut());
    }
  })();
  return {
    nonce,
    lost: lost.signal,
    note: (progress) => {
      noted = { ...noted, ...progress };
    },
    settle: () => {
      isSettled = true;
    },
    async confirm() {
      // Again, where the answer came so late that what follows might not fall within the lease.
      do await renewNext();
      while (heldUntil - clock.now() < ttlMs / 2);
    },
    async release() {
      ended.abort();
      await renewing;
      await expiring;
      await queue;
      // Given up but not lost, it is ended for the others, who need not wait then.
      const taken = clock.now() >= heldUntil || isCairnError(lost.signal.reason, "CONFLICT");
      if (lost.signal.aborted && taken) return;
      try {
        if (isSettled) noted = { bytes: 0 };
        const leavesUploads = store.tidy !== undefined && (noted.archive ?? unfinished[0]) !== undefined;
        // Where nothing may be removed, or sweeps are to look for unfinished uploads, it is left as one that has ended.
        if (leavesUploads || store.describe?.()?.canDelete === false) {
          await store.replace(file, leaseText({ expiresAt: new Date(0).toISOString() }), tag);
          return;
        }
        const current = await store.read(file);
        if (current?.tag === tag) await store.remove(file);
      } catch (error) {
        // What was saved is saved; a lease that cannot be removed expires.
        if (!isCairnError(error)) throw error;
      }
    },
  };
}

async function keepRenewing(
  {
    renew,
    uploaded,
    onTrouble,
  }: {
    readonly renew: () => Promise<void>;
    readonly uploaded: () => number | undefined;
    readonly onTrouble: (error: unknown) => void;
  },
  { ttlMs, clock, ended }: { readonly ttlMs: number; readonly clock: Clock; readonly ended: AbortSignal },
  lost: AbortController,
): Promise<void> {
  let before: number | undefined;
  // Renewals are counted, not time: a process that stood still has not tried to upload meanwhile.
  let unmoved = 0;
  while (await clock.wait(ttlMs / 3, ended)) {
    const now = uploaded();
    unmoved = now !== undefined && now === before ? unmoved + 1 : 0;
    before = now;
    if (unmoved * (ttlMs / 3) >= STALLED_AFTER_MS) {
      lost.abort(stalled());
      return;
    }
    try {
      await renew();
    } catch (error) {
      if (lost.signal.aborted) return;
      // A store that is away for a moment does not end the lease before its time does.
      if (isCairnError(error)) onTrouble(error);
      else lost.abort(error);
    }
  }
}

function stalled(): CairnError {
  return new CairnError(
    "STORE_UNREACHABLE",
    "The store has not taken a byte of the upload for ten minutes.",
    {
      hint: "Nothing was published, and other nodes may upload; look at the store and at the network to it.",
    },
  );
}

function leaseRanOut(): CairnError {
  return new CairnError("CONFLICT", "The lease of this upload ran out before it was renewed.", {
    hint: "This process stood still or lost the store for longer than the lease; nothing was published.",
  });
}

function leaseLost(): CairnError {
  return new CairnError("CONFLICT", "Another node has taken over the lease of this upload.", {
    hint: "This process stood still or lost the store for longer than the lease; nothing was published.",
  });
}
