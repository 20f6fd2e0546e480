import { execFile } from "node:child_process";
import { cp, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { temporaryDirectory } from "@cairn/test-support/stores/places";

const PACKAGE = fileURLToPath(new URL("../../", import.meta.url));

/** Uses a copy of the build, one of whose files is away during some of the attempts. */
const PROGRAM = `
import { rename } from "node:fs/promises";
import { filesystemStore, restoreCheckpoint, startCheckpointer, takeCheckpoint } from "./bundle/index.js";
import { testSource } from ${JSON.stringify(join(PACKAGE, "../../test/support/dist/stores/test-source.js"))};

const source = testSource();
source.files["000002.ldb"] = Buffer.alloc(20_000_000, 7);
const store = filesystemStore({ path: "./store" });
const options = { store, approxFrequency: 3_600_000, checkpointDir: "./capture", compression: "none" };
const save = async () => (await takeCheckpoint({ source, forced: true, options })).outcome;
const places = { stagingDir: "./staging", targetDir: "./live" };
const restore = async () =>
  typeof (await restoreCheckpoint({ ...places, stores: [store], node: "node-2", accept: async () => true })).restored;

async function without(name, work) {
  await rename("bundle/" + name, "away.js");
  try {
    return await work();
  } catch ({ code, message, hint }) {
    return { code, message, hint };
  } finally {
    await rename("away.js", "bundle/" + name);
  }
}

console.log(
  JSON.stringify({
    save: [await without("pack-worker.js", save), await save()],
    restore: [await without("unpack-worker.js", restore), await restore()],
    start: await without("unpack-worker.js", async () => startCheckpointer({ source, options })),
  }),
);
`;

test(
  "without the file of a thread, only that attempt fails, a checkpointer does not start, and the process continues",
  { tags: "rest/slow" },
  async () => {
    const dir = await temporaryDirectory();
    await cp(join(PACKAGE, "dist/bundle"), join(dir, "bundle"), { recursive: true });
    await symlink(join(PACKAGE, "node_modules"), join(dir, "node_modules"));
    await writeFile(join(dir, "program.mjs"), PROGRAM);
    const { stdout } = await promisify(execFile)(process.execPath, ["program.mjs"], { cwd: dir });
    const missing = (name: string): unknown => ({
      code: "CONFIG_MODULE",
      message: `A file of Cairn is missing: ${join(dir, "bundle", name)}.`,
      hint: expect.stringContaining("--packages=external") as string,
    });
    expect(JSON.parse(stdout)).toEqual({
      save: [missing("pack-worker.js"), "taken"],
      restore: [missing("unpack-worker.js"), "object"],
      start: missing("unpack-worker.js"),
    });
  },
);
