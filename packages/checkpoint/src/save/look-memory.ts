import type { CheckpointStore } from "../store/checkpoint-store.ts";
import { readCheckpoints } from "../store/list-checkpoints.ts";
import type { CheckpointFiles, StoredCheckpoint } from "../store/list-checkpoints.ts";
import type { LeaseRecord } from "../store/lease-record.ts";
import type { Clock } from "../timing/clock.ts";
import { MAX_GRANTED_LEASE_MS } from "./lease.ts";

/** A problem that an operator should know about, although checkpoints continue. It consists of a message and a hint. */
export interface CheckpointerWarning {
  readonly about: "future-checkpoint" | "same-node-id" | "other-log" | "capture-directory";
  readonly message: string;
  readonly hint: string;
}

/** A checkpointer's memory of its store between looks. Times are milliseconds since 1970 by the store's clock. */
export interface LookMemory {
  /**
   * Returns the time at which the newest checkpoint counts as taken: the recorded time or, if that is in the future,
   * the time at which it was first seen. If it counted as taken "now" at every look, no node would save another one
   * until the recorded time.
   */
  takenAt(newest: StoredCheckpoint, storeNow: number): number;
  /** Records a look. Reads the manifests of checkpoints that were taken since this process started, but only a few. */
  sawStore(seen: SeenStore): Promise<void>;
  /** If the store's responses are lost, the checkpoint `name` may exist although it counts as failed. */
  saving(name: string): void;
  /** Records a checkpoint that this process saved. */
  saved(checkpoint: StoredCheckpoint): void;
  /** If the store's response is lost, the lease may exist although it counts as not acquired. */
  acquiring(nonce: string): void;
  /** Records that the lease is held. */
  sawLease(lease: LeaseRecord, storeNow: number): void;
  /** True if the lease has the node's id and was not renewed since this process started: an earlier process held it. */
  leftBehind(lease: LeaseRecord, storeNow: number): boolean;
}

/** The content of a store at a look. */
export interface SeenStore {
  readonly store: CheckpointStore;
  readonly listed: readonly CheckpointFiles[];
  /** The newest checkpoint of the log `logId`, which this node follows. */
  readonly newest: StoredCheckpoint | undefined;
  readonly logId: string | undefined;
  readonly storeNow: number;
}

/** The node that looks, and the receiver of its warnings. Each finding is reported once. */
export interface LookMemoryOptions {
  readonly node: string;
  readonly clock: Clock;
  readonly onWarning: (warning: CheckpointerWarning) => void;
}

/** The maximum clock difference that is ignored (ms). Some stores report their time in whole seconds. */
const CLOCK_TOLERANCE_MS = 2_000;

/** The maximum number of new manifests read per look. Usually, about one checkpoint is saved between two looks. */
const MAX_MANIFESTS_PER_LOOK = 4;

/** The number of names and of nonces of this process that are remembered. One is added by each attempt. */
const MAX_OWN = 16;

/** The newest names or nonces of this process. One that is still found in the store counts as new. */
class RecentlyOwn {
  readonly #values = new Set<string>();

