import { stat } from "node:fs/promises";
import { basename, dirname, resolve } from "node:path";
import {
  type CheckpointListing,
  type CheckpointStore,
  filesystemStore,
  isKeyMissing,
  isNewer,
  listCheckpoints,
  parseCheckpointName,
  type SkippedCheckpoint,
} from "@cairn/checkpoint";
import { s3Store } from "@cairn/checkpoint-s3";
import { CairnError, closing, unlessFailed } from "@cairn/kv";
import { latestOf, listCandidates, readLogIdentity, restoreStores, type System } from "@cairn/engine";
import { fileUrlPath, shellWord } from "@cairn/text";
import type { CommandRun } from "../options/command.ts";
import { type ConfigurationOptions, isConfigured } from "../options/configuration.ts";
import type { NodeOptions } from "../options/node-address.ts";
import { textValue } from "../options/option-specs.ts";
import { type StoreKeyOptions, withKeys } from "./store-keys.ts";
import { UsageError } from "../terminal/report-error.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { noStore, openSystem } from "./configured-system.ts";

export const CHECKPOINT_LOG = textValue(
  "<id>",
  "consider only checkpoints of this log, if a folder contains checkpoints of several logs",
);

interface LogsPlace {
  readonly store: CheckpointStore;
  /** Returns the id of the log that the configuration names; undefined if the log cannot be read. */
  readonly configuredLog?: () => Promise<string | undefined>;
}

/** A store in which a command finds checkpoints. If the command line names one of them, `name` is its name. */
export interface CheckpointPlace extends LogsPlace {
  readonly name: string | undefined;
  /** The parts of the node whose configuration names the store. */
  readonly system?: System;
}

/** Opens the store at `place`: a folder (also as a file: URL), s3://bucket/prefix, or a checkpoint in one of these. */
export async function openPlace(run: CommandRun<StoreKeyOptions>, place: string): Promise<CheckpointPlace> {
  const { options, terminal } = run;
  const { store, name } = place.startsWith("s3:")
    ? placeInBucket(place, run)
    : await placeInFolder(place, terminal);
  run.defer(() => store.close());
  return { store: await withKeys(store, options, terminal), name };
}

/** Like {@link openPlace}, for commands that use a store as a whole. */
export async function openStore(run: CommandRun<StoreKeyOptions>, place: string): Promise<CheckpointStore> {
  const { store, name } = await openPlace(run, place);
  if (name === undefined) return store;
  throw new UsageError(`The path names ${name}, not a store.`, "Name the folder or the bucket.");
}

/** Returns whether `place` is the name of a checkpoint rather than a path. Names contain no slash. */
function isCheckpointName(place: string): boolean {
  return place.startsWith("checkpoint-") && !place.includes("/");
}

/** Where a command finds checkpoints. If the command line names a checkpoint, `name` is its name. */
export type CheckpointLocation =
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "store" | "node"; readonly name: string | undefined };

/** In order of precedence: a path, --url, the store of a configuration on the command line, the default node. */
export function checkpointSource(place: string | undefined, options: NodeOptions): CheckpointLocation {
  if (place !== undefined && !isCheckpointName(place)) return { kind: "path", path: place };
  const kind = options.url === undefined && isConfigured(options) ? "store" : "node";
  return { kind, name: place };
}

/**
 * Opens the store at a path, by default the configured one, for commands that never query a node. A name without a
 * slash is a checkpoint in the configured store if the command line gives a configuration, else a file.
 */
export async function openCheckpoints(
  run: CommandRun<ConfigurationOptions & StoreKeyOptions>,
  place: string | undefined,
): Promise<CheckpointPlace> {
  if (place !== undefined && !(isConfigured(run.options) && isCheckpointName(place)))
    return await openPlace(run, place);
  // The store to which the node saves, else the first from which it restores. Neither node nor log is needed.
  const system = await openSystem(run);
  const store = system.checkpointer?.store ?? restoreStores(system)[0];
  if (store === undefined) throw noStore();
  const configuredLog = async (): Promise<string | undefined> => {
    const opening = system.openTxLog({ signal: run.signal });
    const reading = opening.then(async (log) => await closing(log, readLogIdentity));
    return (await unlessFailed(reading, ["LOG_UNREACHABLE", "INDEX_LOCKED"], undefined))?.id;
  };
  return { store, name: place, system, configuredLog };
}

