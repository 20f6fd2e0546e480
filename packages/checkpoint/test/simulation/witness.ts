import { createHash } from "node:crypto";
import {
  checkpointFile,
  type CheckpointName,
  decodeManifest,
  type Manifest,
  newestFirst,
  parseCheckpointFile,
  parseCheckpointName,
} from "../../src/store/checkpoint.ts";
import { LEASE_PREFIX } from "../../src/store/lease-record.ts";
import type { NodeLife } from "../../testing/simulation/node-life.ts";
import { ARCHIVE_BYTES, transactionIn } from "./simulated-index.ts";
import type { SimulatedFile, StoreContents, StoreWatcher } from "../../testing/simulation/simulated-store.ts";
import type { VirtualTime } from "../../testing/simulation/virtual-time.ts";

/** A checkpoint whose publication the witness observed. */
export interface Published {
  readonly name: string;
  readonly parsed: CheckpointName;
  readonly manifest: Manifest;
  readonly by: NodeLife;
}

/** An event that must never happen, but did. */
export interface Violation {
  /** The virtual time of the violation. */
  readonly at: number;
  readonly rule: string;
  readonly what: string;
}

/** The counts of a witness. */
export interface Counted {
  readonly uploads: number;
  /** The number of checkpoints published less than 0.85 periods after the previous newest one. */
  readonly duplicates: number;
  /** Uploads that were begun but never published, as fractions of a whole upload. */
  readonly thrownAway: number;
  /** The largest number of concurrent uploads by running processes. */
  readonly mostAtOnce: number;
  readonly byNode: ReadonlyMap<string, number>;
}

/** Observes everything that happens in a store, checks the rules at every step, and counts. */
export interface Witness {
  readonly violations: readonly Violation[];
  watch(by: NodeLife): StoreWatcher;
  /** Returns the checkpoints in the store, newest first. */
  listed(): readonly Published[];
  /** Returns whether `life` holds the lease, or is uploading. */
  isSaving(life: NodeLife): boolean;
  violate(rule: string, what: string): void;
  /** Records that `life` has ended. Its unfinished upload never arrives. */
  died(life: NodeLife): void;
  counted(): Counted;
}

/** The inputs of a witness. */
export interface WitnessOptions {
  readonly contents: StoreContents;
  readonly time: VirtualTime;
  readonly period: number;
  /** Whether a restore relies on the archive of `name`. */
  readonly isRestored: (name: string) => boolean;
  readonly onPublished: (published: Published) => void;
}