  add(value: string): void {
    this.#values.delete(value);
    this.#values.add(value);
    const [oldest] = this.#values;
    if (this.#values.size > MAX_OWN && oldest !== undefined) this.#values.delete(oldest);
  }

  /** Returns whether this process has used `value`. */
  found(value: string): boolean {
    if (!this.#values.has(value)) return false;
    // As long as it is in the store, further attempts must not displace it.
    this.add(value);
    return true;
  }
}

export function lookMemory({ node, clock, onWarning }: LookMemoryOptions): LookMemory {
  const startedAt = clock.now();
  /** The time at which this process started, by the store's clock; undefined before its first look. */
  let start: number | undefined;
  // The time of this process's last checkpoint. An earlier checkpoint with this node's id may also be its own.
  let lastTakenAt = 0;
  // The newest checkpoint if its recorded time is in the future, and the store's time when it was first seen.
  let future: { readonly name: string; readonly seenAt: number } | undefined;
  const ownNames = new RecentlyOwn();
  const ownNonces = new RecentlyOwn();
  let sameId = false;
  /** Names of checkpoints taken since this process started whose log is known. */
  let known = new Set<string>();
  /** The ids of other logs whose nodes save to this store; each is reported once. */
  const otherLogs = new Set<string>();

  /** Returns the time after which an earlier process of the node cannot have done anything. */
  const startAt = (storeNow: number): number =>
    (start ??= storeNow - Math.max(0, clock.now() - startedAt) + CLOCK_TOLERANCE_MS);

  const isNamesake = ({ owner, nonce }: LeaseRecord): boolean => owner === node && !ownNonces.found(nonce);

  /**
   * Returns whether a lease was renewed since this process started, so that no earlier process of this node left it. A
   * lease that does not record its renewal counts as one of maximum duration, because the earlier process may have been
   * configured with another frequency.
   */
  const renewed = ({ renewedAt, expiresAt }: LeaseRecord, storeNow: number): boolean =>
    (renewedAt === undefined ? Date.parse(expiresAt) - MAX_GRANTED_LEASE_MS : Date.parse(renewedAt)) >
    startAt(storeNow);

  function warnOfSameId(evidence: string): void {
    if (sameId) return;
    sameId = true;
    onWarning({
      about: "same-node-id",
      message: `Another process uses this node's id, ${node}: ${evidence}.`,
      hint: "Give each node its own id (cairn/node > id, CAIRN_NODE_ID), and restart both: this node repeats the warning until then. No checkpoint is harmed, but the two nodes cannot be distinguished.",
    });
  }

  return {
    takenAt({ name, manifest }, storeNow) {
      const takenAt = Date.parse(manifest.takenAt);
      const after = Math.max(startAt(storeNow), lastTakenAt);
      const isNamesakes = manifest.node === node && !ownNames.found(name);
      if (isNamesakes && takenAt > after && takenAt <= storeNow) warnOfSameId(`it saved ${name}`);
      if (takenAt <= storeNow) return takenAt;
      if (future?.name !== name) {
        future = { name, seenAt: storeNow };
        if (takenAt - storeNow > CLOCK_TOLERANCE_MS) onWarning(fromFuture(name, takenAt, storeNow));
      }
      return Math.min(future.seenAt, storeNow);
    },
    async sawStore({ store, listed, newest, logId, storeNow }) {
      // Older checkpoints may belong to a log that this one continues.
      const since = listed.filter(({ parsed }) => parsed.takenAt > startAt(storeNow));
      const unknown = since.filter(
        ({ name }) => !known.has(name) && name !== newest?.name && !ownNames.found(name),
      );
      const read = unknown
        .toSorted((a, b) => b.parsed.takenAt - a.parsed.takenAt)
        .slice(0, MAX_MANIFESTS_PER_LOOK);
      const unread = new Set(unknown.filter((files) => !read.includes(files)).map(({ name }) => name));
      for await (const found of readCheckpoints(store, read)) {
        if ("error" in found || found.manifest.log.id === logId || otherLogs.has(found.manifest.log.id))
          continue;
        otherLogs.add(found.manifest.log.id);
        onWarning(ofOtherLog(found));
      }
      known = new Set(since.map(({ name }) => name).filter((name) => !unread.has(name)));
    },
    saving: (name) => ownNames.add(name),
    saved({ name, manifest }) {
      ownNames.add(name);
      lastTakenAt = Date.parse(manifest.takenAt);
    },
    acquiring: (nonce) => ownNonces.add(nonce),
    sawLease(lease, storeNow) {
      if (isNamesake(lease) && renewed(lease, storeNow)) warnOfSameId("it is uploading a checkpoint");
    },
    leftBehind: (lease, storeNow) => isNamesake(lease) && !renewed(lease, storeNow),
  };
}

function fromFuture(name: string, takenAt: number, storeNow: number): CheckpointerWarning {
  const ahead = Math.round((takenAt - storeNow) / 1000);
  return {
    about: "future-checkpoint",
    message: `${name} was taken ${ahead} s after the store's current time, according to its manifest. It counts as taken when it was first seen.`,
    hint: "Check the store's clock, which was wrong then or is wrong now, unless the file comes from another store. Checkpoints continue as usual.",
  };
}

function ofOtherLog({ name, manifest }: StoredCheckpoint): CheckpointerWarning {
  const { log, node } = manifest;
  return {
    about: "other-log",
    message: `The nodes of another log also save their checkpoints here: ${node} saved ${name} of the log ${log.name} (${log.id}).`,
    hint: "Give one of the two logs its own folder or prefix, and restart its nodes; the other nodes repeat this warning until they are restarted. Nothing is mixed, and neither log waits for the other or removes its checkpoints, but commands list and prune both.",
  };
}
