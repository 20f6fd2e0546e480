import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import { systemClock } from "@cairn/kv";
import { BackupLog, openEmbeddedTxLog, type LogMessage, type TxLog } from "@cairn/engine";
import { listBackup } from "@cairn/engine/src/backup/segments/segment-name";
import type { BackupTarget } from "@cairn/engine/src/backup/write/write-segments";
import {
  type BackupLook,
  type BackupLookOptions,
  lookAtBackup,
} from "@cairn/engine/src/backup/write/backup-look";
import type { BackupMemory } from "@cairn/engine/src/backup/write/look-results";
import type { SegmentFile } from "@cairn/engine/src/backup/segments/segment-name";
import { encodeSegment, type SegmentCodec } from "@cairn/engine/src/backup/segments/segment";
import { bytes } from "@cairn/engine/testing";

/** Returns the state of a node before its first look. */
export function noMemory(): BackupMemory {
  return { storeClock: undefined, damaged: new Map() };
}

/** An embedded log and a folder store, in a temporary folder. */
export class BackupScene {
  readonly folder: string;
  readonly log: TxLog;
  readonly logId: string;
  readonly store: CheckpointStore;
  memory = noMemory();

  static async open(): Promise<BackupScene> {
    const folder = await mkdtemp(path.join(tmpdir(), "cairn-backup-"));
    const log = await openEmbeddedTxLog({ path: path.join(folder, "log") });
    await log.create((id) => bytes(`birth of ${id}`));
    return new BackupScene(folder, log, (await log.id()) ?? "");
  }

  private constructor(folder: string, log: TxLog, logId: string) {
    this.folder = folder;
    this.log = log;
    this.logId = logId;
    this.store = filesystemStore({ path: path.join(folder, "store") });
  }

  async close(): Promise<void> {
    await this.log.close();
    await rm(this.folder, { recursive: true });
  }

  /** The identity of the log, as recorded in its segments. */
  get of(): { id: string; name: string; offset: number } {
    return { id: this.logId, name: this.log.name, offset: 0 };
  }

  async append(...payloads: readonly string[]): Promise<void> {
    for (const payload of payloads) await this.log.append(bytes(payload));
  }

  /** Performs one look at the backup, even if its newest segment is recent. */
  look(options: Partial<BackupLookOptions> = {}): Promise<BackupLook> {
    return lookAtBackup({
      store: this.store,
      log: this.log,
      of: this.of,
      node: "a",
      codec: "none",
      every: 60_000,
      forced: true,
      memory: this.memory,
      clock: systemClock,
      signal: new AbortController().signal,
      ...options,
    });
  }

  /** The backup as a command writes to it. */
  target(): BackupTarget {
    const { store, log, of } = this;
    const { signal } = new AbortController();
    return { store, log, of, node: "a", codec: "none", signal, storeNow: () => Date.now() };
  }

  /** Returns a log that reads the backup. */
  backup(store: CheckpointStore = this.store): BackupLog {
    return new BackupLog({ store, logId: this.logId, every: 5 });
  }

  async segments(): Promise<readonly SegmentFile[]> {
    return (await listBackup(this.store, this.logId)).segments;
  }

  /** Encodes messages as another writer would. */
  encode(
    messages: readonly LogMessage[],
    before: string | undefined,
    codec: SegmentCodec = "none",
  ): Promise<{ file: string; content: Buffer }> {
    return encodeSegment({ log: this.of, before, messages, node: "b", at: Date.now(), codec });
  }

  /** Returns the path of a file in the store. */
  pathOf(name: string): string {
    return path.join(this.folder, "store", name);
  }
}
