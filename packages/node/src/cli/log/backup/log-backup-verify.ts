import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { type CheckpointListing, type CheckpointStore, listCheckpoints } from "@cairn/checkpoint";
import { CairnError, type ErrorCode, isCairnError, levelProvider } from "@cairn/kv";
import {
  type BackupBeginning,
  type BeginningOptions,
  findBeginning,
} from "../../../backup/backup-beginning.ts";
import { BackupLog } from "../../../backup/backup-log.ts";
import {
  type BackupProblem,
  type VerifiedBackup,
  verifyBackup,
} from "../../../backup/write/verify-backup.ts";
import { judgeFormat } from "../../../checkpoints/accept-checkpoint.ts";
import { readBack } from "../../../checkpoints/verify-checkpoint.ts";
import { rebuildIndex } from "../../../replay/rebuild-index.ts";
import {
  type AddCommand,
  describeConfiguredCommand,
  type OutputOptions,
} from "../../options/command-options.ts";
import { type BackupOptions, type BackupPlace, withBackup } from "../../places/backup-place.ts";
import { stagingFolder } from "../../places/staging-folder.ts";
import { rangeText } from "../../terminal/backup-text.ts";
import { interruptible } from "../../terminal/interrupt.ts";
import { showProgress } from "../../terminal/progress-display.ts";
import { ProblemsFoundError } from "../../terminal/report-error.ts";
import { formatBytes, formatCount, formatNumberOf } from "../../../text/quantities.ts";
import { keyOptions } from "../../options/store-keys.ts";
import { printable, type Terminal, writeJson, writeLine } from "../../terminal/terminal.ts";

interface VerifyOptions extends BackupOptions, OutputOptions {
  readonly rebuild?: boolean;
  readonly staging?: string;
}

/** The digest of an index that was built from the backup, and the checkpoint with which it was compared. */
interface Rebuilt {
  readonly checkpoint: string;
  readonly txId: number;
  readonly digest: string;
  /** A phrase that describes the sources from which the index was built. */
  readonly basis: string;
}

type Verified = VerifiedBackup & {
  readonly location: string;
  /** The beginning of the backup; null if the backup is empty. */
  readonly beginning: Omit<BackupBeginning, "problems"> | null;
  readonly rebuilt: Rebuilt | null;
};

export const addLogBackupVerify: AddCommand = (parent, terminal) => {
  keyOptions(
    describeConfiguredCommand(
      parent.command("verify [store]"),
      "Read every segment of a log backup and compare the segments with one another, with checkpoints and with the log; print problems and exit with 1 if there are any",
      [
        "cairn log backup verify -f cairn.edn",
        "cairn log backup verify s3://bucket/prefix --rebuild",
        "cairn log backup verify ./cairn-data/checkpoints --json",
      ],
    ),
  )
    .option("--log <id>", "the id of the log, if the store contains backups of several logs")
    .option(
      "--rebuild",
      "also build an index from the backup and compare its digest with the digest of the newest checkpoint",
    )
    .option("--staging <directory>", "the folder in which to build the index (default: the temporary folder)")
    .action(async (place: string | undefined, options: VerifyOptions) => {
      const problems: ErrorCode[] = [];
      const onProblem = async ({
        file,
        error: { code, message, hint = "" },
      }: BackupProblem): Promise<void> => {
        problems.push(code);
        await (options.json === true
          ? writeJson(terminal.stdout, { file, code, message, hint })
          : writeLine(terminal.stdout, printable(`${code}: ${message} ${hint}`)));
      };
      const found = await withBackup(place, options, terminal, (backup) =>
        verify(backup, options, terminal, onProblem),
      );
      const [first] = problems;
      if (first !== undefined) {
        const count = formatNumberOf(problems.length, "problem");
        throw new ProblemsFoundError(first, `The log backup in ${found.location} has ${count}.`, {
          hint: "Follow the advice that is printed with each problem. Nothing was changed.",
        });
      }
      if (options.json === true) return writeJson(terminal.stdout, { ok: true, ...found });
      return writeLine(terminal.stdout, sound(found));
    });
};

