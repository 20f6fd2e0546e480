import type { CheckpointStore } from "../store/checkpoint-store.ts";
import { readCheckpoints } from "../store/list-checkpoints.ts";
import type { CheckpointFiles, StoredCheckpoint } from "../store/list-checkpoints.ts";
import type { LeaseRecord } from "../store/lease-record.ts";
import type { Clock } from "../timing/clock.ts";

/** Something that an operator should know of, though checkpoints go on: a sentence, and what to do. */
export interface CheckpointerWarning {
  readonly about: "future-checkpoint" | "same-node-id" | "other-log" | "capture-directory";
  readonly message: string;
  readonly hint: string;
}

/** What one checkpointer remembers of its store from look to look. Times in milliseconds since 1970, by the store's clock. */
export interface StoreWitness {
  /**
   * When the newest checkpoint counts as taken: as it says, but one from the future when it was first seen. Were it "now" at every
   * look, nobody would save again until that future has come.
   */
  takenAt(newest: StoredCheckpoint, storeNow: number): number;
  /** Whether it was marked as verified at an earlier look and is not any more: somebody read it back since, and found it damaged. */
  lostMark(checkpoint: StoredCheckpoint): boolean;
  /** What a look saw. Reads a few manifests at most: those of checkpoints that were taken since this process began. */
  sawStore(seen: SeenStore): Promise<void>;
  /** This process saved it. */
  saved(checkpoint: StoredCheckpoint): void;
  /** This process had the lease with this nonce. */
  held(nonce: string): void;
  /** Somebody else has the lease. */
  sawLease(lease: LeaseRecord, storeNow: number): void;
  /** Whether a lease that somebody else has is one that an earlier life of this node left: of its id, not renewed since this process began. */
  leftBehind(lease: LeaseRecord, storeNow: number): boolean;
}

/** A store as a look saw it. */
export interface SeenStore {
  readonly store: CheckpointStore;
  readonly listed: readonly CheckpointFiles[];
  /** Of the log `logId`, which this node follows. */
  readonly newest: StoredCheckpoint | undefined;
  readonly logId: string | undefined;
  readonly storeNow: number;
}

/** Who looks, and who hears what it finds; each finding is told once. */
export interface WitnessOptions {
  readonly node: string;
  readonly clock: Clock;
  /** How long a lease holds without being renewed (ms). */
  readonly leaseMs: number;
  readonly onWarning: (warning: CheckpointerWarning) => void;
}

/** Stores that tell their time in whole seconds: less is no difference. */
const INEXACT_MS = 2_000;

/** Only the newest few are ever looked at. */
const REMEMBERED_MARKS = 16;

/** Of the checkpoints that are new, so many are read at a look: one log saves about one between two looks. */
const MOST_READ = 4;

