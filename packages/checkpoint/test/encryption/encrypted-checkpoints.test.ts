import { randomBytes } from "node:crypto";
import { copyFile, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  type CheckpointStore,
  encryptedStore,
  filesystemStore,
  listCheckpoints,
  markVerified,
  readEncryption,
  readVerification,
  type StoreEncryption,
} from "../../src/index.ts";
import { sealManifest } from "../../src/store/sealed-manifest.ts";
import { checkpointCycleSuite } from "../../testing/checkpoint-cycle-suite.ts";
import { encryptionWith, keyFile, newIdentity, memoryStore } from "../../testing/index.ts";
import { packDirectory } from "../../src/archive/pack/pack.ts";
import { unpackArchive } from "../../src/archive/unpack/unpack.ts";
import { NAME, someManifest } from "../support/manifests.ts";
import {
  contentsOf,
  digestsOf,
  someFiles,
  temporaryDirectory,
  writeFiles,
} from "@cairn/test-support/stores/places";
import { restore, restoredIn, take, takeAt } from "@cairn/test-support/stores/rounds";
import { type TestSource, testSource } from "@cairn/test-support/stores/test-source";
import { filesAt } from "@cairn/test-support/stores/index-files";

const SUITE_IDENTITY = newIdentity();
checkpointCycleSuite("an encrypted folder", async () => {
  const dir = await temporaryDirectory();
  const folder = filesystemStore({ path: join(dir, "store") });
  return encryptedStore(folder, await encryptionWith(dir, [SUITE_IDENTITY]));
});

interface Scene {
  readonly dir: string;
  readonly folder: string;
  readonly plain: CheckpointStore;
  readonly store: CheckpointStore;
  readonly source: TestSource;
  readonly identity: string;
  readonly encryption: StoreEncryption;
}

async function scene(): Promise<Scene> {
  const dir = await temporaryDirectory();
  const folder = join(dir, "store");
  const plain = filesystemStore({ path: folder });
  const identity = newIdentity();
  const encryption = await encryptionWith(dir, [identity]);
  return {
    dir,
    folder,
    plain,
    store: encryptedStore(plain, encryption),
    source: testSource(),
    identity,
    encryption,
  };
}

/** Returns the code with which the only checkpoint is skipped or the restore fails; the restored name if it succeeds. */
async function outcomeOf(store: CheckpointStore, dir: string): Promise<string> {
  await rm(join(dir, "live"), { recursive: true, force: true });
  try {
    const { restored, skipped } = await restore([store], dir);
    return restored?.name ?? skipped.map(({ error }) => error.code).join(" ");
  } catch (error) {
    if (error instanceof Error && "code" in error) return `thrown ${String(error.code)}`;
    throw error;
  }
}

