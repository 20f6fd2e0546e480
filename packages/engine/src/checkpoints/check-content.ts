import {
  CairnError,
  checkLiveTables,
  isCairnError,
  type KvProvider,
  type KvReader,
  LEVEL_FORMAT,
} from "@cairn/kv";
import { wrapped } from "@cairn/text";
import { checkTransactions } from "../index/inspect/check-rows.ts";
import { readIndex } from "../index/local-index.ts";
import { digestIndex } from "../index/read/digest.ts";
import { readState } from "../index/rows/index-state.ts";

/**
 * Reads all documents and outcomes of an index, and returns its digest; undefined if it is empty. Throws
 * `INDEX_CORRUPT`, or the signal's reason. `rows` must be a snapshot, or a store that is not being written to.
 */
export async function checkContent(rows: KvReader, signal: AbortSignal): Promise<string | undefined> {
  const reader = wrapped<KvReader>(rows, { range: (range) => untilAborted(rows.range(range), signal) });
  const state = await readState(reader);
  // The digest covers only documents.
  if (state !== undefined) await checkTransactions(reader, state);
  return (await digestIndex(reader))?.digest;
}

async function* untilAborted<T>(pages: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T, void, void> {
  for await (const page of pages) {
    signal.throwIfAborted();
    yield page;
  }
}

/** Like {@link checkContent}, for the files of a checkpoint, whose tables are also compared with their checksums. */
export async function checkFiles(
  provider: KvProvider,
  dir: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  return await readIndex(provider, dir, async ({ kv }) => {
    // Files that were damaged before their capture have correct SHA-256 digests but wrong LevelDB checksums.
    if (provider.format === LEVEL_FORMAT) await checkLiveTables(dir, signal);
    return await checkContent(kv, signal);
  });
}

/**
 * Explains an error in reading the files of a checkpoint, which match their digests: the index from which `saver` saved
 * them had the same fault.
 */
export function ofSaver(error: unknown, saver: string): unknown {
  if (!isCairnError(error, "INDEX_CORRUPT")) return error;
  const hint = `The index from which ${saver} saved the checkpoint had the same fault, and perhaps still has it. A node checks its own index when it finds such a checkpoint, and each node checks its copy before it saves the next checkpoint. A wrong index is moved to quarantine and rebuilt from the log or an older checkpoint. Verify this checkpoint at ${saver}, if it runs.`;
  return new CairnError(error.code, error.message, { hint, cause: error });
}