async function placeInFolder(place: string, terminal: Terminal): Promise<CheckpointPlace> {
  const path = folderPath(place, terminal);
  const name = nameInPath(path);
  const folder = name === undefined ? path : dirname(path);
  await requireFolder(folder);
  return { store: filesystemStore({ path: folder }), name };
}

/** The region, the endpoint and the credentials come from the environment, as in other tools for S3. */
function placeInBucket(
  place: string,
  run: Pick<CommandRun<StoreKeyOptions>, "terminal" | "notice">,
): CheckpointPlace {
  const { env } = run.terminal;
  const [, bucket, path = ""] = /^s3:\/\/([^/]+)(?:\/(.*))?$/.exec(place) ?? [];
  if (bucket === undefined)
    throw new UsageError(`${place} is not a place in S3.`, "Write s3://bucket/prefix.");
  const name = nameInPath(path);
  const prefix = name === undefined ? path : dirname(path).replace(/^\.$/, "");
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: key, AWS_SESSION_TOKEN: token } = env;
  const store = s3Store({
    bucket,
    prefix,
    env,
    onNotice: (sentence) => run.notice(sentence),
    ...(!id || !key
      ? {}
      : {
          credentials: { accessKeyId: id, secretAccessKey: key, ...(token ? { sessionToken: token } : {}) },
        }),
  });
  return { store, name };
}

/** Chooses a checkpoint. Without `logId`, `ask` means that the user must choose among several logs in a store. */
export interface CheckpointChoice {
  readonly logId?: string | undefined;
  readonly ask?: { readonly asked: string | undefined };
  /** The format of the indexes that can be used. Defaults to all. */
  readonly kvFormat?: string;
  /** Called with each newer checkpoint that may be of the same log and cannot be used. */
  readonly onPassedOver?: (skipped: SkippedCheckpoint) => void;
  readonly signal?: AbortSignal;
}

/**
 * Returns the checkpoint `name` or, by default, the best one to continue from (see {@link listCandidates}). Throws
 * `CHECKPOINT_NOT_FOUND`, or the reason why the checkpoint cannot be used.
 */
export async function chooseCheckpoint(
  place: LogsPlace,
  name: string | undefined,
  { logId, ask, onPassedOver, ...options }: CheckpointChoice = {},
): Promise<CheckpointListing> {
  const { store } = place;
  if (name !== undefined) {
    const { checkpoints, skipped } = await listCheckpoints(store, options.signal);
    const found = checkpoints.find((one) => one.name === name);
    if (found !== undefined) return found;
    throw noCheckpoint([store], name, skipped);
  }
  const { usable, skipped } = await listCandidates([store], options);
  const asked = ask?.asked ?? logId;
  const isThere = usable.some(({ log }) => asked === undefined || log.id === asked);
  // A log cannot be chosen among checkpoints that cannot be read.
  const unread = isThere ? undefined : skipped.find((one) => isKeyMissing(one, asked));
  if (unread !== undefined) throw unread.error;
  if (usable.length === 0 && skipped.length > 0) throw noCheckpoint([store], undefined, skipped);
  const id = ask === undefined ? logId : await chosenLog(place, usable, ask.asked);
  const found = usable.find(({ log }) => id === undefined || log.id === id);
  const locked = skipped.find((one) => isKeyMissing(one, id));
  // An older checkpoint would hide that the key is missing.
  if (locked !== undefined && (found === undefined || isNewer(locked.name, found.name))) throw locked.error;
  if (found === undefined) throw noCheckpoint([store], undefined, skipped);
  const meant: readonly (string | undefined)[] = [undefined, found.log.id, ask?.asked];
  for (const one of skipped)
    if (meant.includes(one.logId) && isNewer(one.name, found.name)) onPassedOver?.(one);
  return found;
}

/**
 * Returns the id of the given log or of the only one in the store; undefined if the store is empty. Throws if several
 * logs leave the choice open, because checkpoints of different logs have no order.
 */
export async function chooseLog(place: LogsPlace, asked: string | undefined): Promise<string | undefined> {
  return await chosenLog(place, (await listCheckpoints(place.store)).checkpoints, asked);
}

