import type { CheckpointStore } from "../store/checkpoint-store.ts";
import { type CheckpointFiles, readCheckpoints, type StoredCheckpoint } from "../store/list-checkpoints.ts";
import type { Clock } from "../timing/clock.ts";

/** A problem that an operator should know about, although checkpoints continue. It consists of a message and a hint. */
export interface CheckpointerWarning {
  readonly about: "future-checkpoint" | "same-node-id" | "other-log" | "capture-directory";
  readonly message: string;
  readonly hint: string;
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

/** The maximum clock difference that is ignored (ms). Some stores report their time in whole seconds. */
const CLOCK_TOLERANCE_MS = 2_000;

/** The maximum number of new manifests read per look. Usually, about one checkpoint is saved between two looks. */
const MAX_MANIFESTS_PER_LOOK = 4;

export type LookMemory = ReturnType<typeof lookMemory>;

/**
 * Creates the memory that the checkpointer of `node` has of its store between looks. Each finding is reported once.
 * Times are milliseconds since 1970 by the store's clock.
 */
export function lookMemory(node: string, clock: Clock, onWarning: (warning: CheckpointerWarning) => void) {
  const startedAt = clock.now();
  /** The time at which this process started, by the store's clock; undefined before its first look. */
  let start: number | undefined;
  // The time of this process's last checkpoint. An earlier checkpoint with this node's id may also be its own.
  let lastTakenAt = 0;
  // The newest checkpoint if its recorded time is in the future, and the store's time when it was first seen.
  let future: { readonly name: string; readonly seenAt: number } | undefined;
  /** The names of this process's own checkpoints that are, or may be, in the store. */
  let ownNames = new Set<string>();
  let sameId = false;
  /** Names of checkpoints taken since this process started whose log is known. */
  let known = new Set<string>();
  const otherLogs = new Set<string>();

  /** Returns the time after which an earlier process of the node cannot have done anything. */
  const startAt = (storeNow: number): number =>
    (start ??= storeNow - Math.max(0, clock.now() - startedAt) + CLOCK_TOLERANCE_MS);

  return {
    /**
     * Returns the time at which the newest checkpoint counts as taken: the recorded time or, if that is in the future,
     * the time at which it was first seen. If it counted as taken "now" at every look, no node would save another one
     * until the recorded time.
     */
    takenAt({ name, manifest }: StoredCheckpoint, storeNow: number): number {
      const takenAt = Date.parse(manifest.takenAt);
      const after = Math.max(startAt(storeNow), lastTakenAt);
      const isNamesakes = manifest.node === node && !ownNames.has(name);
      if (!sameId && isNamesakes && takenAt > after && takenAt <= storeNow) {
        sameId = true;
        onWarning({
          about: "same-node-id",
          message: `Another process uses this node's id, ${node}: it saved ${name}.`,
          hint: "Give each node its own id (cairn/node > id, CAIRN_NODE_ID), and restart both: this node repeats the warning until then. No checkpoint is harmed, but the two nodes cannot be distinguished.",
        });
      }
      if (takenAt <= storeNow) return takenAt;
      if (future?.name !== name) {
        future = { name, seenAt: storeNow };
        if (takenAt - storeNow > CLOCK_TOLERANCE_MS)
          onWarning({
            about: "future-checkpoint",
            message: `${name} was taken ${Math.round((takenAt - storeNow) / 1000)} s after the store's current time, according to its manifest. It counts as taken when it was first seen.`,
            hint: "Check the store's clock, which was wrong then or is wrong now, unless the file comes from another store. Checkpoints continue as usual.",
          });
      }
      return Math.min(future.seenAt, storeNow);
    },
    /** Records a look. Reads the manifests of checkpoints that were taken since this process started, but only a few. */
    async sawStore({ store, listed, newest, logId, storeNow }: SeenStore): Promise<void> {
      // Older checkpoints may belong to a log that this one continues.
      const since = listed.filter(({ parsed }) => parsed.takenAt > startAt(storeNow));
      const unknown = since.filter(
        ({ name }) => !known.has(name) && name !== newest?.name && !ownNames.has(name),
      );
      const read = unknown
        .toSorted((a, b) => b.parsed.takenAt - a.parsed.takenAt)
        .slice(0, MAX_MANIFESTS_PER_LOOK);
      const unread = new Set(unknown.filter((files) => !read.includes(files)).map(({ name }) => name));
      for await (const found of readCheckpoints(store, read)) {
        if ("error" in found) continue;
        const { log } = found.manifest;
        if (log.id === logId || otherLogs.has(log.id)) continue;
        otherLogs.add(log.id);
        onWarning(ofOtherLog(found));
      }
      known = new Set(since.map(({ name }) => name).filter((name) => !unread.has(name)));
      ownNames = new Set(listed.map(({ name }) => name).filter((name) => ownNames.has(name)));
    },
    /** If the store's responses are lost, the checkpoint `name` may exist although it counts as failed. */
    saving(name: string): void {
      ownNames.add(name);
    },
    /** Records the time of a checkpoint that this process saved. */
    saved({ manifest }: StoredCheckpoint): void {
      lastTakenAt = Date.parse(manifest.takenAt);
    },
  };
}

function ofOtherLog({ name, manifest: { log, node } }: StoredCheckpoint): CheckpointerWarning {
  return {
    about: "other-log",
    message: `The nodes of another log also save their checkpoints here: ${node} saved ${name} of the log ${log.name} (${log.id}).`,
    hint: "Give one of the two logs its own folder or prefix, and restart its nodes; the other nodes repeat this warning until they are restarted. Nothing is mixed, and neither log waits for the other or removes its checkpoints, but commands list and prune both.",
  };
}
