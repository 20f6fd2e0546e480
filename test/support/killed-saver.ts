import { statSync } from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { NodeProcess } from "./cairn-process.ts";
import { listFolder, readLease } from "./watched-store.ts";

/** The traces that a round has left in the folders so far, as seen from outside. */
export interface RoundTraces {
  readonly leased: boolean;
  readonly captured: boolean;
  /** The size of the unfinished archive in bytes. */
  readonly uploadedBytes: number;
  readonly archive: boolean;
  readonly manifest: boolean;
  /** Whether only the manifest or only the archive of an older checkpoint still exists. */
  readonly sweeping: boolean;
}

/** The steps of saving a checkpoint, each with the traces that only it leaves. */
export const STEPS: Readonly<Record<string, (traces: RoundTraces) => boolean>> = {
  "it holds the lease": (seen) => seen.leased && !seen.captured && seen.uploadedBytes === 0 && !seen.archive,
  "it captures the index": (seen) => seen.captured && seen.uploadedBytes === 0 && !seen.archive,
  "it uploads": (seen) => seen.uploadedBytes > 0 && !seen.archive,
  "the archive exists, but not its manifest": (seen) => seen.archive && !seen.manifest,
  "the manifest exists, and the lease too": (seen) => seen.manifest && seen.leased && !seen.sweeping,
  "it sweeps": (seen) => seen.sweeping,
};

const ROUND_MS = 5_000;
const RUN_MS = 0.2;

/**
 * Makes a node's next rounds run for fractions of a millisecond at a time, reads their traces while the node is stopped
 * in between, and kills the node as soon as the traces are `wanted`. Returns false, without killing the node, if that
 * does not happen within `timeoutMs`.
 */
export async function killAt(
  node: NodeProcess,
  folders: { readonly store: string; readonly capture: string },
  wanted: (traces: RoundTraces) => boolean,
  timeoutMs: number,
): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (Date.now() < deadline) {
    const before = new Set(listFolder(folders.store));
    if (!isLeased(folders.store, node.id)) {
      await delay(1);
      continue;
    }
    if (
      stepThrough(
        node,
        () => wanted(readTraces(folders, node.id, before)),
        () => isLeased(folders.store, node.id),
      )
    ) {
      await node.kill();
      return true;
    }
  }
  return false;
}

/** Returns true, with the node stopped, once `isMet` returns true. Returns false if the round ends before that. */
function stepThrough(node: NodeProcess, isMet: () => boolean, isLeaseHeld: () => boolean): boolean {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  let end = Date.now() + ROUND_MS;
  let ending = false;
  while (Date.now() < end) {
    node.signal("SIGSTOP");
    if (isMet()) return true;
    // The sweep follows the end of the lease.
    if (!ending && !isLeaseHeld()) [ending, end] = [true, Date.now() + 100];
    node.signal("SIGCONT");
    Atomics.wait(pause, 0, 0, RUN_MS);
  }
  return false;
}

function readTraces(
  { store, capture }: { store: string; capture: string },
  node: string,
  before: ReadonlySet<string>,
): RoundTraces {
  const names = listFolder(store);
  const added = names.filter((name) => !before.has(name));
  const present = new Set(names);
  const manifests = [...before].filter((name) => isManifest(name));
  return {
    leased: isLeased(store, node),
    captured: listFolder(capture).length > 0,
    uploadedBytes: Math.max(
      0,
      ...added.filter((name) => name.startsWith(".tmp-")).map((name) => uploadBytes(store, name)),
    ),
    archive: added.some((name) => name.endsWith(".tar")),
    manifest: added.some(isManifest),
    sweeping: manifests.some((name) => present.has(name) !== present.has(name.replace(/json$/, "tar"))),
  };
}

function isManifest(name: string): boolean {
  return /^checkpoint-.*Z-[0-9a-f]{8}\.json$/.test(name);
}

function isLeased(store: string, node: string): boolean {
  const lease = readLease(store);
  return lease?.owner === node && Date.parse(lease.expiresAt) > Date.now();
}

/** Returns the size of an upload, and 0 for the temporary file of a record, which is always smaller than an archive. */
function uploadBytes(store: string, name: string): number {
  const bytes = statSync(path.join(store, name), { throwIfNoEntry: false })?.size ?? 0;
  return bytes > 10_000 ? bytes : 0;
}
