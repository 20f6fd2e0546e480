import { open } from "node:fs/promises";
import { join } from "node:path";
import type { CheckpointStore, StoredManifest } from "@cairn/checkpoint";
import type { NodeStatus, TxId } from "@cairn/client";
import { closing, isCairnError, LEVEL_FORMAT, RunningWork, Semaphore, systemErrorCode } from "@cairn/kv";
import type { Logger } from "pino";
import {
  type ArchivedIndex,
  type ArchivedIndexOptions,
  openArchivedIndex,
} from "../checkpoints/archived-index.ts";
import type { IndexStore } from "../index/index-store.ts";
import { isDamage } from "../observe/failures.ts";

/** The codes of errors that do not concern the read itself. */
const NO_ANSWER = /^(?:CHECKPOINT_|INDEX_|STORE_|NOT_READY$|SYSTEM_REFUSED$)/;

/** More would not be faster, because so many threads read files. */
const PARALLEL_LOCAL_READS = 4;

interface RestoredCandidate {
  readonly name: string;
  readonly manifest: StoredManifest;
  readonly store: CheckpointStore;
}

/** The number of bytes of the archive that have arrived, of which the last are still being unpacked, and the folder. */
interface Unpacked {
  readonly done: number;
  readonly dir: string;
}

interface AttachmentOptions {
  readonly isOn: boolean;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Called with the index that serves stale reads from now on; undefined if there is none any more. */
  readonly onIndex: (index: IndexStore | undefined) => void;
  /** Called once an attachment has ended, with what its reads fetched from the store. */
  readonly onEnded: (counts: ArchivedIndex["files"]["counts"]) => void;
}

/**
 * Lets a joining node serve stale reads from the checkpoint that it is restoring: from the archive, and what has arrived
 * from the disk. The restore neither waits for it nor receives its errors.
 */
export class Attachment {
  /** The newest transaction as of which reads were served: later reads must not be of an earlier state. */
  floor: TxId = 0;
  readonly #options: AttachmentOptions;
  #candidate: RestoredCandidate | undefined;
  #attached: ArchivedIndex | undefined;
  #unpacked: Unpacked | undefined;
  /** Limits the descriptors that reads need. */
  readonly #localReads = new Semaphore(PARALLEL_LOCAL_READS);
  /** Attachments that end once their reads have ended. */
  readonly #ending = new RunningWork();

  constructor(options: AttachmentOptions) {
    this.#options = options;
  }

  get index(): IndexStore | undefined {
    return this.#attached?.index;
  }

  get status(): NodeStatus["attached"] {
    const candidate = this.#candidate;
    const attached = this.#attached;
    if (candidate === undefined || attached === undefined) return null;
    const { txId, txTime, takenAt } = candidate.manifest;
    const { requests, bytes } = attached.files.counts;
    return { checkpoint: candidate.name, txId, txTime, takenAt, requests, bytes };
  }

  /** Attaches to a checkpoint that the log was found to continue. If it is removed, the restore skips it, which ends this. */
  begin(candidate: RestoredCandidate): void {
    this.end();
    const { isOn, logger } = this.#options;
    const { format, txId } = candidate.manifest;
    if (!isOn || txId < this.floor) return;
    if (format.kv !== LEVEL_FORMAT) {
      const why = `no reads are served until the checkpoint is restored, because it is in ${format.kv}, and not in ${LEVEL_FORMAT}`;
      return logger.info({ checkpoint: candidate.name }, why);
    }
    this.#candidate = candidate;
    void this.#attach(candidate);
  }

  async #attach(candidate: RestoredCandidate): Promise<void> {
    const { logger, signal, onIndex } = this.#options;
    const { name, store } = candidate;
    const isCurrent = (): boolean => this.#candidate === candidate && !signal.aborted;
    try {
      const sizes = new Map(candidate.manifest.files.map((file) => [file.name, file.bytes]));
      const readLocal: ArchivedIndexOptions["readLocal"] = async (fileEnd, file, start, end) => {
        const unpacked = this.#unpacked;
        if (!isCurrent() || unpacked === undefined || unpacked.done < fileEnd) return undefined;
        const path = join(unpacked.dir, file);
        return await this.#localReads.run(async () => await readPart(path, sizes.get(file), start, end));
      };
      const attached = await openArchivedIndex(store, candidate, { signal, readLocal });
      if (!isCurrent()) return await this.#close(attached);
      this.#attached = attached;
      const { txId, txTime } = candidate.manifest;
      this.floor = txId;
      logger.info(
        { checkpoint: name, txId, txTime },
        "stale reads are served from the checkpoint that is restored",
      );
      onIndex(attached.index);
    } catch (error) {
      if (!isCurrent()) return;
      const code = isCairnError(error) ? error.code : undefined;
      // A compressed archive, or a store that cannot read parts of files, is no fault.
      const level = code === "REQUEST_INVALID" ? "info" : "warn";
      logger[level]({ err: error, checkpoint: name }, "no reads are served until the checkpoint is restored");
    }
  }

  unpacked(unpacked: Unpacked): void {
    this.#unpacked = unpacked;
  }

  /**
   * Returns whether a read of an attached index failed because of its checkpoint or its store, which is no answer to the
   * read. If it is damaged, the attachment ends; the restore decides about the candidate.
   */
  failed(index: IndexStore, error: unknown): boolean {
    if (this.#options.signal.aborted) return true;
    if (!isCairnError(error) || !NO_ANSWER.test(error.code)) return false;
    if (index === this.index && isDamage(error)) {
      this.#options.logger.warn(
        { err: error },
        "the checkpoint that is restored is damaged: no reads are served from it",
      );
      this.end();
    }
    return true;
  }

  skipped(name: string): void {
    if (this.#candidate?.name === name) this.end();
  }

  /** Ends the attachment: because its candidate is refused, damaged, or replaced by the restored index. */
  end(): void {
    const attached = this.#attached;
    this.#candidate = undefined;
    this.#attached = undefined;
    this.#unpacked = undefined;
    if (attached === undefined) return;
    this.#options.onIndex(undefined);
    void this.#ending.track(this.#close(attached));
  }

  async #close({ files, idle, close }: ArchivedIndex): Promise<void> {
    await idle();
    this.#options.onEnded(files.counts);
    try {
      await close();
    } catch (error) {
      this.#options.logger.warn({ err: error }, "the archive of a checkpoint could not be closed");
    }
  }

  async ended(): Promise<void> {
    await this.#ending.idle();
  }
}

/** Reads a part of a file; undefined unless it exists with its full size. */
async function readPart(
  path: string,
  size: number | undefined,
  start: number,
  end: number,
): Promise<Buffer | undefined> {
  try {
    return await closing(await open(path), async (file) => {
      if ((await file.stat()).size !== size) return undefined;
      const part = Buffer.allocUnsafeSlow(end - start);
      const { bytesRead } = await file.read(part, 0, part.length, start);
      return bytesRead === part.length ? part : undefined;
    });
  } catch (error) {
    // The archive has it as well. The file was moved, or there is no descriptor left.
    if (systemErrorCode(error) === undefined) throw error;
    return undefined;
  }
}