/** Watches `contents` from its beginning. */
export function witness({ contents, time, period, isRestored, onPublished }: WitnessOptions): Witness {
  const { files, exclusive } = contents;
  const violations: Violation[] = [];
  const published = new Map<string, Published>();
  const uploading = new Map<string, NodeLife>();
  /** The processes that uploaded archives whose manifests have not arrived yet, by name. */
  const unpublished = new Map<string, NodeLife>();
  const byNode = new Map<string, number>();
  let holder: NodeLife | undefined;
  let newestEver: Published | undefined;
  let arrived = 0;
  let [uploads, duplicates, mostAtOnce] = [0, 0, 0];

  const violate = (rule: string, what: string): void => {
    violations.push({ at: time.now(), rule, what });
  };
  const listed = (): Published[] =>
    [...published.values()].toSorted((a, b) => newestFirst(a.parsed, b.parsed));
  const isVerified = (one: Published): boolean => files.has(checkpointFile(one.name, "verified"));
  // At the very instant at which a process continues, it has not read its clock yet.
  const running = (): NodeLife[] =>
    [...uploading.values()].filter((life) => !life.isFrozen() && life.thawedAt() < time.now());

  function publish(name: string, file: SimulatedFile, by: NodeLife): void {
    const parsed = parseCheckpointName(name);
    if (parsed === undefined) return violate("names are checkpoints' names", name);
    const manifest = decodeManifest(name, file.content.toString("utf8"));
    const archive = files.get(checkpointFile(name, "archive"))?.content;
    // If creation takes two steps, a process may freeze between them, and its archive may be swept in the meantime.
    // Every reader skips such a checkpoint.
    if (!exclusive && archive === undefined) return;
    const sha256 = archive === undefined ? "" : createHash("sha256").update(archive).digest("hex");
    if (sha256 !== manifest.files[0]?.sha256) violate("every listed checkpoint is complete", name);
    if (archive !== undefined && manifest.txId > transactionIn(archive)) {
      violate("no checkpoint claims more than its data holds", name);
    }
    if (exclusive && holder !== by) {
      violate("no process publishes after losing the lease", `${name} by ${by.node}`);
    }
    unpublished.delete(name);
    const checkpoint = { name, parsed, manifest, by };
    if (newestEver !== undefined) {
      const isOlder = parsed.txId < newestEver.parsed.txId;
      if (exclusive && isOlder) violate("each checkpoint is newer than those before", name);
      if (parsed.takenAt - newestEver.parsed.takenAt < 0.85 * period) duplicates += 1;
    }
    newestEver = checkpoint;
    uploads += 1;
    byNode.set(by.node, (byNode.get(by.node) ?? 0) + 1);
    onPublished(checkpoint);
    published.set(name, checkpoint);
  }

  function unpublish(name: string, by: NodeLife): void {
    const [newest] = listed();
    const is = published.get(name);
    published.delete(name);
    // Only the node that could not determine whether its manifest was written may remove it.
    if (newest?.name === name && is?.by !== by) violate("the newest checkpoint stays", name);
    if (
      is !== undefined &&
      isVerified(is) &&
      !listed().some((other) => isVerified(other) && newer(other, is))
    ) {
      violate("the newest verified checkpoint stays", name);
    }
  }

  function archiveRemoved(name: string, by: NodeLife): void {
    if (published.has(name)) violate("every listed checkpoint is complete", `${name} lost its archive`);
    if (isRestored(name)) violate("a reserved checkpoint stays", name);
    const owner = unpublished.get(name);
    unpublished.delete(name);
    if (exclusive && owner !== undefined && owner !== by && owner === holder && !owner.isDead()) {
      violate("nothing of another's upload is removed", name);
    }
  }

  return {
    violations,
    listed,
    violate,
    isSaving: (life) => holder === life || [...uploading.values()].includes(life),
    died(life) {
      for (const [name, by] of uploading) if (by === life) uploading.delete(name);
    },
    counted: () => ({
      uploads,
      duplicates,
      mostAtOnce,
      byNode,
      thrownAway: arrived / ARCHIVE_BYTES - uploads,
    }),
    watch: (by) => ({
      uploadBegins(name) {
        const isAwake = by.thawedAt() < time.now();
        if (exclusive && holder !== by && isAwake) violate("an upload begins only under the lease", name);
        uploading.set(name, by);
      },
      pieceArrives(_, bytes) {
        arrived += bytes;
        const atOnce = running().length;
        mostAtOnce = Math.max(mostAtOnce, atOnce);
        if (exclusive && atOnce > 1) {
          violate(
            "never more than one upload at a time",
            running()
              .map(({ node }) => node)
              .join(" and "),
          );
        }
      },
      uploadEnds: (name) => void uploading.delete(name),
      written(file, content, before) {
        if (file.startsWith(LEASE_PREFIX)) holder = by;
        const is = parseCheckpointFile(file);
        if (is === undefined) return;
        if (is.part === "archive") unpublished.set(is.checkpoint, by);
        if (is.part !== "verified" && before !== undefined) violate("nothing is overwritten", file);
        if (is.part === "manifest") publish(is.checkpoint, content, by);
      },
      removed(file) {
        if (file.startsWith(LEASE_PREFIX)) holder = undefined;
        const is = parseCheckpointFile(file);
        if (is?.part === "manifest") unpublish(is.checkpoint, by);
        if (is?.part === "archive") archiveRemoved(is.checkpoint, by);
      },
    }),
  };
}

function newer(a: Published, b: Published): boolean {
  return newestFirst(a.parsed, b.parsed) < 0;
}
