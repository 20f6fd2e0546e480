import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Manifest } from "@cairn/checkpoint";
import { type KvStore, levelProvider } from "@cairn/kv";
import { diffIndexes, type Difference } from "../../index/inspect/diff-indexes.ts";
import { openIndex } from "../../index/local-index.ts";
import { chooseCheckpoint } from "../places/checkpoint-place.ts";
import { withCheckpoints } from "../places/checkpoint-source.ts";
import { restoreNamed } from "../places/restored-checkpoint.ts";
import {
  type AddCommand,
  type ConfiguredOptions,
  describeConfiguredCommand,
  wholeNumber,
} from "../options/command-options.ts";
import { showProgress } from "../terminal/progress-display.ts";
import { formatCount } from "../../text/quantities.ts";
import { stagingFolder } from "../places/staging-folder.ts";
import { printable, type Terminal, writeJson, writeLine, tell } from "../terminal/terminal.ts";
import { keyOptions, type StoreKeyOptions } from "../options/store-keys.ts";
import { interruptible } from "../terminal/interrupt.ts";

interface DiffCommandOptions extends ConfiguredOptions, StoreKeyOptions {
  readonly bucket?: string;
  readonly limit: number;
  readonly all?: boolean;
  readonly staging?: string;
}

interface Unpacked {
  readonly name: string;
  readonly manifest: Manifest;
  readonly kv: KvStore;
}

const DEFAULT_LIMIT = 100;

export const addCheckpointDiff: AddCommand = (parent, terminal) => {
  keyOptions(
    describeConfiguredCommand(
      parent.command("diff <before> <after>"),
      "Print the documents that differ between two checkpoints, given by path (for a folder, the newest one) or, with -f, by name in the configured store",
      ["cairn checkpoint diff ./checkpoints/checkpoint-1000-2026-11-20T06-00-00.000Z-1f3a9c0e ./checkpoints"],
    ),
  )
    .option("--bucket <bucket>", "compare only this bucket")
    .option(
      "--limit <count>",
      "print at most this many differences",
      wholeNumber("--limit", 0),
      DEFAULT_LIMIT,
    )
    .option("--all", "print every difference")
    .option(
      "--staging <directory>",
      "the folder in which to unpack the checkpoints (default: the temporary folder)",
    )
    .action(async (before: string, after: string, options: DiffCommandOptions) => {
      const staging = await stagingFolder(options.staging, "cairn-diff-", terminal);
      const { signal, forget } = interruptible(terminal, "not everything was compared");
      const opened: Unpacked[] = [];
      try {
        for (const [at, place] of [before, after].entries()) {
          const dir = join(staging, String(at));
          opened.push(await unpack(place, dir, options, signal, terminal));
        }
        const [left, right] = opened;
        if (left !== undefined && right !== undefined) {
          await compare(left, right, options, signal, terminal);
        }
      } finally {
        forget();
        for (const { kv } of opened) await kv.close();
        await rm(staging, { recursive: true, force: true });
      }
    });
};

async function unpack(
  place: string,
  dir: string,
  options: DiffCommandOptions,
  signal: AbortSignal,
  terminal: Terminal,
): Promise<Unpacked> {
  const provider = levelProvider();
  return await withCheckpoints(place, options, terminal, async ({ store, name: inPlace }) => {
    const { name } = await chooseCheckpoint(store, inPlace, undefined, signal);
    const about = { command: "cairn checkpoint diff", verb: "unpacking", signal };
    const folders = { stagingDir: `${dir}-staging`, targetDir: dir };
    const { manifest } = await restoreNamed(
      { stores: [store], name, ...folders, ...about },
      provider,
      terminal,
    );
    const { kv } = await openIndex(provider, dir);
    return { name, manifest, kv };
  });
}

async function compare(
  before: Unpacked,
  after: Unpacked,
  { bucket, limit, all = false, json = false }: DiffCommandOptions,
  signal: AbortSignal,
  terminal: Terminal,
): Promise<void> {
  // Revisions of different logs cannot be compared.
  const byContent = before.manifest.log.id !== after.manifest.log.id;
  const total = Math.max(before.manifest.documents, after.manifest.documents);
  const display = showProgress(terminal.stderr, "comparing", total, Date.now, formatCount);
  const counts = { added: 0, changed: 0, removed: 0 };
  const differences = diffIndexes(before.kv, after.kv, {
    ...(bucket === undefined ? {} : { bucket }),
    byContent,
    onProgress: (documents) => display.update(Math.min(documents, total), "documents"),
  });
  try {
    let step = await differences.next();
    for (let printed = 0; step.done !== true; step = await differences.next()) {
      signal.throwIfAborted();
      counts[step.value.change] += 1;
      if (!all && printed >= limit) continue;
      printed += 1;
      await (json
        ? writeJson(terminal.stdout, flat(step.value))
        : writeLine(terminal.stdout, printable(lineOf(step.value))));
    }
    display.stop();
    const summary = { ...counts, equal: step.value };
    const sides = { before: sideOf(before), after: sideOf(after), byContent };
    if (json) return await writeJson(terminal.stdout, { ...sides, ...summary });
    const notShown = counts.added + counts.changed + counts.removed - limit;
    if (!all && notShown > 0) {
      await tell(
        terminal,
        `${formatCount(notShown)} more documents differ. Use --limit to print more of them, or --all to print all.`,
      );
    }
    if (byContent) {
      await tell(
        terminal,
        "The checkpoints belong to different logs, so only documents are compared, not revisions.",
      );
    }
    const amounts = Object.entries(summary).map(([what, count]) => `${formatCount(count)} ${what}`);
    const [from, to] = [before, after].map(
      ({ name, manifest }) => `${name} (transaction ${formatCount(manifest.txId)})`,
    );
    await writeLine(terminal.stdout, `from ${from} to ${to}: ${amounts.join(", ")}`);
  } finally {
    display.stop();
    await differences.return(0);
  }
}

const SIGNS = { added: "+", changed: "~", removed: "-" } as const;

function lineOf({ change, key: { bucket, namespace, name }, before, after }: Difference): string {
  const revisions = change === "changed" ? `${before} -> ${after}` : String(after ?? before);
  return `${SIGNS[change]} ${bucket} ${namespace}/${name} (revision ${revisions})`;
}

function flat({ key, ...rest }: Difference): object {
  return { ...key, ...rest };
}

function sideOf({ name, manifest: { txId, log } }: Unpacked): object {
  return { name, txId, logId: log.id };
}
