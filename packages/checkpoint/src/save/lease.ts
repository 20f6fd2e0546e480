import { randomBytes } from "node:crypto";
import { CairnError, isCairnError, type Clock, Semaphore } from "@cairn/kv";
import type { CheckpointStore } from "../store/checkpoint-store.ts";
import {
  isLive,
  leaseFile,
  type LeaseRecord,
  LeaseSchema,
  MAX_CREDIBLE_LEASE_MS,
  parseLease,
  unfinishedOf,
} from "../store/lease-record.ts";
import { parseStoredRecord } from "../store/stored-record.ts";

/** An upload without progress for so long is aborted: renewing its lease forever would prevent all checkpoints. */
const STALLED_AFTER_MS = 600_000;
const MAX_GRANTED_LEASE_MS = 60_000;
const MIN_GRANTED_LEASE_MS = 3_000;

/**
 * Returns how long a lease is valid without being renewed (ms): at most half a period, because a node that dies while
 * uploading delays the cluster by that time, but long enough that a busy machine does not lose it.
 */
export function leaseDuration(approxFrequency: number): number {
  return Math.min(MAX_GRANTED_LEASE_MS, Math.max(MIN_GRANTED_LEASE_MS, approxFrequency / 2));
}

export interface LeaseOptions {
  readonly owner: string;
  readonly logId: string;
  /** At most {@link MAX_CREDIBLE_LEASE_MS}. The lease is renewed three times within this time. */
  readonly ttlMs: number;
  readonly clock: Clock;
  /** Once this is aborted, the lease is no longer renewed, but it is not released. */
  readonly signal?: AbortSignal | undefined;
  /** Called if the lease is held: by another process, or by an attempt of this one whose response was lost. */
  readonly onHeld?: (lease: LeaseRecord) => void;
}

/** Acquires the lease. Returns undefined while another process holds it. Takes over a lease that has expired. */
export async function acquireLease(
  store: CheckpointStore,
  options: LeaseOptions,
): Promise<Lease | undefined> {
  const lease = new Lease(store, options);
  return (await lease.acquire()) ? lease : undefined;
}

/** A lease that this process holds. It is renewed until it is released or lost. */
export class Lease {
  readonly #store: CheckpointStore;
  readonly #options: LeaseOptions;
  readonly #file: string;
  readonly #ttlMs: number;
  /** Identifies this lease in the store's file. */
  readonly #nonce = randomBytes(8).toString("hex");
  readonly #lost = new AbortController();
  readonly #ended = new AbortController();
  #renewing: Promise<unknown> = Promise.resolve();
  #tag = "";
  /** The time at which this lease began, by the store's clock. Every renewal repeats it. */
  #since: string | undefined;
  /** The time until which the lease is held, by this machine's clock. */
  #heldUntil = 0;
  /** The error of the last renewal, if it failed. It is reported if the lease expires. */
  #renewalError: unknown;
  /** If two renewals ran at once, each would find that the other had changed the tag. */
  readonly #oneByOne = new Semaphore();
  #progress: { readonly archive?: string; readonly bytes: number } = { bytes: 0 };
  #hasMoved = false;
  /** Archives whose uploads earlier holders may have left unfinished. */
  #unfinished: readonly string[] = [];
  #isSettled = false;

  constructor(store: CheckpointStore, options: LeaseOptions) {
    this.#store = store;
    this.#options = options;
    this.#file = leaseFile(options.logId);
    this.#ttlMs = Math.min(options.ttlMs, MAX_CREDIBLE_LEASE_MS);
  }

