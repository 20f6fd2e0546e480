import path from "node:path";
import { type CheckpointListing, listCheckpoints } from "@cairn/checkpoint";
import { CairnError, type ErrorCode, isCairnError, levelProvider } from "@cairn/kv";
import { BackupLog, judgeFormat, readBack, rebuildIndex, verifyBackup } from "@cairn/engine";
import { formatBytes, formatCount, formatNumberOf } from "@cairn/text";
import { command, type CommandRun } from "../../options/command.ts";
import { flag, type OptionValues } from "../../options/option-specs.ts";
import { STORE_OPTIONS } from "../../places/store-keys.ts";
import { BACKUP_LOG, type BackupPlace, openBackup } from "../../places/backup-place.ts";
import { STAGING, stagingFolder } from "../../places/staging-folder.ts";
import { rangeText } from "../../terminal/backup-text.ts";
import { ProblemsFoundError } from "../../terminal/report-error.ts";
import { printable, writeJson } from "../../terminal/terminal.ts";

type Verified = Awaited<ReturnType<typeof verifyBackup>> & {
  readonly location: string;
  readonly rebuilt: Awaited<ReturnType<typeof rebuild>>;
};

const VERIFY = {
  ...STORE_OPTIONS,
  log: BACKUP_LOG,
  rebuild: flag(
    "also build an index from the backup and compare its digest with the digest of the newest checkpoint",
  ),
  staging: STAGING,
};

type VerifyRun = CommandRun<OptionValues<typeof VERIFY>>;
type OnProblem = Parameters<typeof verifyBackup>[1];

export const addLogBackupVerify = command({
  syntax: "verify [store]",
  description:
    "Read every segment of a log backup and compare the segments with one another, with checkpoints and with the log; print problems and exit with 1 if there are any",
  examples: [
    "cairn log backup verify -f cairn.edn",
    "cairn log backup verify s3://bucket/prefix --rebuild",
    "cairn log backup verify ./cairn-data/checkpoints --json",
  ],
  options: VERIFY,
  async act(run, place) {
    const problems: ErrorCode[] = [];
    const onProblem: OnProblem = async ({ file, error }) => {
      const { code, message, hint = "" } = run.completed(error);
      problems.push(code);
      await (run.json
        ? writeJson(run.terminal.stdout, { file, code, message, hint })
        : run.line(printable(`${code}: ${message} ${hint}`)));
    };
    const found = await verify(run, await openBackup(run, place), onProblem);
    const [first] = problems;
    if (first === undefined) return await run.answer({ ok: true, ...found }, sound(found));
    const what = formatNumberOf(problems.length, "problem");
    throw new ProblemsFoundError(first, `The log backup in ${found.location} has ${what}.`, {
      hint: "Follow the advice that is printed with each problem. Nothing was changed.",
    });
  },
});

async function verify(
  run: VerifyRun,
  { store, logId, configured }: BackupPlace,
  onProblem: OnProblem,
): Promise<Verified> {
  const signal = run.interruptible("the backup was not verified completely");
  const { update: onProgress } = run.progress("verifying", undefined);
  const { checkpoints } = await listCheckpoints(store, signal);
  const about = { store, logId, log: configured?.log };
  const verifying = { ...about, checkpoints, signal, onProgress };
  const { beginning, ...found } = await verifyBackup(verifying, onProblem);
  const newest = checkpoints.find(
    ({ name, log, format }) =>
      log.id === logId &&
      found.agreeing.includes(name) &&
      judgeFormat({ format }, levelProvider().format) === undefined,
  );
  const rebuilt = run.options.rebuild ? await rebuild(run, { store, logId }, newest, onProblem) : null;
  return { ...found, location: store.location, beginning, rebuilt };
}

/** Returns the digest of an index that was built from the backup, and what it was compared with and built from. */
async function rebuild(
  run: VerifyRun,
  { store, logId }: Pick<BackupPlace, "store" | "logId">,
  checkpoint: CheckpointListing | undefined,
  onProblem: OnProblem,
) {
  if (checkpoint === undefined) {
    throw new CairnError(
      "CHECKPOINT_NOT_FOUND",
      `${store.location} has no checkpoint of this version whose last transaction is in the log backup.`,
      "After the next transaction, save a checkpoint with cairn checkpoint create, and run the command again, or omit --rebuild.",
    );
  }
  const { name, txId } = checkpoint;
  const { signal, node } = run;
  const stagingDir = await stagingFolder(run, "verify");
  const provider = levelProvider();
  try {
    const saved = await readBack({ store, name, provider, stagingDir, node, signal });
    const log = new BackupLog({ store, logId });
    const system = { nodeId: node, kvProvider: provider, checkpointer: { store } };
    const dir = path.join(stagingDir, "rebuild");
    // An index must not be built from the checkpoint with which it is to be compared.
    const built = await rebuildIndex({ system, log, dir, txId, agreeAt: txId - 1, signal });
    if (built.digest !== saved.digest) {
      const message = `An index built from the log backup has the digest ${built.digest}, but ${name} has the digest ${saved.digest}.`;
      const hint = "Run cairn status --cluster --digest to see which nodes agree with the log.";
      await onProblem({ file: null, error: new CairnError("CHECKPOINT_CORRUPT", message, hint) });
    }
    return { checkpoint: name, txId, digest: built.digest, basis: built.basis };
  } catch (error) {
    if (!isCairnError(error) || error.code.startsWith("STORE_")) throw error;
    // The checkpoint is at the beginning of the backup, which is not a problem.
    if (error.code === "LOG_TRIMMED") {
      const message = `No index can be built to compare with ${name}: nothing before it leads into the log backup in ${store.location}.`;
      const hint =
        "After the next transaction, save a checkpoint with cairn checkpoint create, and run the command again, or omit --rebuild.";
      throw new CairnError("CHECKPOINT_NOT_FOUND", message, { hint, cause: error });
    }
    await onProblem({ file: null, error });
    return null;
  }
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

function beginningText({ because, lacksEarlier, checkpoint }: NonNullable<Verified["beginning"]>): string[] {
  if (checkpoint === null) return [];
  const parts = because === "removed" ? ["it begins where a .begin file records"] : [];
  if (lacksEarlier !== null)
    parts.push(`it continues the log ${lacksEarlier}, whose backup does not go back to the beginning`);
  return [...parts, `an index can be built starting from ${checkpoint}`];
}
