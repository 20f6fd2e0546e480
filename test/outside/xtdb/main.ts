// Compares what examples/from-xtdb moves into Cairn with the answers of XTDB itself:
// node test/dist/outside/xtdb/main.js [--rounds TRANSACTIONS] [--seed N]
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual, parseArgs } from "node:util";
import { CAIRN, NodeProcess, ROOT, runCairnOrThrow } from "@cairn/test-support/cairn-process";
import { type Answers, type Entity, readAnswers } from "./answers.ts";
import { EXPORTER, fetchXtdb, runXtdb, startXtdb } from "./xtdb-process.ts";

/** A version of a document in Cairn: the transaction of XTDB, and the document or undefined for a deletion. */
type Version = readonly [tx: number, document: unknown];

const { values } = parseArgs({ options: { rounds: { type: "string" }, seed: { type: "string" } } });
const total = values.rounds ?? "3000";
const seed = values.seed ?? "1";
const folder = await mkdtemp(join(tmpdir(), "cairn-xtdb-"));
const at = (name: string): string => join(folder, name);
const problems: string[] = [];
const nodes: NodeProcess[] = [];
try {
  await fetchXtdb();
  const answers = await writeToXtdb();
  const lines = await exportAll(answers);
  await exportKilled(lines);
  for (const id of ["whole", "killed"]) nodes.push(NodeProcess.start({ id, dir: at(id), args: ["--json"] }));
  const [whole = "", killed = ""] = await Promise.all(nodes.map(async (node) => await started(node)));
  const lastTxId = await load(whole, "whole.ndjson");
  const txOf = new Map(lines.map((line, index) => [lastTxId - lines.length + 1 + index, txIdOf(line)]));
  const versions = await compareHistories(whole, answers, txOf);
  const documents = await compareSamples(whole, answers, txOf);
  await killLoad(killed, lines);
  await load(killed, "part.ndjson");
  await load(killed, "rest.ndjson");
  const digests = await Promise.all([whole, killed].map(contentDigest));
  if (digests[0] !== digests[1]) problems.push(`After a killed export and load: ${digests.join(", ")}`);
  process.stdout.write(
    `xtdb: seed ${seed}, ${total} transactions, ${lines.length} lines, ${versions} versions, ${documents} documents as of ${answers.samples.length} transactions: ${problems.length} wrong\n`,
  );
  if (versions === 0 || documents === 0) problems.push("Nothing was compared.");
} finally {
  await Promise.all(nodes.map(async (node) => await node.stop()));
  if (problems.length === 0) await rm(folder, { recursive: true, force: true });
  else process.stdout.write(`${problems.slice(0, 10).join("\n")}\nEverything is in ${folder}\n`);
}
process.exitCode = problems.length === 0 ? 0 : 1;

/** Writes the transactions of the seed to an XTDB node. Returns its answers about them. */
async function writeToXtdb(): Promise<Answers> {
  const stores = ["tx-log", "document-store", "index-store"].map((store) => {
    const kv = `{:xtdb/module xtdb.rocksdb/->kv-store :db-dir ${JSON.stringify(at(store))}}`;
    return `:xtdb/${store} {:kv-store ${kv}}`;
  });
  await writeFile(at("xtdb.edn"), `{${stores.join(" ")}}`);
  const seeder = join(ROOT, "test/outside/xtdb/seed.clj");
  await runXtdb(seeder, [at("xtdb.edn"), seed, total, at("answers")]);
  return await readAnswers(at("answers"));
}

function exporting(file: string, ...more: string[]): string[] {
  const names = ["--bucket", "moved", "--namespace", "here", "--report", at(`${file}.told`)];
  return ["--config", at("xtdb.edn"), "--output", at(file), ...names, ...more];
}

/** Exports everything, and compares the report. Returns the lines. */
async function exportAll(answers: Answers): Promise<string[]> {
  // Without --skip, something that is reported makes the exporter exit with 1.
  await runXtdb(EXPORTER, exporting("whole.ndjson"), 1);
  const expected = [...answers.reported, ...answers.entities.flatMap((one) => refusals(one, answers))];
  compareLists("report", await reported("whole.ndjson"), expected);
  return linesOf(await readFile(at("whole.ndjson"), "utf8"));
}

