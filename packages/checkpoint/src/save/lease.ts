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
  unfinishedOf,
} from "../store/lease-record.ts";
import type { LeaseRecord } from "../store/lease-record.ts";
import { parseStoredRecord } from "../store/stored-record.ts";

/** An upload without progress for so long is aborted: renewing its lease forever would prevent all checkpoints. */
const STALLED_AFTER_MS = 600_000;
/** The maximum duration that {@link leaseDuration} returns. */
export const MAX_GRANTED_LEASE_MS = 60_000;
const MIN_GRANTED_LEASE_MS = 3_000;

/**
 * Returns how long the lease of an upload is valid without being renewed (ms). A node that dies while uploading delays
 * the cluster by that time, so the duration is at most half a period, but never so short that a busy machine loses the
 * lease.
 */
export function leaseDuration(approxFrequency: number): number {
  return Math.min(MAX_GRANTED_LEASE_MS, Math.max(MIN_GRANTED_LEASE_MS, approxFrequency / 2));
}

/** A lease that this process holds. It is renewed until it is released or lost. */
export interface Lease {
  /** A random value that identifies this lease in the store's file. */
  readonly nonce: string;
  /**
   * Aborted once another node has taken over the lease, or may have done so. The reason is `CONFLICT`, or the error
   * with which the renewal failed.
   */
  readonly lost: AbortSignal;
  /** Sets the progress that the next renewal publishes. */
  note(progress: { readonly archive?: string; readonly bytes: number }): void;
  /** Records that the upload has ended, and left nothing unfinished. */
  settle(): void;
  /** Renews the lease now. Must be called before publishing. If the lease is lost, throws the reason. */
  confirm(): Promise<void>;
  /** Ends the lease. Does nothing if it is lost. */
  release(): Promise<void>;
}

export interface LeaseOptions {
  /** The node's id. */
  readonly owner: string;
  /** The log of the lease. Each log has its own lease. */
  readonly logId: string;
  /** At most {@link MAX_CREDIBLE_LEASE_MS}. The lease is renewed three times within this time. */
  readonly ttlMs: number;
  readonly clock: Clock;
  /** Once this is aborted, the lease is no longer renewed, but it is not released. */
  readonly signal?: AbortSignal;
  /** Called before anything is written, because the store may hold the lease even though acquiring it fails. */
  readonly onNonce?: (nonce: string) => void;
  /** Called if the lease is held: by another process, or by an attempt of this one whose response was lost. */
  readonly onHeld?: (lease: LeaseRecord, storeNow: number) => void;
}

/** Acquires the lease. Returns undefined while another process holds it. Takes over a lease that has expired. */
export async function acquireLease(
  store: CheckpointStore,
  options: LeaseOptions,
): Promise<Lease | undefined> {
  const file = leaseFile(options.logId);
  const isHeld = async (current: TaggedText): Promise<boolean> => {
    const held = await parseLease(store, file, current.text);
    const storeNow = await store.now();
    if (held === undefined || !isLive(held, storeNow)) return false;
    options.onHeld?.(held, storeNow);
    return true;
  };
  const record = new OwnRecord(store, options);
  options.onNonce?.(record.nonce);
  if (!(await store.create(file, await record.renewed()))) {
    const current = await store.read(file);
    if (current === undefined || (await isHeld(current))) return undefined;
    // The holder of the expired lease may have died while uploading.
    record.unfinished = unfinishedOf(parseStoredRecord(LeaseSchema, current.text));
    if ((await store.replace(file, await record.renewed(), current.tag)) === false) return undefined;
  }
  // The lease is read back for its tag. If creation is not exclusive, only the last writer finds its own lease.
  const mine = await store.read(file);
  if (mine === undefined || parseStoredRecord(LeaseSchema, mine.text)?.nonce !== record.nonce)
    return undefined;
  return new OwnLease(store, file, record, mine.tag, options);
}

/** The content of this process's lease. */
class OwnRecord {
  readonly nonce = randomBytes(8).toString("hex");
  readonly ttlMs: number;
  progress: { archive?: string; bytes: number } = { bytes: 0 };
  /** Archives whose uploads earlier holders may have left unfinished. */
  unfinished: readonly string[] = [];
  /**
   * The time at which the last renewal expires, by this machine's clock. It is counted from before the request, so that
   * it is never later than the time in the store.
   */
  validUntil = 0;
  readonly #store: CheckpointStore;
  readonly #options: LeaseOptions;
  /** The time at which this lease began, by the store's clock. Every renewal repeats it. */
  #since: string | undefined;

  constructor(store: CheckpointStore, options: LeaseOptions) {
    this.#store = store;
    this.#options = options;
    this.ttlMs = Math.min(options.ttlMs, MAX_CREDIBLE_LEASE_MS);
  }

  async renewed(): Promise<string> {
    const askedAt = this.#options.clock.now();
    const now = await this.#store.now();
    this.validUntil = askedAt + this.ttlMs;
    const renewedAt = new Date(now).toISOString();
    this.#since ??= renewedAt;
    return this.#text({ since: this.#since, renewedAt, expiresAt: new Date(now + this.ttlMs).toISOString() });
  }

  ended(): string {
    return this.#text({ expiresAt: new Date(0).toISOString() });
  }

  #text(times: Pick<LeaseRecord, "expiresAt" | "since" | "renewedAt">): string {
    const { bytes, ...rest } = this.progress;
    return JSON.stringify({
      owner: this.#options.owner,
      nonce: this.nonce,
      ...rest,
      ...(this.unfinished.length === 0 ? {} : { unfinished: [...this.unfinished] }),
      progress: { bytes },
      ...times,
    } satisfies LeaseRecord);
  }
}

