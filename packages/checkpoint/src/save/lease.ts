import { randomBytes } from "node:crypto";
import { CairnError, isCairnError } from "@cairn/kv";
import type { CheckpointStore, TaggedText } from "../store/checkpoint-store.ts";
import type { Clock } from "../timing/clock.ts";
import {
  isLive,
  leaseFile,
  LeaseSchema,
  MAX_CREDIBLE_LEASE_MS,
  parseLease,
  SHARED_LEASE,
  unfinishedOf,
} from "../store/lease-record.ts";
import type { LeaseRecord } from "../store/lease-record.ts";
import { parseStoredRecord } from "../store/stored-record.ts";

/** The time without progress after which an upload is aborted (ms): a lease renewed forever would prevent all further checkpoints. */
const STALLED_AFTER_MS = 600_000;
/** The longest lease that {@link leaseDuration} returns. */
export const MAX_GRANTED_LEASE_MS = 60_000;
const MIN_GRANTED_LEASE_MS = 3_000;

/**
 * Returns the time that the lease of an upload is valid without being renewed (ms). A node that dies while uploading delays the cluster by
 * that time, so it is at most half a period, but never so short that a busy machine loses the lease.
 */
export function leaseDuration(approxFrequency: number): number {
  return Math.min(MAX_GRANTED_LEASE_MS, Math.max(MIN_GRANTED_LEASE_MS, approxFrequency / 2));
}

/** A lease that this process holds. Renewed until it is released or lost. */
export interface Lease {
  /** A random value that identifies this lease in the store's file. */
  readonly nonce: string;
  /** Aborted when another node has taken over the lease, or may have: with `CONFLICT`, or the reason why it could not be renewed. */
  readonly lost: AbortSignal;
  /** Sets the progress that the next renewal publishes. */
  note(progress: { readonly archive?: string; readonly bytes: number }): void;
  /** Records that the upload has ended, and left nothing unfinished. */
  settle(): void;
  /** Renews the lease now, so that it is valid for a while; to be called before publishing. Throws the reason if the lease is lost. */
  confirm(): Promise<void>;
  /** Ends the lease. Does nothing if it is lost. */
  release(): Promise<void>;
}

/** Options for acquiring a lease. */
export interface LeaseOptions {
  /** The node's id. */
  readonly owner: string;
  /** The log of the lease: each log has its own. */
  readonly logId: string;
  /** The time it is valid without being renewed (ms), at most {@link MAX_CREDIBLE_LEASE_MS}; renewed three times within this time. */
  readonly ttlMs: number;
  readonly clock: Clock;
  /** Once aborted, the lease is no longer renewed, even though it is not released. */
  readonly signal?: AbortSignal;
  /** Called if another process holds it. */
  readonly onHeld?: (lease: LeaseRecord, storeNow: number) => void;
}