describe("a store with encryption", () => {
  it("contains nothing that can be read, and restores every byte", async () => {
    const { dir, folder, store, source } = await scene();
    const secret = Buffer.from("the price of the sealed bid");
    const files = {
      CURRENT: Buffer.from("MANIFEST-1\n"),
      "000001.ldb": Buffer.alloc(9_000_000, secret),
      "000002.ldb": Buffer.alloc(65_536 * 3, "x"),
      "000003.log": Buffer.alloc(0),
    };
    for (const compression of ["none", "gzip"] as const) {
      source.txId += 1;
      source.files = files;
      await take(store, source, dir, { options: { compression } });
      for (const name of await readdir(folder)) {
        if ((name.endsWith(".tar") || name.endsWith(".json")) && name.startsWith("checkpoint-")) {
          const stored = await readFile(join(folder, name), "latin1");
          for (const word of [
            "sealed bid",
            "MANIFEST",
            "000001.ldb",
            "node-1",
            "leveldb",
            "anchor",
            "documents",
          ])
            expect(stored, `${word} in ${name}`).not.toContain(word);
        }
      }
      await rm(join(dir, "live"), { recursive: true, force: true });
      const { restored } = await restore([store], dir);
      expect(restored?.manifest.format.archive).toBe(compression === "none" ? "tar+age/1" : "tar+gzip+age/1");
      expect(await restoredIn(dir)).toEqual(digestsOf(files));
    }
  });

  it("recognizes a changed byte in every region of the manifest", { tags: "rest/slow" }, async () => {
    const { dir, folder, store, source } = await scene();
    const name = await takeAt(5, store, source, dir);
    const path = join(folder, `${name}.json`);
    const intact = await readFile(path);
    const failures: string[] = [];
    // Whitespace between members has no meaning, so a change there may go unnoticed.
    for (let at = 0; at < intact.length; at += 3) {
      if (/\s/.test(String.fromCharCode(intact[at] ?? 0))) continue;
      const changed = Buffer.from(intact);
      changed[at] = (intact[at] ?? 0) ^ 1;
      await writeFile(path, changed);
      const outcome = await outcomeOf(store, dir);
      if (!["CHECKPOINT_CORRUPT", "thrown KEY_MISSING"].includes(outcome)) failures.push(`${at}: ${outcome}`);
    }
    expect(failures).toEqual([]);
    await writeFile(path, intact);
    expect(await outcomeOf(store, dir)).toBe(name);
  });

  it("recognizes a truncated or empty manifest as damaged", async () => {
    const { dir, folder, store, source } = await scene();
    const name = await takeAt(5, store, source, dir);
    const path = join(folder, `${name}.json`);
    const intact = await readFile(path);
    for (const content of [
      ...[0, 10, intact.length >> 1, intact.length - 3].map((length) => intact.subarray(0, length)),
      Buffer.alloc(intact.length),
    ]) {
      await writeFile(path, content);
      expect(await outcomeOf(store, dir)).toBe("CHECKPOINT_CORRUPT");
    }
  });

  it("recognizes a changed bit in every region of the archive, and a truncated archive", async () => {
    const { dir, folder, store, source } = await scene();
    const name = await takeAt(5, store, source, dir);
    const path = join(folder, `${name}.tar`);
    const intact = await readFile(path);
    const headerEnd = intact.indexOf("\n---");
    // The version, the share, the wrapped key, the MAC, the nonce, the first chunk, its tag, a later chunk, and the end.
    const places = [3, 40, 85, headerEnd + 8, headerEnd + 55, 300, 65_700, 100_000, intact.length - 1];
    for (const at of places) {
      const changed = Buffer.from(intact);
      changed[at] = (intact[at] ?? 0) ^ 4;
      await writeFile(path, changed);
      expect(await outcomeOf(store, dir), `byte ${at}`).toBe("CHECKPOINT_CORRUPT");
    }
    for (const length of [0, 20, 200, 65_752, intact.length - 1]) {
      await writeFile(path, intact.subarray(0, length));
      expect(await outcomeOf(store, dir)).toBe("CHECKPOINT_INCOMPLETE");
    }
  });

  it("rejects the archive of another checkpoint, although the same key decrypts it", async () => {
    const { dir, folder, store, source } = await scene();
    const older = await takeAt(1, store, source, dir);
    const newer = await takeAt(2, store, source, dir);
    await copyFile(join(folder, `${older}.tar`), join(folder, `${newer}.tar`));
    await rm(join(folder, `${older}.json`));
    expect(await outcomeOf(store, dir)).toBe("CHECKPOINT_CORRUPT");
  });

  it("rejects an old checkpoint under a new name", async () => {
    const { dir, folder, store, source } = await scene();
    const old = await takeAt(1, store, source, dir);
    const forged = old.replace("checkpoint-1-", "checkpoint-9-");
    await copyFile(join(folder, `${old}.tar`), join(folder, `${forged}.tar`));
    await copyFile(join(folder, `${old}.json`), join(folder, `${forged}.json`));
    const { skipped, checkpoints } = await listCheckpoints(store);
    expect(skipped).toMatchObject([{ name: forged, error: { code: "CHECKPOINT_CORRUPT" } }]);
    expect(skipped[0]?.error.message).toContain(`it was written as ${old}.json`);
    expect(checkpoints.map(({ name }) => name)).toEqual([old]);
  });

  it("rejects a manifest that somebody encrypted who knows the recipient but not the key", async () => {
    const { dir, folder, store, source, encryption } = await scene();
    const name = await takeAt(1, store, source, dir);
    const { manifest } = (await restore([store], dir)).restored ?? {};
    if (manifest === undefined) throw new Error("nothing was restored");
    const stranger = await encryptionWith(dir, [newIdentity()]);
    const macKeys = encryption.macKeys.map(({ id }) => ({ id, mac: stranger.macKeys[0]?.mac ?? (() => "") }));
    const forged = await sealManifest(name, { ...manifest, documents: 7 }, { ...encryption, macKeys });
    await writeFile(join(folder, `${name}.json`), forged.text);
    const { skipped } = await listCheckpoints(store);
    expect(skipped).toMatchObject([{ error: { code: "CHECKPOINT_CORRUPT" } }]);
    expect(skipped[0]?.error.message).toContain("its MAC does not match");
  });

  it("keeps a node with another key, or with none, from restoring an older checkpoint and from saving", async () => {
    const { dir, plain, store, source } = await scene();
    const older = await takeAt(1, plain, source, dir);
    await takeAt(2, store, source, dir).catch(() => undefined);
    const strange = encryptedStore(plain, await encryptionWith(dir, [newIdentity()], { acceptPlain: true }));
    for (const other of [plain, strange]) {
      expect(await outcomeOf(other, dir)).toBe("thrown KEY_MISSING");
      source.txId += 1;
      await expect(take(other, source, dir)).rejects.toMatchObject({ code: "KEY_MISSING" });
    }
    const other = testSource("node-2");
    other.logId = "log-b";
    expect(await take(plain, other, dir)).toMatchObject({ outcome: "taken" });
    expect((await listCheckpoints(plain)).checkpoints.map(({ name }) => name)).toContain(older);
  });

  it("encrypts marks of verification, and ignores those that no holder of the key wrote", async () => {
    const { dir, folder, plain, store, source } = await scene();
    const name = await takeAt(1, store, source, dir);
    const [listed] = (await listCheckpoints(store)).checkpoints;
    if (listed === undefined) throw new Error("nothing is listed");
    const found = { node: "node-1", digest: `sha256:${"5".repeat(64)}`, manifest: listed };
    const stranger = encryptedStore(plain, await encryptionWith(dir, [newIdentity()]));
    for (const other of [plain, stranger]) {
      await markVerified(other, name, found);
      expect(await readVerification(other, name, listed)).toMatchObject({ node: "node-1" });
      expect(await readVerification(store, name, listed)).toBeUndefined();
    }
    await markVerified(store, name, found);
    expect(await readVerification(store, name, listed)).toMatchObject({ digest: found.digest });
    expect(await readFile(join(folder, `${name}.verified.json`), "utf8")).not.toContain("5555");
    expect(await readVerification(store, name, { sha256: "0".repeat(64) })).toBeUndefined();
  });

  it("uses plain checkpoints only if they are accepted, and then replaces them", async () => {
    const { dir, plain, store, source, identity } = await scene();
    const name = await takeAt(1, plain, source, dir);
    expect(await outcomeOf(store, dir)).toBe("PLAIN_REFUSED");
    const accepting = encryptedStore(plain, await encryptionWith(dir, [identity], { acceptPlain: true }));
    expect(await outcomeOf(accepting, dir)).toBe(name);
    expect(await restoredIn(dir)).toEqual(digestsOf(filesAt(1)));
    const encrypted = await takeAt(2, accepting, source, dir);
    expect(await outcomeOf(store, dir)).toBe(encrypted);
  });

  it("is read during and after a rotation of keys", async () => {
    const { dir, plain, store, source, identity } = await scene();
    const next = newIdentity();
    const both = encryptedStore(plain, await encryptionWith(dir, [next, identity]));
    const only = encryptedStore(plain, await encryptionWith(dir, [next]));
    const first = await takeAt(1, store, source, dir);
    expect(await outcomeOf(both, dir)).toBe(first);
    expect(await outcomeOf(only, dir)).toBe("thrown KEY_MISSING");
    const second = await takeAt(2, both, source, dir);
    for (const one of [store, both, only]) expect(await outcomeOf(one, dir)).toBe(second);
    expect(await restoredIn(dir)).toEqual(digestsOf(filesAt(2)));
  });
});