class OwnLease implements Lease {
  readonly #store: CheckpointStore;
  readonly #file: string;
  readonly #record: OwnRecord;
  readonly #clock: Clock;
  readonly #lost = new AbortController();
  readonly #ended = new AbortController();
  readonly #renewing: Promise<void>;
  readonly #expiring: Promise<void>;
  #tag: string;
  /** The time until which the lease is held, by this machine's clock. */
  #heldUntil: number;
  /** The error of the last renewal, if it failed. It is reported if the lease expires. */
  #renewalError: unknown;
  #queue: Promise<void> = Promise.resolve();
  #isSettled = false;

  constructor(
    store: CheckpointStore,
    file: string,
    record: OwnRecord,
    tag: string,
    { clock, signal }: LeaseOptions,
  ) {
    this.#store = store;
    this.#file = file;
    this.#record = record;
    this.#tag = tag;
    this.#clock = clock;
    this.#heldUntil = record.validUntil;
    const over = signal === undefined ? this.#ended.signal : AbortSignal.any([this.#ended.signal, signal]);
    this.#renewing = keepRenewing(
      {
        renew: () => this.#renewNext(),
        uploaded: () => (record.progress.archive === undefined ? undefined : record.progress.bytes),
        onError: (error) => {
          this.#renewalError = error;
        },
      },
      { ttlMs: record.ttlMs, clock, ended: over },
      this.#lost,
    );
    this.#expiring = this.#noticeExpiry(over);
  }

  get nonce(): string {
    return this.#record.nonce;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  note(progress: { readonly archive?: string; readonly bytes: number }): void {
    this.#record.progress = { ...this.#record.progress, ...progress };
  }

  settle(): void {
    this.#isSettled = true;
  }

  async confirm(): Promise<void> {
    // The renewal is repeated if the response came so late that the lease could expire before the manifest is written.
    do await this.#renewNext();
    while (this.#heldUntil - this.#clock.now() < this.#record.ttlMs / 2);
  }

  async release(): Promise<void> {
    this.#ended.abort();
    await this.#renewing;
    await this.#expiring;
    await this.#queue;
    // A lease that was aborted but not lost is ended, so that other nodes do not have to wait.
    const taken = this.#clock.now() >= this.#heldUntil || isCairnError(this.lost.reason, "CONFLICT");
    if (this.lost.aborted && taken) return;
    const record = this.#record;
    try {
      if (this.#isSettled) record.progress = { bytes: 0 };
      const leavesUploads =
        this.#store.tidy !== undefined && (record.progress.archive ?? record.unfinished[0]) !== undefined;
      // If files cannot be removed, or if sweeps have to find unfinished uploads, the file remains, and records that
      // the lease has ended.
      if (leavesUploads || this.#store.describe?.()?.canDelete === false) {
        await this.#store.replace(this.#file, record.ended(), this.#tag);
        return;
      }
      const current = await this.#store.read(this.#file);
      if (current?.tag === this.#tag) await this.#store.remove(this.#file);
    } catch (error) {
      // The error is ignored: the checkpoint has been saved, and a lease that cannot be removed expires.
      if (!isCairnError(error)) throw error;
    }
  }

  /** Renews after the renewal in progress. If two ran at once, each would find that the other had changed the tag. */
  #renewNext(): Promise<void> {
    const next = this.#queue.then(() => this.#renew());
    this.#queue = next.catch(() => undefined);
    return next;
  }

  async #renew(): Promise<void> {
    this.#requireHeld();
    const content = await this.#record.renewed();
    const until = this.#record.validUntil;
    const renewed = await this.#store.replace(this.#file, content, this.#tag);
    if (renewed === false) this.#lost.abort(leaseLost());
    else {
      this.#tag = renewed.tag;
      this.#heldUntil = until;
      this.#renewalError = undefined;
    }
    this.#requireHeld();
  }

  /**
   * The decision depends on the clock and not on the store's response, because a process that was suspended, or waited
   * for a response, must notice before it continues.
   */
  #requireHeld(): void {
    if (this.#clock.now() >= this.#heldUntil) this.#lost.abort(this.#renewalError ?? leaseRanOut());
    this.lost.throwIfAborted();
  }

  async #noticeExpiry(over: AbortSignal): Promise<void> {
    while (await this.#clock.wait(Math.max(1, this.#heldUntil - this.#clock.now()), over)) {
      if (this.lost.aborted) return;
      if (this.#clock.now() >= this.#heldUntil) this.#lost.abort(this.#renewalError ?? leaseRanOut());
    }
  }
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
  // Renewals are counted instead of time, because a suspended process does not try to upload in the meantime.
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
      // During a short outage of the store, the lease is kept until it expires.
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
      hint: "Check the store and the network to it. Nothing was published, and other nodes may upload.",
    },
  );
}

function leaseRanOut(): CairnError {
  return new CairnError("CONFLICT", "The lease of this upload expired before it was renewed.", {
    hint: "Check why this process was suspended, or could not reach the store, for longer than the lease. Nothing was published.",
  });
}

function leaseLost(): CairnError {
  return new CairnError("CONFLICT", "Another node has taken over the lease of this upload.", {
    hint: "Check why this process was suspended, or could not reach the store, for longer than the lease. Nothing was published.",
  });
}