/** Returns the lines of the report about the changes of an entity that are not exported. */
function refusals({ text, visible, refused }: Entity, { documents }: Answers): string[] {
  return visible.flatMap(({ tx, document }) => {
    if (refused === "key") return [`${tx}  key ${text}`];
    if (document === undefined) return [];
    const reason = refused ?? (documents[document] === null ? "value" : undefined);
    return reason === undefined ? [] : [`${tx}  ${reason} ${text}`];
  });
}

/** Returns the entries of a report in the form of the answers. XTDB may keep only the hash of a deleted id. */
async function reported(file: string): Promise<string[]> {
  const text = await readFile(at(`${file}.told`), "utf8");
  return linesOf(text).map((line) => {
    const { tx, op = "", reason, id } = JSON.parse(line) as Record<string, string>;
    return `${tx} ${op} ${reason} ${op === "delete" ? "" : id}`;
  });
}

/** Kills an export once it has written something, continues it, and compares both parts with the whole. */
async function exportKilled(lines: readonly string[]): Promise<void> {
  const half = (await stat(at("whole.ndjson"))).size / 2;
  const child = startXtdb(EXPORTER, exporting("part.ndjson"));
  const exited = once(child, "exit");
  while (child.exitCode === null && (await sizeOf(at("part.ndjson"))) < half) await delay(5);
  child.kill("SIGKILL");
  await exited;
  if (child.signalCode !== "SIGKILL") problems.push("The export ended before it was killed.");
  const part = await readFile(at("part.ndjson"), "utf8");
  const complete = part.slice(0, part.lastIndexOf("\n") + 1);
  await writeFile(at("part.ndjson"), complete);
  const next = txIdOf(linesOf(complete).at(-1) ?? "") + 1;
  await runXtdb(EXPORTER, exporting("rest.ndjson", "--from", String(next), "--skip"));
  const both = linesOf(complete + (await readFile(at("rest.ndjson"), "utf8")));
  compareLists("continued export", both, lines);
  const before = (entry: string): boolean => Number.parseInt(entry, 10) < next;
  const whole = (await reported("whole.ndjson")).filter((entry) => !before(entry));
  const rest = await reported("rest.ndjson");
  compareLists(
    "continued report",
    rest.filter((entry) => !/^\d+ evict /.test(entry)),
    whole,
  );
  await compareEvictions(rest, next);
}

/** Compares the hashes of evicted ids in the report of a continued export. */
async function compareEvictions(rest: readonly string[], from: number): Promise<void> {
  const hashes = new Set(
    rest.filter((entry) => / evict evict /.test(entry)).map((entry) => entry.split(" ")[3]),
  );
  const { evicted } = await readAnswers(at("answers"));
  const expected = evicted.filter(({ tx }) => tx >= from).map(({ hash }) => hash);
  compareLists("evictions", [...hashes].map(String), expected);
}

function compareLists(what: string, found: readonly string[], expected: readonly string[]): void {
  const [left, right] = [found.toSorted(), expected.toSorted()];
  if (isDeepStrictEqual(left, right)) return;
  problems.push(
    `${what}: ${left.length} instead of ${right.length} entries, superfluous: ${missingFrom(right, left)}, missing: ${missingFrom(left, right)}`,
  );
}

/** Returns some of the entries that a list does not contain. */
function missingFrom(list: readonly string[], entries: readonly string[]): string {
  const known = new Set(list);
  const missing = entries.filter((entry) => !known.has(entry));
  return missing.slice(0, 3).join("; ");
}

function linesOf(text: string): string[] {
  return text.split("\n").filter((line) => line !== "");
}