/** Begins to remember, at the start of a checkpointer. */
export function storeWitness({ node, clock, leaseMs, onWarning }: WitnessOptions): StoreWitness {
  const began = clock.now();
  /** When this process began, by the store's clock; undefined before its first look. */
  let start: number | undefined;
  // Of the checkpoint that this process saved last: an earlier one with this node's id may be its own, too.
  let lastTakenAt = 0;
  // The newest checkpoint if it claims to be from the future, and the store's time when it was first seen.
  let future: { readonly name: string; readonly seenAt: number } | undefined;
  let lastSaved: string | undefined;
  let ownNonce: string | undefined;
  let sameId = false;
  /** Names of checkpoints that had a mark when they were seen, the last ones. */
  const marked = new Set<string>();
  /** Names of checkpoints that were taken since this process began, and of which it is known whose they are. */
  let known = new Set<string>();
  /** Ids of the other logs that save here; each is told once. */
  const otherLogs = new Set<string>();

  /** What is later than this is not of an earlier life of the node. */
  const startAt = (storeNow: number): number =>
    (start ??= storeNow - Math.max(0, clock.now() - began) + INEXACT_MS);

  const isNamesake = ({ owner, nonce }: LeaseRecord): boolean => owner === node && nonce !== ownNonce;

  /** One that an earlier life of this node left is not renewed after the start of this one. */
  const renewed = ({ renewedAt, expiresAt }: LeaseRecord, storeNow: number): boolean =>
    (renewedAt === undefined ? Date.parse(expiresAt) - leaseMs : Date.parse(renewedAt)) > startAt(storeNow);

  function tellSameId(evidence: string): void {
    if (sameId) return;
    sameId = true;
    onWarning({
      about: "same-node-id",
      message: `Another process goes by this node's id, ${node}: ${evidence}.`,
      hint: "No checkpoint is harmed, but nobody can tell the two apart; give each node an id of its own (cairn/node > id, CAIRN_NODE_ID), and restart both: this one says so until then.",
    });
  }

  return {
    takenAt({ name, manifest }, storeNow) {
      const takenAt = Date.parse(manifest.takenAt);
      const after = Math.max(startAt(storeNow), lastTakenAt);
      if (manifest.node === node && name !== lastSaved && takenAt > after && takenAt <= storeNow) {
        tellSameId(`it saved ${name}`);
      }
      if (takenAt <= storeNow) return takenAt;
      if (future?.name !== name) {
        future = { name, seenAt: storeNow };
        if (takenAt - storeNow > INEXACT_MS) onWarning(fromFuture(name, takenAt, storeNow));
      }
      return Math.min(future.seenAt, storeNow);
    },
    lostMark({ name, verified }) {
      if (!verified) return marked.has(name);
      marked.delete(name);
      marked.add(name);
      const [oldest] = marked;
      if (marked.size > REMEMBERED_MARKS && oldest !== undefined) marked.delete(oldest);
      return false;
    },
    async sawStore({ store, listed, newest, logId, storeNow }) {
      // Older ones may be of a log that this one continues.
      const since = listed.filter(({ parsed }) => parsed.takenAt > startAt(storeNow));
      const unknown = since.filter(({ name }) => ![...known, lastSaved, newest?.name].includes(name));
      const read = unknown.toSorted((a, b) => b.parsed.takenAt - a.parsed.takenAt).slice(0, MOST_READ);
      const unread = new Set(unknown.filter((files) => !read.includes(files)).map(({ name }) => name));
      for await (const found of readCheckpoints(store, read)) {
        if ("error" in found || found.manifest.log.id === logId || otherLogs.has(found.manifest.log.id))
          continue;
        otherLogs.add(found.manifest.log.id);
        onWarning(ofOtherLog(found));
      }
      known = new Set(since.map(({ name }) => name).filter((name) => !unread.has(name)));
    },
    saved({ name, manifest }) {
      lastSaved = name;
      lastTakenAt = Date.parse(manifest.takenAt);
    },
    held(nonce) {
      ownNonce = nonce;
    },
    sawLease(lease, storeNow) {
      if (isNamesake(lease) && renewed(lease, storeNow)) tellSameId("it is uploading a checkpoint");
    },
    leftBehind: (lease, storeNow) => isNamesake(lease) && !renewed(lease, storeNow),
  };
}

function fromFuture(name: string, takenAt: number, storeNow: number): CheckpointerWarning {
  const ahead = Math.round((takenAt - storeNow) / 1000);
  return {
    about: "future-checkpoint",
    message: `${name} says that it was taken ${ahead} s after the store's present time; it counts as taken now.`,
    hint: "The store's clock was wrong then or is now, or the file comes from another store; checkpoints go on as usual.",
  };
}

function ofOtherLog({ name, manifest }: StoredCheckpoint): CheckpointerWarning {
  const { log, node } = manifest;
  return {
    about: "other-log",
    message: `The nodes of another log save their checkpoints here, too: ${node} saved ${name} of the log ${log.name} (${log.id}).`,
    hint: "Nothing is mixed, and neither log waits for the other or removes what the other saved; but commands list and prune both. Give one of the two a folder or prefix of its own, and restart its nodes; the others say this until they are restarted.",
  };
}
