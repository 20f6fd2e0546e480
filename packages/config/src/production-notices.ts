import type { BoundPolicy, Policies } from "@cairn/client";
import { logBackupTxLog } from "./modules/modules.ts";
import type { ResolvedConfig } from "./read-config.ts";
import type { SettingValue } from "./types/json-schema.ts";
import type { ConfigPath } from "./types/reading.ts";

interface ProductionRule {
  /** Why it matters that the configuration lacks something, as a sentence; undefined if it lacks nothing. */
  lack(config: ResolvedConfig): string | undefined;
  /** What to write: the path of a parameter, and its value. */
  write(config: ResolvedConfig): Addition;
}

/** Of documents of 300 bytes, each in a transaction of its own, with all history (docs/sizing.md). */
const GROWTH = "3 GB a day for each 100 writes/s";

const BOUNDS = { history: { "*": { keep: 3, for: "P1D" } }, outcomes: { for: "P1D" } } as const;

/** What a configuration should have in production, if data matters and the disks are finite. */
const RULES: readonly ProductionRule[] = [
  {
    lack: ({ txLog, settings }) =>
      txLog.id === "cairn.nats/->tx-log" &&
      settings.some(({ path, value }) => path.at(-1) === "replicas" && value === 1)
        ? "The stream has one replica, so the log ends with the disk of one server; three survive the loss of one (for a stream that exists: nats stream edit)."
        : undefined,
    write: (config) => ofLog(config, { replicas: 3 }),
  },
  {
    lack: ({ kvStore }) =>
      kvStore.common.checkpointer?.common.logBackup === undefined
        ? "There is no second copy of the log, so with its disks every transaction after the newest checkpoint is lost. (A folder counts as one only if it is on other disks.)"
        : undefined,
    write: (config) => ofCheckpointer(config, { "log-backup": { every: "PT1M" } }),
  },
  {
    lack: (config) =>
      isSaving(config) && !has(config, "verify-every")
        ? "No checkpoint is read back, so damage in the store shows only when a node needs it, and the log is not trimmed."
        : undefined,
    write: (config) => ofCheckpointer(config, { "verify-every": "P1D" }),
  },
  {
    lack: ({ policies }) =>
      isBounded(policies)
        ? undefined
        : `Nothing in the configuration bounds the history, so unless the log's policies do (cairn policy show), the index of each node and each checkpoint grow by about ${GROWTH}; a log that has policies takes this from cairn policy apply.`,
    write: () => [["cairn/policies"], BOUNDS],
  },
  {
    lack: (config) =>
      isSaving(config) && config.txLog.common.trim === undefined
        ? "The log is never trimmed, so it grows by all that is written until its disk is full and every write is refused."
        : undefined,
    write: (config) => ofLog(config, { trim: { keep: "P3D" } }),
  },
  {
    lack: (config) =>
      config.txLog.common.trim !== undefined && privateStores(config).length > 0
        ? "The log is not trimmed, because the folder of the checkpoints is not declared as one that every node has. (If it is not, use S3, or a mount that all nodes share.)"
        : undefined,
    write: (config) => {
      const [path = []] = privateStores(config);
      return isDefault(config, placeOf(config, "approx-frequency"))
        ? ofCheckpointer(config, { store: { ...folderStore(config), "shared-store": true } })
        : [path, true];
    },
  },
];

/**
 * Returns what a configuration lacks for production, as sentences that end with what to write. Nodes log none of this,
 * because much of it is right for a node that is tried out.
 */
export function productionNotices(config: ResolvedConfig): readonly string[] {
  // A reader changes neither the log nor the store.
  if (config.txLog.id === logBackupTxLog.id) return [];
  const isEdn = config.origin.file?.endsWith(".edn") === true;
  return RULES.flatMap(({ lack, write }) => {
    const sentence = lack(config);
    if (sentence === undefined) return [];
    const [path, value] = write(config);
    const whole = path.reduceRight<SettingValue>((inner, name) => ({ [name]: inner }), value);
    return [`${sentence} Write ${isEdn ? edn(whole) : JSON.stringify(whole)}.`];
  });
}

function isBounded({ history, outcomes }: Policies = {}): boolean {
  const [others] = Object.keys(BOUNDS.history);
  const bound: BoundPolicy | undefined = history?.[others ?? ""];
  return bound !== undefined && outcomes !== undefined;
}

/** Returns whether the node saves checkpoints, instead of only restoring them. */
function isSaving(config: ResolvedConfig): boolean {
  return has(config, "approx-frequency");
}

function has({ settings }: ResolvedConfig, name: string): boolean {
  return settings.some(({ path }) => path.at(-1) === name);
}

/** Returns the path up to a name, which differs for a module that several parameters share. */
function placeOf({ settings }: ResolvedConfig, name: string): ConfigPath {
  const path = settings.find((setting) => setting.path.includes(name))?.path ?? [name];
  return path.slice(0, path.indexOf(name) + 1);
}

type Addition = readonly [ConfigPath, SettingValue];

/** A log that the file does not name is the built-in one, and remains it only if the file names it as well. */
function ofLog(config: ResolvedConfig, addition: Readonly<Record<string, SettingValue>>): Addition {
  const path = placeOf(config, "on-log-mismatch").slice(0, -1);
  const module = isDefault(config, [...path, "cairn/module"]) ? { "cairn/module": config.txLog.id } : {};
  return [path, { ...module, ...addition }];
}

/** Likewise for the store, without which there is no checkpointer. */
function ofCheckpointer(config: ResolvedConfig, addition: Readonly<Record<string, SettingValue>>): Addition {
  const place = placeOf(config, "approx-frequency");
  if (isSaving(config) && !isDefault(config, place)) return [place.slice(0, -1), addition];
  const path = [...placeOf(config, "scrub-every").slice(0, -1), "checkpointer"];
  return [path, { store: folderStore(config), "approx-frequency": "PT6H", ...addition }];
}

function isDefault({ settings }: ResolvedConfig, path: ConfigPath): boolean {
  const setting = settings.find((one) => one.path.join("\0") === path.join("\0"));
  return setting === undefined || setting.origin.kind === "default";
}

function folderStore({ dir }: ResolvedConfig): Readonly<Record<string, SettingValue>> {
  return { "cairn/module": "cairn.checkpoint/->filesystem-checkpoint-store", path: `${dir}/checkpoints` };
}

/** Returns the paths of `shared-store` if all stores are folders without it. */
function privateStores({ settings }: ResolvedConfig): readonly ConfigPath[] {
  const folders = settings.filter(({ path }) => path.at(-1) === "shared-store");
  const isShared =
    folders.some(({ value }) => value === true) || settings.some(({ path }) => path.at(-1) === "bucket");
  return isShared ? [] : folders.map(({ path }) => path);
}

function edn(value: SettingValue): string {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return JSON.stringify(value);
  const entries = Object.entries(value).map(
    ([name, inner]) =>
      `${/^[a-z]/.test(name) ? `:${name}` : JSON.stringify(name)} ${edn(inner as SettingValue)}`,
  );
  return `{${entries.join(" ")}}`;
}
