import { randomBytes, randomUUID } from "node:crypto";
import { mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { BucketServer } from "../data/bucket.ts";
import { GIGABIT_PER_SECOND } from "../harness/limited-link.ts";
import { run } from "../harness/command.ts";
import type { Workspace } from "../data/workspace.ts";
import { type Comparison, ratioTarget, type Row } from "../harness/row.ts";

const SAVE = "cairn saves";
const RESTORE = "cairn restores";
const UPLOAD = "lib-storage's upload";
const DOWNLOAD = "ranged download + sync";

const MIB = 1024 * 1024;
const FILE_MIB = 2;
/** The number of bytes for each record: the files have 1 GB for the default `--size`. */
const BYTES_PER_RECORD = 1_000;
/** The memory target in MB: part-size x (concurrency + 2) + 100 MB, with the defaults. */
const MEMORY_MB = (8 * MIB * (4 + 2)) / 1_000_000 + 100;

const TITLE =
  "a checkpoint goes to S3 and comes back, verified, against the SDK's own upload and a plain ranged download";

/** Checkpoints through S3, compared with the SDK's own transfer of the same bytes. The service shares the processors. */
export const s3: Row = { name: "s3", title: TITLE, prepare: async (workspace) => await compare(workspace) };

/** The same over a link with the bandwidth of a network. */
export const s3Link: Row = {
  name: "s3-link",
  title: `${TITLE}, over 1 Gbit/s`,
  prepare: async (workspace) => await compare(workspace, GIGABIT_PER_SECOND),
};

/** Prepares the comparison. With `bytesPerSecond`, it is made over a link with that rate in each direction. */
async function compare(workspace: Workspace, bytesPerSecond?: number): Promise<Comparison> {
  const server = await BucketServer.start(bytesPerSecond);
  workspace.atClose(() => server.close());
  const files = workspace.fresh("files");
  await makeFiles(files, (workspace.records.count * BYTES_PER_RECORD) / (FILE_MIB * MIB));
  const archive = workspace.fresh("archive");
  await run("tar", ["-cf", archive, "-C", files, "."]);
  let place = server.place(randomUUID());
  return {
    contestants: [
      {
        name: UPLOAD,
        run: () => {
          place = server.place(randomUUID());
          return workspace.run("s3 upload", { place, file: archive });
        },
      },
      { name: SAVE, run: () => workspace.run("s3 save", { place, files, dir: workspace.fresh("saving") }) },
      {
        name: DOWNLOAD,
        run: async () => {
          const file = workspace.fresh("downloaded");
          const figures = await workspace.run("s3 download", { place, file });
          await rm(file);
          return figures;
        },
      },
      {
        name: RESTORE,
        run: async () => {
          const dir = workspace.fresh("restored");
          const figures = await workspace.run("s3 restore", { place, dir });
          await rm(dir, { recursive: true });
          await server.empty(place);
          return figures;
        },
      },
    ],
    targets: [
      ratioTarget("s", SAVE, UPLOAD, { atMost: 1.3 }),
      ratioTarget("s", RESTORE, DOWNLOAD, { atMost: 1.3 }),
      { of: { contestant: SAVE, metric: "MB above idle" }, atMost: MEMORY_MB },
      { of: { contestant: RESTORE, metric: "MB above idle" }, atMost: MEMORY_MB },
    ],
  };
}

/** Creates incompressible files of the size of an index's tables. */
async function makeFiles(dir: string, count: number): Promise<void> {
  await mkdir(dir);
  for (let n = 0; n < count; n += 1) {
    const file = await open(join(dir, `${String(n).padStart(6, "0")}.dat`), "w");
    await file.write(randomBytes(FILE_MIB * MIB));
    await file.close();
  }
}
