import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { levelProvider } from "@cairn/kv";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runNode } from "@cairn/node";
import { openEmbeddedTxLog } from "../../../src/log/embedded/embedded-tx-log.ts";
import { bytes } from "../../../testing/log-messages.ts";
import { quietSystem } from "@cairn/test-support/nodes/quiet-system";

describe("a log whose creation was interrupted by a power loss", () => {
  let folder: string;
  let path: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "cairn-log-"));
    path = join(folder, "log");
  });
  afterEach(() => rm(folder, { recursive: true }));

  const open = () => openEmbeddedTxLog({ path });
  const beginsAndGoesOn = async (notices: string[] = []): Promise<void> => {
    const log = await openEmbeddedTxLog({ path, onNotice: (notice) => notices.push(notice) });
    expect(await log.exists()).toBe(false);
    await log.create(bytes);
    expect(await log.append(bytes("one"))).toEqual({ position: 2, duplicate: false });
    await log.close();
    const again = await openEmbeddedTxLog({ path });
    expect(await again.bounds()).toEqual({ first: 1, last: 2 });
    await again.close();
  };

  it("is created again automatically, whatever files exist", { tags: "rest/slow" }, async () => {
    const whole = join(folder, "whole");
    const log = await openEmbeddedTxLog({ path: whole });
    await log.create(bytes);
    await log.close();
    const manifest = await readFile(join(whole, "MANIFEST-000002"));
    const wal = await readFile(join(whole, "000003.log"));
    const empty = Buffer.alloc(0);
    const currents = [undefined, "", "MANIFEST-000001\n", "MANIFEST-000002\n"];
    for (const current of currents) {
      for (const first of [undefined, empty, manifest.subarray(0, 20)]) {
        for (const second of [undefined, manifest.subarray(0, 20), manifest]) {
          for (const messages of [undefined, wal.subarray(0, 100), wal]) {
            await mkdir(path);
            const files = {
              "being-made": "",
              LOCK: "",
              CURRENT: current,
              "MANIFEST-000001": first,
              "MANIFEST-000002": second,
              "000003.log": messages,
            };
            for (const [name, content] of Object.entries(files)) {
              if (content !== undefined) await writeFile(join(path, name), content);
            }
            await beginsAndGoesOn();
            await rm(path, { recursive: true });
          }
        }
      }
    }
  });

  it("reports the location of the files of the earlier attempt", async () => {
    await mkdir(path);
    await writeFile(join(path, "being-made"), "");
    await writeFile(join(path, "CURRENT"), "MANIFEST-000001\n");
    const notices: string[] = [];
    await beginsAndGoesOn(notices);
    expect(notices).toEqual([
      expect.stringContaining("No message was stored in the log, and it is being created again."),
    ]);
    const [aside = ""] = await readdir(join(path, "torn"));
    expect(await readdir(join(path, "torn", aside))).toEqual(["CURRENT"]);
    expect(notices[0]).toContain(join(path, "torn", aside));
  });

  it("is not mistaken for one that another process is creating", async () => {
    const log = await openEmbeddedTxLog({ path });
    await log.create(bytes);
    await writeFile(join(path, "being-made"), "");
    const other = await openEmbeddedTxLog({ path });
    await expect(other.create(bytes)).rejects.toMatchObject({ code: "INDEX_LOCKED" });
    await other.close();
    expect(await log.append(bytes("one"))).toEqual({ position: 2, duplicate: false });
    await log.close();
  });

  it("no longer has the mark of its creation once messages can be stored", async () => {
    const log = await openEmbeddedTxLog({ path });
    await log.create(bytes);
    expect(await readdir(path)).not.toContain("being-made");
    await log.close();
  });

  it(
    "does not keep a node from starting, even if the node's db-dir is equally incomplete",
    { tags: "rest/slow" },
    async () => {
      const dbDir = join(folder, "index");
      for (const current of [undefined, "", "MANIFEST-000001\n", "MANIFEST-000002\n"]) {
        for (const part of ["live", "lock"]) {
          const store = await levelProvider().open(join(folder, "store"));
          await store.close();
          await mkdir(dbDir, { recursive: true });
          await cp(join(folder, "store"), join(dbDir, part), { recursive: true });
          if (current === undefined) await rm(join(dbDir, part, "CURRENT"));
          else await writeFile(join(dbDir, part, "CURRENT"), current);
          await writeFile(join(dbDir, part, "MANIFEST-000001"), "");
          await writeFile(join(dbDir, part, "MANIFEST-000002"), "");
          const node = await runNode({ ...quietSystem({ folder, nodeId: "n", openTxLog: open }), dbDir });
          await node.ready;
          await node.close();
          await rm(dbDir, { recursive: true });
          await rm(path, { recursive: true });
        }
      }
    },
  );
});
