import { mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { levelProvider } from "@cairn/kv";
import { expect, it, onTestFinished } from "vitest";
import { cairn, CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";

/** Creates a folder with a LevelDB database in `live`. Returns the folder and the name of the manifest. */
async function database(): Promise<{ folder: string; manifest: string }> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-db-manifest-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const kv = await levelProvider().open(path.join(folder, "live"));
  await kv.batch([{ type: "put", key: Buffer.from("k"), value: Buffer.from("v") }]);
  await kv.close();
  const manifest = (await readdir(path.join(folder, "live"))).find((name) => name.startsWith("MANIFEST-"));
  return { folder, manifest: manifest ?? "" };
}

type Damage = (live: string, manifest: string) => Promise<void>;

it.each<[what: string, damage: Damage, told: (live: string, manifest: string) => string]>([
  [
    "whose manifest is empty",
    (live, manifest) => truncate(path.join(live, manifest), 0),
    (live, manifest) => `The manifest ${path.join(live, manifest)} is damaged. It is empty.`,
  ],
  [
    "whose manifest is truncated",
    (live, manifest) => truncate(path.join(live, manifest), 20),
    (live, manifest) => `The manifest ${path.join(live, manifest)} is damaged. A version edit `,
  ],
  [
    "whose manifest is not a manifest",
    (live, manifest) => writeFile(path.join(live, manifest), "x".repeat(100)),
    (live, manifest) => `The manifest ${path.join(live, manifest)} is damaged. A version edit `,
  ],
  [
    "whose manifest is missing",
    (live, manifest) => rm(path.join(live, manifest)),
    (live, manifest) =>
      `The database in ${live} lacks the manifest ${manifest}, which its file CURRENT names.`,
  ],
  [
    "whose CURRENT is empty",
    (live) => truncate(path.join(live, "CURRENT"), 0),
    (live) => `The file ${path.join(live, "CURRENT")} is damaged: it names no manifest.`,
  ],
  [
    "whose CURRENT is truncated",
    (live) => truncate(path.join(live, "CURRENT"), 5),
    (live) => `The file ${path.join(live, "CURRENT")} is damaged: it names no manifest.`,
  ],
])("cairn db names the file of a database %s", async (_, damage, told) => {
  const { folder, manifest } = await database();
  const live = path.join(folder, "live");
  await damage(live, manifest);
  for (const command of ["check", "stats"]) {
    const { code, stdout, stderr } = await cairn(["db", command, folder], new CapturedTerminal());
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toContain(`INDEX_CORRUPT: ${told(live, manifest)}`);
    expect(stderr).toMatch(
      /hint: Restore the index from a checkpoint.* Keep the damaged files if the log was lost/,
    );
  }
});