async function verify(
  { store, logId, configured }: BackupPlace,
  options: VerifyOptions,
  terminal: Terminal,
  onProblem: (problem: BackupProblem) => Promise<void>,
): Promise<Verified> {
  const { signal, forget } = interruptible(terminal, "the backup was not verified completely");
  const display = showProgress(terminal.stderr, "verifying", undefined);
  try {
    const { checkpoints: all } = await listCheckpoints(store, signal);
    const checkpoints = all.filter(({ log }) => log.id === logId);
    const found = await verifyBackup(
      { store, logId, log: configured?.log, checkpoints, signal, onProgress: display.update },
      onProblem,
    );
    const { covered, agreeing } = found;
    const ofBackup = { store, logId, log: configured?.log, covered, checkpoints: all, agreeing };
    const beginning = covered.length === 0 ? null : await beginningOf(ofBackup, onProblem);
    const newest = checkpoints.find(
      ({ name, format }) =>
        agreeing.includes(name) && judgeFormat({ format }, levelProvider().format) === undefined,
    );
    const rebuilt =
      options.rebuild === true
        ? await rebuild(store, logId, newest, options, terminal, signal, onProblem)
        : null;
    return { ...found, location: store.location, beginning, rebuilt };
  } finally {
    display.stop();
    forget();
  }
}

async function beginningOf(
  options: BeginningOptions,
  onProblem: (problem: BackupProblem) => Promise<void>,
): Promise<Verified["beginning"]> {
  const { problems, ...beginning } = await findBeginning(options);
  for (const error of problems) await onProblem({ file: null, error });
  return beginning;
}

async function rebuild(
  store: CheckpointStore,
  logId: string,
  checkpoint: CheckpointListing | undefined,
  { staging }: VerifyOptions,
  terminal: Terminal,
  signal: AbortSignal,
  onProblem: (problem: BackupProblem) => Promise<void>,
): Promise<Rebuilt | null> {
  if (checkpoint === undefined) {
    throw new CairnError(
      "CHECKPOINT_NOT_FOUND",
      `${store.location} has no checkpoint of this version whose last transaction is in the log backup.`,
      { hint: "Save a checkpoint with cairn checkpoint create, or omit --rebuild." },
    );
  }
  const { name, txId } = checkpoint;
  const stagingDir = await stagingFolder(staging, "cairn-verify-", terminal);
  const provider = levelProvider();
  const node = `cairn log backup verify on ${hostname()}`;
  try {
    const saved = await readBack({ store, name, provider, stagingDir, node, signal });
    const log = new BackupLog({ store, logId });
    const system = { nodeId: node, kvProvider: provider, checkpointer: { store } };
    const dir = path.join(stagingDir, "rebuild");
    // An index must not be built from the checkpoint with which it is to be compared.
    const built = await rebuildIndex({ system, log, dir, txId, agreeAt: txId - 1, signal });
    if (built.digest !== saved.digest)
      await onProblem({ file: null, error: differs(name, built.digest, saved.digest) });
    return { checkpoint: name, txId, digest: built.digest, basis: built.basis };
  } catch (error) {
    if (!isCairnError(error) || error.code.startsWith("STORE_")) throw error;
    await onProblem({ file: null, error });
    return null;
  } finally {
    await rm(stagingDir, { recursive: true, force: true });
  }
}

function differs(name: string, built: string, saved: string): CairnError {
  return new CairnError(
    "CHECKPOINT_CORRUPT",
    `An index built from the log backup has the digest ${built}, but ${name} has the digest ${saved}.`,
    { hint: "Run cairn status --cluster --digest --rebuild to see which nodes agree with the log." },
  );
}

function sound(verified: Verified): string {
  const { location, segments, bytes, messages, covered, agreeing, beginning, rebuilt } = verified;
  if (beginning === null) return printable(`the log backup in ${location} is empty`);
  const ranges = covered.map(rangeText).join(", ");
  const read = `${formatNumberOf(segments, "segment")}, ${formatBytes(bytes)}, ${formatNumberOf(messages, "message")}`;
  const parts = [
    `the log backup in ${location} is intact: transactions ${ranges} (${read})`,
    ...beginningText(beginning),
    ...(agreeing.length === 0 ? [] : [`it agrees with ${formatNumberOf(agreeing.length, "checkpoint")}`]),
    ...(rebuilt === null
      ? []
      : [
          `an index built from it has the digest of ${rebuilt.checkpoint} (transaction ${formatCount(rebuilt.txId)})`,
        ]),
  ];
  return printable(parts.join("; "));
}

/** Returns phrases about a backup that does not go back to the beginning of the history. */
function beginningText({ because, lacksEarlier, checkpoint }: Omit<BackupBeginning, "problems">): string[] {
  if (checkpoint === null) return [];
  const parts =
    because === "removed"
      ? ["earlier segments were removed on purpose"]
      : because === "unknown"
        ? ["no .begin file records that earlier segments were removed on purpose"]
        : [];
  if (lacksEarlier !== null)
    parts.push(`it continues the log ${lacksEarlier}, whose backup does not go back to the beginning`);
  return [...parts, `an index can be built starting from ${checkpoint}`];
}
