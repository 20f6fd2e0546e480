import { join } from "node:path";
import type { Manifest } from "@cairn/checkpoint";
import { type KvStore, levelProvider } from "@cairn/kv";
import { diffIndexes, openIndex } from "@cairn/engine";
import { formatCount } from "@cairn/text";
import { command, type CommandRun } from "../options/command.ts";
import { type OptionValues, textValue } from "../options/option-specs.ts";
import { STORE_OPTIONS } from "../places/store-keys.ts";
import { chooseCheckpoint, openCheckpoints } from "../places/checkpoint-place.ts";
import { restoreNamed } from "../places/restored-checkpoint.ts";
import { STAGING, stagingFolder } from "../places/staging-folder.ts";
import { printable, writeJson } from "../terminal/terminal.ts";

interface Unpacked {
  readonly name: string;
  readonly manifest: Manifest;
  readonly kv: KvStore;
}

const DIFF = {
  ...STORE_OPTIONS,
  bucket: textValue("<bucket>", "compare only this bucket"),
  staging: STAGING,
};

type DiffRun = CommandRun<OptionValues<typeof DIFF>>;

export const addCheckpointDiff = command({
  syntax: "diff <before> <after>",
  description:
    "Print the documents that differ between two checkpoints, given by path (for a folder, the newest one) or, with -f, by name in the configured store",
  examples: [
    "cairn checkpoint diff ./checkpoints/checkpoint-1000-2026-11-20T06-00-00.000Z-1f3a9c0e ./checkpoints",
  ],
  options: DIFF,
  async act(run, before, after) {
    const staging = await stagingFolder(run, "cairn-diff-");
    run.interruptible("not everything was compared");
    const left = await unpack(run, before, join(staging, "0"));
    await compare(run, left, await unpack(run, after, join(staging, "1")));
  },
});

async function unpack(run: DiffRun, place: string, targetDir: string): Promise<Unpacked> {
  const provider = levelProvider();
  const found = await openCheckpoints(run, place);
  const { store, name: inPlace } = found;
  const { name } = await chooseCheckpoint(found, inPlace, { ask: { asked: undefined }, signal: run.signal });
  const { manifest } = await restoreNamed(run, provider, {
    stores: [store],
    name,
    stagingDir: `${targetDir}-staging`,
    targetDir,
    verb: "unpacking",
  });
  const { kv } = await openIndex(provider, targetDir);
  run.defer(() => kv.close());
  return { name, manifest, kv };
}

async function compare(run: DiffRun, before: Unpacked, after: Unpacked): Promise<void> {
  const { bucket } = run.options;
  const { stdout } = run.terminal;
  // Revisions of different logs cannot be compared.
  const byContent = before.manifest.log.id !== after.manifest.log.id;
  const total = Math.max(before.manifest.documents, after.manifest.documents);
  const display = run.progress("comparing", total, formatCount);
  const counts = { added: 0, changed: 0, removed: 0 };
  const differences = diffIndexes(before.kv, after.kv, {
    ...(bucket === undefined ? {} : { bucket }),
    byContent,
    onProgress: (documents) => display.update(Math.min(documents, total), "documents"),
  });
  run.defer(() => differences.return(0));
  let step = await differences.next();
  for (; step.done !== true; step = await differences.next()) {
    run.signal.throwIfAborted();
    counts[step.value.change] += 1;
    const { key, ...rest } = step.value;
    await (run.json ? writeJson(stdout, { ...key, ...rest }) : run.line(printable(lineOf(step.value))));
  }
  display.stop();
  const summary = { ...counts, equal: step.value };
  if (byContent && !run.json)
    await run.tell(
      "The checkpoints belong to different logs, so only documents are compared, not revisions.",
    );
  const amounts = Object.entries(summary).map(([what, amount]) => `${formatCount(amount)} ${what}`);
  const [from, to] = [before, after].map(
    ({ name, manifest }) => `${name} (transaction ${formatCount(manifest.txId)})`,
  );
  const sides = { before: sideOf(before), after: sideOf(after), byContent };
  await run.answer({ ...sides, ...summary }, `from ${from} to ${to}: ${amounts.join(", ")}`);
}

type Difference = ReturnType<typeof diffIndexes> extends AsyncGenerator<infer D> ? D : never;

const SIGNS = { added: "+", changed: "~", removed: "-" } as const;

function lineOf({ change, key: { bucket, namespace, name }, before, after }: Difference): string {
  const revisions = change === "changed" ? `${before} -> ${after}` : String(after ?? before);
  return `${SIGNS[change]} ${bucket} ${namespace}/${name} (revision ${revisions})`;
}

function sideOf({ name, manifest: { txId, log } }: Unpacked): object {
  return { name, txId, logId: log.id };
}