describe("a key file", () => {
  it("may contain comments and several identities, and each of its faults is explained without its content", async () => {
    const dir = await temporaryDirectory();
    const [one, two] = [newIdentity(), newIdentity()];
    expect((await encryptionWith(dir, [one, "# old", two, ""])).identities).toHaveLength(2);
    const broken = `${one.slice(0, -1)}${one.endsWith("Q") ? "P" : "Q"}`;
    for (const [lines, message] of [
      [[], "contains no identity"],
      [[one, broken], "Line 4 of the key file"],
      [[one.toLowerCase()], "Line 3 of the key file"],
      [["AGE-SECRET-KEY-PQ-1QQQQ"], "Line 3 of the key file"],
      [[`# ${"x".repeat(1_048_576)}`, one], "is too large for a key file"],
    ] as const) {
      const path = await keyFile(dir, lines);
      const error: unknown = await readEncryption(path).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: "CONFIG_INVALID", message: expect.stringContaining(message) });
      expect(String(error)).not.toContain(one.slice(20));
    }
    await expect(readEncryption(join(dir, "absent"))).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    const path = await keyFile(dir, [one]);
    await expect(readEncryption(path, { recipients: ["age1no"] })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
  });
});

it(
  "archives are encrypted and decrypted on worker threads, to a file and through a stream",
  { tags: "rest/slow" },
  async () => {
    const dir = await temporaryDirectory();
    const { identities, recipients } = await encryptionWith(dir, [newIdentity(), newIdentity()]);
    const files = { ...someFiles(), "100000.ldb": randomBytes(9_000_001) };
    await writeFiles(join(dir, "source"), files);
    for (const compression of ["none", "gzip"] as const) {
      for (const store of [filesystemStore({ path: join(dir, compression) }), memoryStore()]) {
        const packing = await packDirectory(join(dir, "source"), { compression, recipients, threads: true });
        const { direct, expectedBytes } = packing;
        const name = `${NAME}.tar`;
        await store.upload(name, packing.archive, direct === undefined ? {} : { direct });
        const { files: packed, ...archive } = packing.result();
        if (compression === "none") expect(archive.bytes).toBe(expectedBytes);
        else expect(archive.bytes).toBeLessThanOrEqual(expectedBytes);
        const format = {
          ...someManifest().format,
          archive: `tar${compression === "gzip" ? "+gzip" : ""}+age/1`,
        };
        const manifest = { ...someManifest(), format, archive: { name, ...archive }, files: packed };
        for (const identity of identities) {
          const target = join(dir, "target");
          await unpackArchive(await store.open(name), target, manifest, {
            identities: [identity],
            threads: true,
          });
          expect(await contentsOf(target)).toEqual(digestsOf(files));
          await rm(target, { recursive: true });
        }
      }
    }
  },
);