/** Acquires the lease; undefined while another process holds it. Takes over an expired one. */
export async function acquireLease(
  store: CheckpointStore,
  options: LeaseOptions,
): Promise<Lease | undefined> {
  const nonce = randomBytes(8).toString("hex");
  const ttlMs = Math.min(options.ttlMs, MAX_CREDIBLE_LEASE_MS);
  const file = leaseFile(options.logId);
  let noted: { archive?: string; bytes: number } = { bytes: 0 };
  let unfinished: readonly string[] = [];
  // The time at which the store's time was last requested, by this machine's clock.
  let askedAt = 0;
  // The time at which this lease began, by the store's clock; every renewal repeats it.
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
    // The holder of the expired lease may have died while uploading.
    unfinished = unfinishedOf(parseStoredRecord(LeaseSchema, current.text));
    if ((await store.replace(file, await text(), current.tag)) === false) return undefined;
  }
  // Read back for the tag. If creating is not exclusive, only the last writer finds its own lease.
  const mine = await store.read(file);
  if (mine === undefined || parseStoredRecord(LeaseSchema, mine.text)?.nonce !== nonce) return undefined;

  let tag = mine.tag;
  let isSettled = false;
  const { clock } = options;
  // By this machine's clock, counted from before the store's time was requested: never later than the lease expires in the store.
  let heldUntil = askedAt + ttlMs;
  // The error of the last renewal, if it failed: the reason to give if the lease runs out.
  let renewalError: unknown;
  const lost = new AbortController();
  const ended = new AbortController();
  // By the clock, not the store's response: a process that was suspended, or waited for a response, must notice before it continues.
  const requireHeld = (): void => {
    if (clock.now() >= heldUntil) lost.abort(renewalError ?? leaseRanOut());
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
      renewalError = undefined;
    }
    requireHeld();
  };
  let queue: Promise<void> = Promise.resolve();
  // One renewal at a time: of two, each would find that the other has changed the tag.
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
      onError: (error) => {
        renewalError = error;
      },
    },
    { ttlMs, clock, ended: over },
    lost,
  );
  const expiring = (async () => {
    while (await clock.wait(Math.max(1, heldUntil - clock.now()), over)) {
      if (lost.signal.aborted) return;
      if (clock.now() >= heldUntil) lost.abort(renewalError ?? leaseRanOut());
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
      // Again, if the response came so late that the lease could run out before the manifest is written.
      do await renewNext();
      while (heldUntil - clock.now() < ttlMs / 2);
    },
    async release() {
      ended.abort();
      await renewing;
      await expiring;
      await queue;
      // A lease that was aborted but not lost is ended, so that other nodes need not wait.
      const taken = clock.now() >= heldUntil || isCairnError(lost.signal.reason, "CONFLICT");
      if (lost.signal.aborted && taken) return;
      try {
        if (isSettled) noted = { bytes: 0 };
        const leavesUploads = store.tidy !== undefined && (noted.archive ?? unfinished[0]) !== undefined;
        // If nothing may be removed, or sweeps have to find unfinished uploads, the file stays as an ended lease.
        if (leavesUploads || store.describe?.()?.canDelete === false) {
          await store.replace(file, leaseText({ expiresAt: new Date(0).toISOString() }), tag);
          return;
        }
        const current = await store.read(file);
        if (current?.tag === tag) await store.remove(file);
      } catch (error) {
        // The checkpoint is saved; a lease that cannot be removed expires.
        if (!isCairnError(error)) throw error;
      }
    },
  };
}

async function keepRenewing(
  {
    renew,
    uploaded,
    onError,
  }: {
    readonly renew: () => Promise<void>;
    readonly uploaded: () => number | undefined;
    readonly onError: (error: unknown) => void;
  },
  { ttlMs, clock, ended }: { readonly ttlMs: number; readonly clock: Clock; readonly ended: AbortSignal },
  lost: AbortController,
): Promise<void> {
  let before: number | undefined;
  // Renewals are counted, not time: a suspended process has not tried to upload in the meantime.
  let renewalsWithoutProgress = 0;
  while (await clock.wait(ttlMs / 3, ended)) {
    const now = uploaded();
    renewalsWithoutProgress = now !== undefined && now === before ? renewalsWithoutProgress + 1 : 0;
    before = now;
    if (renewalsWithoutProgress * (ttlMs / 3) >= STALLED_AFTER_MS) {
      lost.abort(stalled());
      return;
    }
    try {
      await renew();
    } catch (error) {
      if (lost.signal.aborted) return;
      // A short outage of the store does not end the lease before it expires.
      if (isCairnError(error)) onError(error);
      else lost.abort(error);
    }
  }
}

function stalled(): CairnError {
  return new CairnError(
    "STORE_UNREACHABLE",
    "The store has not accepted a byte of the upload for ten minutes.",
    {
      hint: "Nothing was published, and other nodes may upload; check the store and the network to it.",
    },
  );
}

function leaseRanOut(): CairnError {
  return new CairnError("CONFLICT", "The lease of this upload ran out before it was renewed.", {
    hint: "This process was suspended or lost the store for longer than the lease; nothing was published.",
  });
}

function leaseLost(): CairnError {
  return new CairnError("CONFLICT", "Another node has taken over the lease of this upload.", {
    hint: "This process was suspended or lost the store for longer than the lease; nothing was published.",
  });
}
