// @module-tag rest/slow
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CAIRN, createCheckpoint, runCairnOrThrow, NodeProcess } from "@cairn/test-support/cairn-process";
import { fencedBlocks } from "@cairn/test-support/readme-blocks";

const DOC = fileURLToPath(new URL("../docs/inspection.md", import.meta.url));

let folder = "";
let url = "";
let node: NodeProcess | undefined;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-inspection-"));
  node = NodeProcess.start({ id: "node-1", dir: path.join(folder, "cairn-data") });
  await node.ready();
  url = await node.url();
  const history = (await fencedBlocks(DOC)).find(({ language }) => language === "json");
  await writeFile(path.join(folder, "history.ndjson"), history?.text ?? "");
  await runCairnOrThrow(["load", "history.ndjson", "--await", "--url", url], { cwd: folder });
  await createCheckpoint(url);
});
afterAll(async () => {
  await node?.kill();
  await rm(folder, { recursive: true, force: true });
});

/** Replaces the parts of an output that differ between runs. */
function normalize(text: string): string {
  return text
    .replaceAll(folder, "/srv/cairn")
    .replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "UUID")
    .replaceAll(/sha256:[0-9a-f]{64}/g, "DIGEST")
    .replaceAll(/(checkpoint-\d+)-[\dTZ.-]+-[0-9a-f]{8}/g, "$1")
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/g, "TIME")
    .replaceAll(/[\d.]+ KiB/g, "SIZE")
    .replaceAll(/version \d+$/gm, "version")
    .replaceAll(/meta state \(\d+ bytes\)/g, "meta state")
    .replaceAll(/^meta +.*$/gm, "meta")
    .trimEnd();
}

async function shell(command: string): Promise<string> {
  const script = `cairn() { '${process.execPath}' '${CAIRN}' "$@"; }\n${command}`;
  const run = promisify(execFile)("bash", ["-c", `{ ${script}\n} 2>&1`], {
    cwd: folder,
    env: { ...process.env, CAIRN_URL: url },
  });
  // Commands with a negative result exit with 1. Their output is also compared.
  const { stdout } = await run.catch((failure: { code?: unknown; stdout: string }) => {
    if (failure.code !== 1) throw failure;
    return failure;
  });
  return stdout;
}

/**
 * Returns the names, sizes and times of all files below a folder, except those of the node's clock probe: a file that
 * it occasionally creates in its store and immediately removes.
 */
async function fingerprint(dir: string): Promise<string[]> {
  const names = (await readdir(dir, { recursive: true })).filter((name) => !name.startsWith(PROBE));
  const lines = names.toSorted().map(async (name) => {
    const { size, mtimeMs } = await stat(path.join(dir, name));
    return name === STORE ? name : `${name} ${size} ${mtimeMs}`;
  });
  return await Promise.all(lines);
}

const STORE = "checkpoints";
const PROBE = path.join(STORE, ".tmp-");

describe("the commands of docs/inspection.md, next to a running node", () => {
  it("print the output shown on the page, and change no file", { tags: "rest/slow" }, async () => {
    const places = path.join(folder, "cairn-data");
    const before = await fingerprint(places);
    let commands = 0;
    for (const { language, text } of await fencedBlocks(DOC)) {
      if (language !== "console") continue;
      for (const [, command = "", output = ""] of text.matchAll(/^\$ (.*)\n((?:(?!\$ ).*\n)*)/gm)) {
        expect(`$ ${command}\n${normalize(await shell(command))}`).toBe(`$ ${command}\n${normalize(output)}`);
        commands += 1;
      }
    }
    expect(commands).toBeGreaterThan(15);
    expect(await fingerprint(places)).toEqual(before);
  });

  it("return one digest for the node, its checkpoint and a copy of its folder", async () => {
    await shell("cp -r cairn-data/node-1-index copied");
    const places = ["cairn-data/node-1-index", "cairn-data/checkpoints", "copied", "copied/live"];
    const digests = [await shell("curl -s $CAIRN_URL/api/v1/digest")];
    for (const place of places) digests.push(await shell(`cairn db digest ${place}`));
    expect(digests[0]).toMatch(/^\{"txId":4,"digest":"sha256:[0-9a-f]{64}"\}\n$/);
    expect(new Set(digests.map((digest) => digest.trim())).size).toBe(1);
  });
});
