import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { NodeProcess } from "./cairn-process.ts";

/** What a round has left in the folders so far, seen from outside. */
export interface RoundTraces {
  readonly leased: boolean;
  readonly captured: boolean;
  /** Bytes of its archive while that is unfinished. */
  readonly uploaded: number;
  readonly archive: boolean;
  readonly manifest: boolean;
  /** Of an older checkpoint's manifest and archive only one is still there. */
  readonly sweeping: boolean;
}

/** The steps of saving a checkpoint, each by the traces that it alone leaves. */
export const STEPS: Readonly<Record<string, (traces: RoundTraces) => boolean>> = {
  "it holds the lease": (seen) => seen.leased && !seen.captured && seen.uploaded === 0 && !seen.archive,
  "it captures the index": (seen) => seen.captured && seen.uploaded === 0 && !seen.archive,
  "it uploads": (seen) => seen.uploaded > 0 && !seen.archive,
  "the archive is there, and its manifest is not": (seen) => seen.archive && !seen.manifest,
  "the manifest is there, and the lease still": (seen) => seen.manifest && seen.leased && !seen.sweeping,
  "it sweeps": (seen) => seen.sweeping,
};

const ROUND_MS = 5_000;
const RUN_MS = 0.2;

/**
 * Lets the next rounds of a node go on by fractions of a millisecond, looks in between while it stands still, and kills it at the first
 * instant that is `wanted`. False when it was not met within `timeoutMs`; then the node lives.
 */
export async function killAt(
  node: NodeProcess,
  folders: { readonly store: string; readonly capture: string },
  wanted: (traces: RoundTraces) => boolean,
  timeoutMs: number,
): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (Date.now() < deadline) {
    const before = new Set(names(folders.store));
    if (!isLeased(folders.store, node.id)) {
      await delay(1);
      continue;
    }
    if (
      stepThrough(
        node,
        () => wanted(look(folders, node.id, before)),
        () => isLeased(folders.store, node.id),
      )
    ) {
      await node.kill();
      return true;
    }
  }
  return false;
}

/** Whether the instant was met; the node stands still then. */
function stepThrough(node: NodeProcess, isMet: () => boolean, goesOn: () => boolean): boolean {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  let end = Date.now() + ROUND_MS;
  let ending = false;
  while (Date.now() < end) {
    node.signal("SIGSTOP");
    if (isMet()) return true;
    // The sweep comes after the lease has ended.
    if (!ending && !goesOn()) [ending, end] = [true, Date.now() + 100];
    node.signal("SIGCONT");
    Atomics.wait(pause, 0, 0, RUN_MS);
  }
  return false;
}

function look(
  { store, capture }: { store: string; capture: string },
  node: string,
  before: ReadonlySet<string>,
): RoundTraces {
  const now = names(store);
  const added = now.filter((name) => !before.has(name));
  const there = new Set(now);
  const manifests = [...before].filter((name) => isManifest(name));
  return {
    leased: isLeased(store, node),
    captured: names(capture).length > 0,
    uploaded: Math.max(
      0,
      ...added.filter((name) => name.startsWith(".tmp-")).map((name) => size(store, name)),
    ),
    archive: added.some((name) => name.endsWith(".tar")),
    manifest: added.some(isManifest),
    sweeping: manifests.some((name) => there.has(name) !== there.has(name.replace(/json$/, "tar"))),
  };
}

function isManifest(name: string): boolean {
  return /^checkpoint-.*Z-[0-9a-f]{8}\.json$/.test(name);
}

function isLeased(store: string, node: string): boolean {
  const lease = names(store).find((name) => name.startsWith("in-progress-"));
  const text =
    lease === undefined ? undefined : orAbsent(() => readFileSync(path.join(store, lease), "utf8"));
  if (text === undefined) return false;
  const { owner, expiresAt } = JSON.parse(text) as { owner: string; expiresAt: string };
  return owner === node && Date.parse(expiresAt) > Date.now();
}

/** Of what an upload writes; a record that is about to get its name is smaller. */
function size(store: string, name: string): number {
  const bytes = orAbsent(() => statSync(path.join(store, name)).size) ?? 0;
  return bytes > 10_000 ? bytes : 0;
}

function names(folder: string): string[] {
  return orAbsent(() => readdirSync(folder)) ?? [];
}

function orAbsent<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}