/** Returns the id of the given log or of the one that {@link theLog} chooses among those of `checkpoints`. */
export async function chosenLog(
  place: LogsPlace,
  checkpoints: readonly CheckpointListing[],
  asked: string | undefined,
): Promise<string | undefined> {
  return await theLog(place, new Map(checkpoints.map(({ log }) => [log.id, log.name])), asked);
}

/**
 * Chooses the requested log, or the only lineage, as far as backups show which log continues which, or of several the one
 * of the configured log: its newest log in the store; undefined if there is none. Throws an error if the store has nothing
 * that leads to that log, or if there are several lineages and no log is requested. `all` maps ids to names.
 */
export async function theLog(
  { store, configuredLog }: LogsPlace,
  all: ReadonlyMap<string, string>,
  asked: string | undefined,
): Promise<string | undefined> {
  // The earlier logs that a recovered log continues are part of its history.
  const logs = await latestOf(store, all, asked);
  const known = [...(asked === undefined ? logs : all)]
    .toSorted()
    .map(([id, name]) => (name === "" ? id : `${id} (${name})`))
    .join(", ");
  if (asked !== undefined && logs.size === 0) {
    throw new CairnError(
      "CHECKPOINT_NOT_FOUND",
      `${store.location} has no checkpoint of the log ${asked}.`,
      known === ""
        ? "This store has no usable checkpoint of any log. Let a node save one (cairn checkpoint create), or choose another store."
        : `Choose a log of which it has checkpoints: ${known}.`,
    );
  }
  if (asked === undefined && logs.size > 1) {
    const configured = await configuredLog?.();
    if (configured !== undefined) return await theLog({ store }, all, configured);
    throw new UsageError(
      `${store.location} has checkpoints of several logs: ${known}.`,
      "Choose one of them with --log ID.",
    );
  }
  return [...logs.keys()][0];
}

/**
 * Returns the reason why the named checkpoint cannot be used; otherwise `CHECKPOINT_NOT_FOUND`, with a list of those that
 * cannot be used, and why the first one cannot.
 */
export function noCheckpoint(
  stores: readonly CheckpointStore[],
  name: string | undefined,
  skipped: readonly SkippedCheckpoint[],
): CairnError {
  const named = skipped.find((one) => one.name === name);
  if (named !== undefined) return named.error;
  const locations = stores.map(({ location }) => location);
  const unusable = skipped.map(({ name: one, error }) => `${one} (${error.code})`).join(", ");
  const [first] = skipped;
  const cause = first && `${first.error.message} ${first.error.hint ?? ""}`.trimEnd();
  const [folder] = locations.filter((one) => one.startsWith("file:"));
  const listed =
    folder === undefined ? "is in the store" : `cairn checkpoint list ${shellWord(folder)} prints`;
  const none =
    name === undefined
      ? "Save one on a ready node (cairn checkpoint create), or choose another store."
      : `Choose one that ${listed}.`;
  return new CairnError(
    "CHECKPOINT_NOT_FOUND",
    `There is no ${name === undefined ? "usable checkpoint" : `checkpoint ${name}`} in ${locations.join(" or ")}.`,
    cause === undefined ? none : `These checkpoints cannot be used: ${unusable}. ${cause}`,
  );
}

/** Returns the path of a folder on the command line. Throws a `UsageError` for a URL that names none. */
export function folderPath(place: string, terminal: Terminal): string {
  if (!/^(?:file:|[a-z0-9]+:\/\/)/.test(place)) return resolve(terminal.cwd, place);
  const path = place.startsWith("file:") ? fileUrlPath(place) : undefined;
  if (path !== undefined) return path;
  throw new UsageError(`${place} is not a folder.`, "Name a folder, or s3://bucket/prefix.");
}

/** The name of one of a checkpoint's files also stands for the checkpoint, because shells complete file names. */
export function nameInPath(path: string): string | undefined {
  const name = basename(path).replace(/(?:\.verified|\.damaged)?\.json$|\.tar$/, "");
  return parseCheckpointName(name) === undefined ? undefined : name;
}

async function requireFolder(folder: string): Promise<void> {
  if ((await unlessFailed(stat(folder), "ENOENT", undefined))?.isDirectory() === true) return;
  throw new CairnError(
    "NOT_FOUND",
    `There is no folder ${folder}.`,
    "Name the folder to which path of a filesystem checkpoint store refers.",
  );
}