  /** Aborted once another node may have taken over the lease: with `CONFLICT`, or the error of the failed renewal. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Must be called once, before everything else. Returns false while another process holds the lease. */
  async acquire(): Promise<boolean> {
    const { clock, signal, onHeld } = this.#options;
    let own = await this.#renewed();
    if (!(await this.#store.create(this.#file, own.text))) {
      const current = await this.#store.read(this.#file);
      if (current === undefined) return false;
      const held = await parseLease(this.#store, this.#file, current.text);
      if (held !== undefined && isLive(held, await this.#store.now())) {
        onHeld?.(held);
        return false;
      }
      // The holder of the expired lease may have died while uploading.
      this.#unfinished = unfinishedOf(parseStoredRecord(LeaseSchema, current.text));
      own = await this.#renewed();
      if ((await this.#store.replace(this.#file, own.text, current.tag)) === false) return false;
    }
    // The lease is read back for its tag. If creation is not exclusive, only the last writer finds its own lease.
    const mine = await this.#store.read(this.#file);
    if (mine === undefined || parseStoredRecord(LeaseSchema, mine.text)?.nonce !== this.#nonce) return false;
    this.#hold(mine.tag, own.until);
    const over = signal === undefined ? this.#ended.signal : AbortSignal.any([this.#ended.signal, signal]);
    this.#renewing = Promise.all([this.#keepRenewing(clock, over), this.#noticeExpiry(clock, over)]);
    return true;
  }

  /** Records progress, which the next renewal publishes. */
  note(progress: { readonly archive?: string; readonly bytes?: number }): void {
    this.#progress = { ...this.#progress, ...progress };
    this.#hasMoved = true;
  }

  /** Records that the upload has ended, and left nothing unfinished. */
  settle(): void {
    this.#isSettled = true;
  }

  /** Renews the lease now. Must be called before publishing. If the lease is lost, throws the reason. */
  async confirm(): Promise<void> {
    // The renewal is repeated if the response came so late that the lease could expire before the manifest is written.
    do await this.#oneByOne.run(() => this.#renew());
    while (this.#heldUntil - this.#options.clock.now() < this.#ttlMs / 2);
  }

  async release(): Promise<void> {
    this.#ended.abort();
    await this.#renewing;
    await this.#oneByOne.run(async () => undefined);
    // A lease that was aborted but not lost is ended, so that other nodes do not have to wait.
    const isTaken = this.#isOver() || isCairnError(this.lost.reason, "CONFLICT");
    if (this.lost.aborted && isTaken) return;
    try {
      if (this.#isSettled) this.#progress = { bytes: 0 };
      const leavesUploads =
        this.#store.tidy !== undefined && (this.#progress.archive ?? this.#unfinished[0]) !== undefined;
      // If files cannot be removed, or sweeps have to find unfinished uploads, the file stays and records the end.
      if (leavesUploads || this.#store.describe?.()?.canDelete === false) {
        const ended = this.#text({ expiresAt: new Date(0).toISOString() });
        await this.#store.replace(this.#file, ended, this.#tag);
        return;
      }
      const current = await this.#store.read(this.#file);
      if (current?.tag === this.#tag) await this.#store.remove(this.#file);
    } catch (error) {
      // The error is ignored: the checkpoint has been saved, and a lease that cannot be removed expires.
      if (!isCairnError(error)) throw error;
    }
  }

  /** The expiry by this machine's clock counts from before the request, so it is never later than the store's. */
  async #renewed(): Promise<{ readonly text: string; readonly until: number }> {
    const until = this.#options.clock.now() + this.#ttlMs;
    const now = await this.#store.now();
    const renewedAt = new Date(now).toISOString();
    const since = (this.#since ??= renewedAt);
    const expiresAt = new Date(now + this.#ttlMs).toISOString();
    return { text: this.#text({ since, renewedAt, expiresAt }), until };
  }

  #text(times: Pick<LeaseRecord, "expiresAt" | "since" | "renewedAt">): string {
    const { bytes, ...rest } = this.#progress;
    return JSON.stringify({
      owner: this.#options.owner,
      nonce: this.#nonce,
      ...rest,
      ...(this.#unfinished.length === 0 ? {} : { unfinished: [...this.#unfinished] }),
      progress: { bytes },
      ...times,
    } satisfies LeaseRecord);
  }

  async #renew(): Promise<void> {
    this.#requireHeld();
    const { text, until } = await this.#renewed();
    const renewed = await this.#store.replace(this.#file, text, this.#tag);
    if (renewed === false) this.#lost.abort(lost("Another node has taken over the lease of this upload."));
    else {
      this.#hold(renewed.tag, until);
      this.#renewalError = undefined;
    }
    this.#requireHeld();
  }

  /** Consults the clock, because a process that was suspended or waiting must notice before it continues. */
  #requireHeld(): void {
    if (this.#isOver())
      this.#lost.abort(this.#renewalError ?? lost("The lease of this upload expired before it was renewed."));
    this.lost.throwIfAborted();
  }

  #hold(tag: string, until: number): void {
    this.#tag = tag;
    this.#heldUntil = until;
  }

  #isOver(): boolean {
    return this.#options.clock.now() >= this.#heldUntil;
  }

  async #noticeExpiry(clock: Clock, over: AbortSignal): Promise<void> {
    while (!this.lost.aborted && (await clock.wait(Math.max(1, this.#heldUntil - clock.now()), over))) {
      try {
        this.#requireHeld();
      } catch {
        // Whoever uses the lease receives the reason.
      }
    }
  }

  async #keepRenewing(clock: Clock, over: AbortSignal): Promise<void> {
    // Renewals are counted instead of time, because a suspended process does not try to upload in the meantime.
    let stalledMs = 0;
    while (await clock.wait(this.#ttlMs / 3, over)) {
      const isMoving = this.#hasMoved || this.#progress.archive === undefined;
      stalledMs = isMoving ? 0 : stalledMs + this.#ttlMs / 3;
      this.#hasMoved = false;
      if (stalledMs >= STALLED_AFTER_MS) {
        const message = "The upload has made no progress for ten minutes.";
        const hint =
          "Check the store and the network to it. If a store in S3 responds but the network is slow, raise the store's `request-timeout`. Nothing was published, and other nodes may upload.";
        return this.#lost.abort(new CairnError("STORE_UNREACHABLE", message, hint));
      }
      try {
        await this.#oneByOne.run(() => this.#renew());
      } catch (error) {
        if (this.lost.aborted) return;
        // During a short outage of the store, the lease is kept until it expires.
        if (isCairnError(error)) this.#renewalError = error;
        else this.#lost.abort(error);
      }
    }
  }
}

function lost(message: string): CairnError {
  const hint =
    "Check why the store responds slowly or not at all, or why this process was suspended. Nothing was published.";
  return new CairnError("CONFLICT", message, hint);
}
