import { appendFile, mkdtemp, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { fileMarks } from "../../src/restore/restore-checkpoint.ts";

async function folder(names: readonly string[]): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "file-marks-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  for (const name of names) await writeFile(join(dir, name), "content");
  return dir;
}

test("an unchanged file keeps its mark, and a changed, replaced or added file has a different one", async () => {
  const dir = await folder(["kept", "longer", "rewritten", "replaced"]);
  // The files were written long enough ago for the file system's clock to have advanced.
  for (const name of ["kept", "rewritten"]) await utimes(join(dir, name), 1, 1);
  const before = await fileMarks(dir);
  await appendFile(join(dir, "longer"), "!");
  await writeFile(join(dir, "rewritten"), "CONTENT");
  await writeFile(join(dir, "added"), "content");
  await writeFile(join(dir, "new"), "content");
  await rename(join(dir, "new"), join(dir, "replaced"));
  const after = await fileMarks(dir);
  const changed = [...after].filter(([name, mark]) => before.get(name) !== mark).map(([name]) => name);
  expect(changed.toSorted()).toEqual(["added", "longer", "replaced", "rewritten"]);
});
