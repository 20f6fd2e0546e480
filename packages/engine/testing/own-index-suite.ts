import { randomBytes } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { requireArchivable } from "../src/own-indexes/checkpointed-files.ts";
import type { IndexBatch, OwnIndex, OwnIndexModule } from "../src/own-indexes/own-index.ts";
import { type BatchChange, CLEAR, complete, incomplete, remove } from "./own-index-batches.ts";
import {
  buildOf,
  changed,
  type Documents,
  expectContents,
  OwnIndexScene,
  type OwnIndexSuiteParts,
} from "./own-index-scene.ts";
import { killedIndexTests } from "./own-index-kills.ts";

const NONE: Documents = new Map();

/** Tests the contract of {@link OwnIndex}. The test of a module calls this function with what the module exports. */
export function ownIndexSuite(name: string, create: OwnIndexModule, parts: OwnIndexSuiteParts = {}): void {
  describe(`${name} as an index of one's own`, () => {
    const scene = new OwnIndexScene(create, parts);
    const key = (tail: string): string => `${scene.bucket}/${tail}`;
    let dir = "";
    let index: OwnIndex;

    beforeEach(async () => {
      await scene.start();
      dir = await scene.newDir();
      index = await scene.open(dir);
    });
    afterEach(() => scene.end());

    async function reopen(): Promise<void> {
      await scene.close(index);
      index = await scene.open(dir);
    }

    /** Applies batches, and returns the documents that the index has to contain then. */
    async function apply(documents: Documents, ...batches: readonly IndexBatch[]): Promise<Documents> {
      for (const batch of batches) await index.apply(batch);
      return changed(documents, batches);
    }

    const built = (): Promise<Documents> =>
      apply(
        NONE,
        incomplete("5-aaaaaaaaaaaa", CLEAR, scene.put("default/a", 1), scene.put("default/b", 2)),
        complete("5-aaaaaaaaaaaa", scene.put("other/a", 3)),
      );

    it("has no position before it is built, also for readers", async () => {
      expect(await index.position()).toBeUndefined();
      await reopen();
      expect(await index.position()).toBeUndefined();
      const reader = await scene.open(dir, true);
      await scene.close(reader);
    });

    it("contains what a build in several batches has brought, also when it is opened again", async () => {
      const documents = await built();
      await expectContents(scene, { index, dir }, "5-aaaaaaaaaaaa", documents);
      await reopen();
      await expectContents(scene, { index, dir }, "5-aaaaaaaaaaaa", documents);
    });

    it("can be built of no documents, and receive them later", async () => {
      const documents = await apply(NONE, complete("1-aaaaaaaaaaaa", CLEAR));
      await expectContents(scene, { index, dir }, "1-aaaaaaaaaaaa", documents);
      const later = await apply(documents, complete("2-aaaaaaaaaaaa", scene.put("default/a", 1)));
      await expectContents(scene, { index, dir }, "2-aaaaaaaaaaaa", later);
    });

    it("contains after changes what a build of the same documents would bring", async () => {
      const documents = await apply(
        await built(),
        incomplete("9-aaaaaaaaaaaa", scene.put("default/a", 6), remove(key("default/b"))),
        complete("9-aaaaaaaaaaaa", scene.put("other/c", 7), remove(key("default/never"))),
        complete("12-aaaaaaaaaaaa", scene.put("default/b", 8)),
      );
      await expectContents(scene, { index, dir }, "12-aaaaaaaaaaaa", documents);
      await reopen();
      await expectContents(scene, { index, dir }, "12-aaaaaaaaaaaa", documents);
    });

    it("moves to a position without changes", async () => {
      const documents = await apply(await built(), complete("7-aaaaaaaaaaaa"));
      await reopen();
      await expectContents(scene, { index, dir }, "7-aaaaaaaaaaaa", documents);
    });

    it("contains the same after batches that arrive twice", async () => {
      const batches = [
        incomplete("9-aaaaaaaaaaaa", { op: "clear", bucket: scene.bucket, namespace: "other" } as const),
        complete("9-aaaaaaaaaaaa", scene.put("other/c", 7), remove(key("default/b"))),
      ];
      const documents = await apply(await built(), ...batches);
      await apply(documents, ...batches);
      await expectContents(scene, { index, dir }, "9-aaaaaaaaaaaa", documents);
      await reopen();
      await apply(documents, ...batches);
      await expectContents(scene, { index, dir }, "9-aaaaaaaaaaaa", documents);
    });

    it("shows nothing of batches before the complete one, neither to readers nor when it is opened again", async () => {
      const documents = await built();
      await index.apply(incomplete("9-aaaaaaaaaaaa", scene.put("default/a", 6), remove(key("default/b"))));
      if (parts.contents !== undefined) {
        const reader = await scene.open(dir, true);
        expect((await parts.contents(reader, dir)).size).toBe(documents.size);
        await scene.close(reader);
      }
      await reopen();
      await expectContents(scene, { index, dir }, "5-aaaaaaaaaaaa", documents);
    });

    it.each([
      ["a namespace", "other"],
      ["a bucket", undefined],
    ])("removes all documents of %s, and contains those that follow", async (_, namespace) => {
      const clear: BatchChange = {
        op: "clear",
        bucket: scene.bucket,
        ...(namespace === undefined ? {} : { namespace }),
      };
      const documents = await apply(
        await built(),
        complete("9-aaaaaaaaaaaa", clear, scene.put("other/new", 8)),
      );
      await expectContents(scene, { index, dir }, "9-aaaaaaaaaaaa", documents);
    });

    it("contains after another build nothing of what it contained before", async () => {
      await built();
      const documents = await apply(NONE, complete("20-bbbbbbbbbbbb", CLEAR, scene.put("default/z", 9)));
      await expectContents(scene, { index, dir }, "20-bbbbbbbbbbbb", documents);
    });

    it("has, after a build that was cut off, no position or all that it contained before", async () => {
      const documents = await built();
      await index.apply(incomplete("20-bbbbbbbbbbbb", CLEAR, scene.put("default/z", 9)));
      await reopen();
      if ((await index.position()) !== undefined) {
        await expectContents(scene, { index, dir }, "5-aaaaaaaaaaaa", documents);
      }
      const anew = await apply(NONE, complete("20-bbbbbbbbbbbb", CLEAR, scene.put("default/y", 9)));
      await expectContents(scene, { index, dir }, "20-bbbbbbbbbbbb", anew);
    });

    it("keeps what it contained if a batch fails", async () => {
      const documents = await built();
      const failing = Object.defineProperty(scene.put("default/c", 7), "json", {
        get: () => {
          throw new Error("This document cannot be read.");
        },
      });
      await index.apply(incomplete("9-aaaaaaaaaaaa", scene.put("default/a", 6)));
      const batch = complete("9-aaaaaaaaaaaa", remove(key("default/b")), failing);
      await expect((async () => index.apply(batch))()).rejects.toThrow("This document cannot be read.");
      await reopen();
      await expectContents(scene, { index, dir }, "5-aaaaaaaaaaaa", documents);
    });

    it("is captured as of its position, although batches follow while it is copied", async ({ skip }) => {
      if (index.capture === undefined) return skip("It cannot be captured.");
      const documents = await apply(await built(), complete("6-aaaaaaaaaaaa", scene.put("default/c", 4)));
      const copies = [await scene.newDir(), await scene.newDir()] as const;
      const first = await index.capture(copies[0]);
      const later = await apply(
        documents,
        complete("7-aaaaaaaaaaaa", ...Array.from({ length: 500 }, (_, n) => scene.put(`default/${n}`, n))),
        complete("8-aaaaaaaaaaaa", remove(key("default/a"))),
      );
      await first.copied;
      await (
        await index.capture(copies[1])
      ).copied;
      for (const copy of copies) await requireArchivable(copy);
      await scene.close(index);
      await expectContents(
        scene,
        { index: await scene.open(copies[0]), dir: copies[0] },
        "6-aaaaaaaaaaaa",
        documents,
      );
      await expectContents(
        scene,
        { index: await scene.open(copies[1]), dir: copies[1] },
        "8-aaaaaaaaaaaa",
        later,
      );
      index = await scene.open(dir);
      await expectContents(scene, { index, dir }, "8-aaaaaaaaaaaa", later);
    });

    it("contains no byte of deleted documents once it is purged", async ({ skip }) => {
      if (index.purge === undefined) return skip("It cannot be purged.");
      const secrets = Array.from({ length: 4 }, () => randomBytes(16).toString("hex"));
      const [replaced, deleted, cleared, kept] = secrets;
      const documents = await apply(
        NONE,
        complete(
          "5-aaaaaaaaaaaa",
          CLEAR,
          ...Array.from({ length: 300 }, (_, n) => scene.put(`default/${String(n).padStart(3, "0")}`, n)),
          scene.put("default/deleted", 1, deleted),
          scene.put("default/kept", 2, kept),
          scene.put("default/replaced", 3, replaced),
          scene.put("other/cleared", 4, cleared),
        ),
        complete("6-aaaaaaaaaaaa", remove(key("default/deleted")), scene.put("default/replaced", 5)),
        complete("7-aaaaaaaaaaaa", { op: "clear", bucket: scene.bucket, namespace: "other" }),
      );
      await index.purge();
      for (const isOpen of [true, false]) {
        if (!isOpen) await scene.close(index);
        const files = await Promise.all((await readdir(dir)).map((file) => readFile(join(dir, file))));
        // An index of text may store the beginnings that words share only once.
        const remains = secrets.map((secret) => files.some((bytes) => bytes.includes(secret.slice(-20))));
        expect(remains.slice(0, 3)).toEqual([false, false, false]);
      }
      index = await scene.open(dir);
      await expectContents(scene, { index, dir }, "7-aaaaaaaaaaaa", documents);
    });

    it("has another digest if it contains something else", async ({ skip }) => {
      if (index.digest === undefined) return skip("It has no digest.");
      const documents = await built();
      const digests = [await index.digest()];
      for (const change of [scene.put("default/a", 6), remove(key("default/b")), scene.put("third/a", 7)]) {
        await apply(documents, complete("6-aaaaaaaaaaaa", change));
        digests.push(await index.digest());
      }
      expect(new Set(digests).size).toBe(4);
    });

    it("contains what a map would, after any batches", async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(unit(scene), { maxLength: 12 }), async (units) => {
          index = await scene.open((dir = await scene.newDir()));
          let documents = await apply(NONE, complete("1-aaaaaaaaaaaa", CLEAR));
          let txId = 1;
          for (const { changes, cuts, isBuild, after } of units) {
            const position = `${(txId += 1)}-aaaaaaaaaaaa`;
            const all = isBuild ? buildOf(changed(NONE, [complete(position, ...changes)])) : changes;
            const batches = cut(all, cuts, position);
            const isCutOff = after === "cut off" && batches.length > 1 && !isBuild;
            if (isCutOff) for (const batch of batches.slice(0, -1)) await index.apply(batch);
            else documents = await apply(documents, ...batches);
            if (isCutOff) txId -= 1;
            if (isCutOff || after === "reopen") await reopen();
          }
          await expectContents(scene, { index, dir }, `${txId}-aaaaaaaaaaaa`, documents);
          await scene.close(index);
        }),
        { numRuns: 40 },
      );
    });

    killedIndexTests(scene, parts.module);
  });
}