function txIdOf(line: string): number {
  return Number(/^\{"id":"xtdb-(\d+)"/.exec(line)?.[1]);
}

async function sizeOf(file: string): Promise<number> {
  return (await stat(file).catch(() => undefined))?.size ?? 0;
}

async function started(node: NodeProcess): Promise<string> {
  await node.ready();
  return await node.url();
}

/** Loads a file. Returns the id of its last transaction. */
async function load(url: string, file: string): Promise<number> {
  const { stdout } = await runCairnOrThrow(["load", at(file), "--await", "--json", "--url", url]);
  return (JSON.parse(stdout) as { lastTxId: number }).lastTxId;
}

/** Kills a load, whose input does not end, once the node has some of its transactions. */
async function killLoad(url: string, lines: readonly string[]): Promise<void> {
  const args = [CAIRN, "load", "-", "--url", url];
  const child = spawn(process.execPath, args, { stdio: ["pipe", "ignore", "inherit"] });
  const exited = once(child, "exit");
  child.stdin.on("error", () => {});
  // The command sends a chunk once it has 1 MiB. Lines with an id can be repeated.
  const text = lines.map((line) => `${line}\n`).join("");
  child.stdin.write(text.repeat(Math.ceil(2 ** 21 / text.length)));
  while (child.exitCode === null && (await lastTxIdOf(nodes[1])) < 2) await delay(5);
  child.kill("SIGKILL");
  await exited;
  if (child.signalCode !== "SIGKILL") problems.push("The load ended before it was killed.");
}

async function lastTxIdOf(node: NodeProcess | undefined): Promise<number> {
  return (await node?.status())?.index?.txId ?? 0;
}

async function contentDigest(url: string): Promise<string> {
  return (await runCairnOrThrow(["export", "--digest", "--url", url])).stdout.trim();
}

/** Compares all versions of every document. Returns their number. */
async function compareHistories(
  url: string,
  { documents, entities }: Answers,
  txOf: ReadonlyMap<number, number>,
): Promise<number> {
  let count = 0;
  for (const { text, visible, refused } of entities) {
    if (refused !== undefined) continue;
    const expected: Version[] = [];
    for (const { tx, document } of visible) {
      const found = document === undefined ? undefined : (documents[document] ?? undefined);
      // A document that does not fit ends the one before it.
      if (found !== undefined || expected.at(-1)?.[1] !== undefined) expected.push([tx, found]);
    }
    const found = await history(url, text, txOf);
    count += found.length;
    const wrong = expected.findIndex((version, index) => !isDeepStrictEqual(found[index], version));
    if (wrong === -1 && found.length === expected.length) continue;
    problems.push(`${text}: Cairn ${brief(found[wrong])}, XTDB ${brief(expected[wrong])}`);
  }
  return count;
}

function brief(version: Version | undefined): string {
  return JSON.stringify(version, (name, value: unknown) => (name === "filler" ? undefined : value)) ?? "-";
}

/** Returns the versions of a document in Cairn, oldest first. */
async function history(url: string, name: string, txOf: ReadonlyMap<number, number>): Promise<Version[]> {
  const path = `${url}/api/v1/moved/here/${encodeURIComponent(name)}`;
  const response = await fetch(`${path}?history=true&limit=1000`);
  if (response.status === 404) return [];
  if (!response.ok || response.headers.has("link"))
    throw new Error(`${path}: ${response.status}, or more than one page`);
  const versions = (await response.json()) as { revision: number; document?: unknown }[];
  return versions.toReversed().map(({ revision, document }) => [txOf.get(revision) ?? -1, document]);
}

/** Compares the documents as of some transactions with those that XTDB returned. Returns their number. */
async function compareSamples(
  url: string,
  { documents, entities, samples }: Answers,
  txOf: ReadonlyMap<number, number>,
): Promise<number> {
  const first = Math.min(...txOf.keys());
  let count = 0;
  for (const { tx, found } of samples) {
    const expected: Record<string, unknown> = {};
    for (const [index, document] of Object.entries(found)) {
      const entity = entities[Number(index)];
      const value = documents[document] ?? undefined;
      if (entity?.refused === undefined && value !== undefined) expected[entity?.text ?? ""] = value;
    }
    let asOf = first - 1;
    while ((txOf.get(asOf + 1) ?? Infinity) <= tx) asOf += 1;
    const response = await fetch(`${url}/api/v1/moved?as-of=${asOf}&limit=1000`);
    const listed =
      response.status === 404 ? [] : ((await response.json()) as { name: string; document: unknown }[]);
    count += listed.length;
    if (!isDeepStrictEqual(Object.fromEntries(listed.map((one) => [one.name, one.document])), expected))
      problems.push(`The documents as of transaction ${tx} differ.`);
  }
  return count;
}
