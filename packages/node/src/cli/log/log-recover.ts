import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { type CheckpointStore, type Manifest, parseCheckpointName } from "@cairn/checkpoint";
import { CairnError, isCairnError, makeFolder } from "@cairn/kv";
import { isUnused, readLogIdentity, usedLog } from "../../log/log-identity.ts";
import { askStatus } from "../../cluster/ask-cluster.ts";
import { allStores, isOwnStore, restoreStores } from "../../checkpoints/checkpoint-stores.ts";
import type { System } from "../../api/system.ts";
import { encodeBirthRecord } from "../../transactions/transaction-codec.ts";
import type { TxLog } from "../../log/tx-log.ts";
import { findCheckpoint, withCheckpointPlace } from "../places/checkpoint-place.ts";
import { restoreNamed } from "../places/restored-checkpoint.ts";
import {
  type AddCommand,
  describeConfiguredCommand,
  type ConfiguredOptions,
} from "../options/command-options.ts";
import { formatCount } from "../terminal/quantities.ts";
import { UsageError } from "../terminal/report-error.ts";
import { type Terminal, writeJson, writeLine } from "../terminal/terminal.ts";
import { withLog } from "../places/log-place.ts";

interface RecoverOptions extends ConfiguredOptions {
  readonly from: string;
}

/** The time nodes have to report that they have a log open. */
const ASK_MS = 2_000;

/** The checkpoint with which the new log begins, read back completely. */
interface Survivor {
  readonly name: string;
  readonly store: string;
  readonly manifest: Manifest;
}

/** Adds `cairn log recover`. */
export const addLogRecover: AddCommand = (parent, terminal) => {
  describeConfiguredCommand(
    parent.command("recover"),
    "Begin a new log from a checkpoint of a log that is permanently lost",
    [
      "cairn log recover --from checkpoint-43-2026-11-20T07-47-12.080Z-0dfc87ab -f cairn.edn",
      "cairn log recover --from ./cairn-data/checkpoints",
    ],
  )
    .requiredOption(
      "--from <checkpoint>",
      "a checkpoint: its name in the configured store, or a path (of a folder: the newest)",
    )
    .action(async (options: RecoverOptions) => {
      const begun = await withLog(options, terminal, async (log, system) => {
        const unused = await unusedLog(log);
        const survivor = await findSurvivor(system, options.from, terminal);
        if (unused !== undefined) await log.removeUnused?.(unused);
        return await begin(log, survivor);
      });
      if (options.json === true) return writeJson(terminal.stdout, begun);
      const { name, id, continues } = begun;
      return writeLine(
        terminal.stdout,
        `began the log ${name} (id ${id}), which continues after transaction ${formatCount(continues.txId)} of ${continues.log}`,
      );
    });
};

/** Returns the id of an unused log that was begun in place of the lost one, undefined if there is none. Throws if that log is used. */
async function unusedLog(log: TxLog): Promise<string | undefined> {
  const existing = await readLogIdentity(log);
  if (existing === undefined) return undefined;
  if (!isUnused(existing) || log.removeUnused === undefined) throw usedLog(log.name, existing.bounds.last);
  const peers = log.peers === undefined ? [] : await askStatus(log.peers, { timeoutMs: ASK_MS });
  const writers = peers.filter(({ status }) => status.log.id === existing.id && status.phase !== "failed");
  if (writers.length === 0) return existing.id;
  // These nodes could write to the log before it is removed, and acknowledged transactions would be lost.
  const names = writers.map(({ node }) => node).join(", ");
  throw new CairnError(
    "CONFLICT",
    `A new log "${log.name}" has already been begun, and nodes have it open: ${names}.`,
    {
      hint: "Stop them, run this again, and start them: they continue with the log that it begins.",
    },
  );
}

async function begin(log: TxLog, { name: checkpoint, store, manifest }: Survivor) {
  const { txId, anchor } = manifest;
  const continues = { log: manifest.log.id, anchor: { txId: anchor.txId, sha256: anchor.sha256 } };
  await log.create((id) => encodeBirthRecord({ log: id, offset: txId, deliberate: true, continues }));
  const identity = await readLogIdentity(log);
  // Of several concurrent commands, one wins. If that command continued from the same point, the result is the same; otherwise it is
  // another log.
  if (identity === undefined || !isDeepStrictEqual(identity.birth?.continues, continues)) {
    throw usedLog(log.name, identity?.bounds.last ?? 0);
  }
  const { id } = identity;
  return { name: log.name, id, offset: txId, checkpoint, store, continues: { log: continues.log, txId } };
}

/** Reads back and opens the checkpoint that `from` names, since nodes of the new log can begin only with that one. */
async function findSurvivor(system: System, from: string, terminal: Terminal): Promise<Survivor> {
  const configured = restoreStores(system.checkpointer);
  const known = configured.length > 0 ? configured : allStores(system.checkpointer);
  if (parseCheckpointName(from) !== undefined) {
    if (known.length === 0) {
      throw new UsageError(
        "The configuration has no checkpoint store.",
        "Give the path of the checkpoint with --from.",
      );
    }
    return await inStores(system, known, from, terminal);
  }
  const survivor = await withCheckpointPlace(from, terminal, async ({ store, name }) => {
    const found = await findCheckpoint(store, name);
    return await inStores(system, [store], found.name, terminal);
  });
  if (!known.some(({ location }) => location === survivor.store)) {
    terminal.stderr.write(
      `notice: nodes restore from their own stores: name ${survivor.store} in restore-from, or copy the checkpoint there.\n`,
    );
  }
  return survivor;
}

async function inStores(
  system: System,
  stores: readonly CheckpointStore[],
  name: string,
  terminal: Terminal,
): Promise<Survivor> {
  const { dir, kvProvider } = system;
  const stagingDir = join(dir, `.cairn-recover-${randomBytes(4).toString("hex")}`);
  try {
    await makeFolder(stagingDir);
    const folders = { stagingDir, targetDir: join(stagingDir, "read-back") };
    const about = { command: "cairn log recover", verb: "reading back", reserveIn: isOwnStore(system) };
    return await restoreNamed({ stores, name, ...folders, ...about }, kvProvider, terminal);
  } catch (error) {
    if (!isCairnError(error)) throw error;
    const { code, message, hint = "cairn checkpoint list lists the checkpoints of a store." } = error;
    throw new CairnError(code, `The log was not begun: ${message}`, { hint, cause: error });
  } finally {
    await rm(stagingDir, { recursive: true, force: true });
  }
}