/** Batches that belong together: each key at most once, after the namespaces that are cleared. */
function unit(scene: OwnIndexScene): fc.Arbitrary<{
  readonly changes: readonly BatchChange[];
  readonly cuts: readonly number[];
  readonly isBuild: boolean;
  readonly after: "go on" | "reopen" | "cut off";
}> {
  const key = fc
    .tuple(fc.constantFrom("default", "other"), fc.constantFrom("a", "b", "c", "ä", "a b"))
    .map((two) => two.join("/"));
  const change = fc.oneof(
    fc.tuple(key, fc.nat(1_000)).map(([at, n]) => ({ at, change: scene.put(at, n) })),
    key.map((at) => ({ at, change: remove(`${scene.bucket}/${at}`) })),
  );
  const clears = fc.subarray(["default", "other"], { maxLength: 1 });
  return fc.record({
    changes: fc
      .tuple(clears, fc.uniqueArray(change, { maxLength: 8, selector: ({ at }) => at }))
      .map(([namespaces, changes]) => [
        ...namespaces.map((namespace): BatchChange => ({ op: "clear", bucket: scene.bucket, namespace })),
        ...changes.map(({ change: one }) => one),
      ]),
    cuts: fc.array(fc.nat(8), { maxLength: 3 }),
    isBuild: fc.boolean(),
    after: fc.constantFrom("go on", "reopen", "cut off"),
  });
}

/** Returns changes as batches that end at these places, the last of which is complete. */
function cut(
  changes: readonly BatchChange[],
  cuts: readonly number[],
  position: string,
): readonly IndexBatch[] {
  const ends = [...cuts, changes.length]
    .filter((end) => end <= changes.length)
    .toSorted((one, other) => one - other);
  return ends.map((end, n) => ({
    position,
    complete: n === ends.length - 1,
    changes: changes.slice(n === 0 ? 0 : ends[n - 1], end),
  }));
}
