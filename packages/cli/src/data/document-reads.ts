import { resolve } from "node:path";
import { CairnClientError, type JsonAnswer, type NodeAccess, type NodeRequest } from "@cairn/client/protocol";
import { openCheckpointAccess } from "@cairn/engine";
import { CairnError, LEVEL_FORMAT } from "@cairn/kv";
import { formatCount, formatTime, givenOptions, omitUndefined } from "@cairn/text";
import type { CommandRun } from "../options/command.ts";
import { openNode, READ_OPTIONS } from "../options/node-address.ts";
import { type OptionValues, textValue } from "../options/option-specs.ts";
import { CHECKPOINT_LOG, chooseCheckpoint, folderPath, openCheckpoints } from "../places/checkpoint-place.ts";
import { KEY_OPTIONS } from "../places/store-keys.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { NodeClient } from "../requests/node-client.ts";

export const DOCUMENT_OPTIONS = {
  ...READ_OPTIONS,
  ...KEY_OPTIONS,
  checkpoint: textValue(
    "<place>",
    "read from a checkpoint where it is, without a node: a folder, s3://bucket/prefix, a checkpoint in one of these, or with -f, -e or -j the name of one in the configured store",
  ),
  log: CHECKPOINT_LOG,
};

/** Returns what answers requests for documents: the node, or the checkpoint that the options name. */
export async function openReads(
  run: CommandRun<OptionValues<typeof DOCUMENT_OPTIONS>>,
): Promise<Pick<NodeClient, "send">> {
  const { checkpoint: place, url, log, keyFile, acceptPlain } = run.options;
  if (place === undefined) {
    if (log !== undefined || keyFile !== undefined || acceptPlain)
      throw new UsageError(
        "--log, --key-file and --accept-plain are about a checkpoint.",
        "Add --checkpoint.",
      );
    return await openNode(run);
  }
  if (place === "")
    throw new UsageError("--checkpoint names no place.", "Name a folder, or s3://bucket/prefix.");
  if (url !== undefined)
    throw new UsageError("--url names a node, and --checkpoint a checkpoint.", "Name one of them.");
  const signal = run.interruptible("nothing was changed");
  const found = await openCheckpoints(run, place);
  const { store, name } = found;
  if (name !== undefined && log !== undefined)
    throw new UsageError("--log chooses a checkpoint, but one is already named.", "Remove --log.");
  const choice = { ask: { asked: log }, kvFormat: LEVEL_FORMAT, signal };
  const chosen = name ?? (await chooseCheckpoint(found, undefined, choice)).name;
  const { access, close, txId, txTime } = await openCheckpointAccess({ store, name: chosen, signal });
  run.defer(close);
  run.notice(`read from ${chosen}, as of transaction ${formatCount(txId)} of ${formatTime(txTime)}`);
  const { cwd } = run.terminal;
  const same = givenOptions({
    "--checkpoint": place.startsWith("s3:") || name === place ? place : folderPath(place, run.terminal),
    "--log": log,
    "--key-file": keyFile && resolve(cwd, keyFile),
  });
  const absent = (bucket: string): string =>
    `List the documents: cairn list ${bucket}${same}${acceptPlain ? " --accept-plain" : ""}.`;
  return { send: async (request) => await answered(access, request, absent) };
}

/** Answers a request for a document, its history or a list of documents as a node does. */
async function answered(
  access: NodeAccess,
  { path, query = {} }: NodeRequest,
  absent: (bucket: string) => string,
): Promise<JsonAnswer> {
  const { key, history, cursor, limit, "as-of": asOf, linearizable, ...selection } = query as Query;
  const bucket = path.slice(path.lastIndexOf("/") + 1);
  const options = omitUndefined({ asOf, linearizable });
  const pageSize = omitUndefined({ pageSize: limit });
  try {
    if (key === undefined) {
      const page = await access.page(bucket, { ...selection, ...options, ...pageSize }, cursor);
      return answer(page.documents, page.next);
    }
    if (history === true) {
      const { versions, next } = await access.versions(bucket, key, { ...options, limit, cursor });
      if (versions.length > 0 || cursor !== undefined) return answer(versions, next);
    }
    const found = history === true ? undefined : await access.get(bucket, key, options);
    if (found !== undefined) return answer(found.document, undefined, `"${found.revision}"`);
  } catch (error) {
    // What a client reports is an error of the node in its process.
    throw error instanceof CairnClientError && error.cause instanceof CairnError ? error.cause : error;
  }
  throw new CairnError("NOT_FOUND", `There is no ${JSON.stringify(key)} in ${bucket}.`, absent(bucket));
}

interface Query {
  readonly key?: string;
  readonly history?: true;
  readonly cursor?: string;
  readonly limit?: number;
  readonly "as-of"?: string;
  readonly linearizable?: true;
}

function answer(body: unknown, next: string | undefined, etag?: string): JsonAnswer {
  const link = next === undefined ? null : `<?cursor=${encodeURIComponent(next)}>; rel="next"`;
  return {
    body,
    headers: { get: (name) => (name === "link" ? link : name === "etag" ? (etag ?? null) : null) },
  };
}
