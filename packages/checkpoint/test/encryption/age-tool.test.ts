// @module-tag rest/age
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { AgeWriter, decrypted } from "../../src/encryption/age-payload.ts";
import { encodeRecipient, readEncryption } from "../../src/encryption/key-file.ts";
import { chunkSource } from "../../src/archive/unpack/receive-archive.ts";
import { encryptedStore, filesystemStore } from "../../src/index.ts";
import { streamOf } from "../support/archives.ts";
import { readAll } from "../support/read-all.ts";
import { contentsOf, digestsOf, temporaryDirectory } from "../support/places.ts";
import { takeAt } from "../support/rounds.ts";
import { testSource } from "../support/test-source.ts";
import { filesAt } from "../support/index-files.ts";

describe("the tool age", () => {
  it("reads what Cairn encrypts, and Cairn reads what it encrypts, at sizes around those of chunks", async () => {
    const dir = await temporaryDirectory();
    const keys = join(dir, "keys.txt");
    execFileSync("age-keygen", ["-o", keys], { stdio: "ignore" });
    const recipient = execFileSync("age-keygen", ["-y", keys], { encoding: "utf8" }).trim();
    const encryption = await readEncryption(keys);
    expect(encryption.recipients.map(encodeRecipient)).toEqual([recipient]);
    const maxBuffer = 64 * 1024 * 1024;
    for (const size of [0, 1, 65_535, 65_536, 65_537, 131_072, 300 * 65_536 + 5]) {
      const content = randomBytes(size);
      const writer = new AgeWriter(encryption.recipients);
      const parts = [writer.head];
      for (let at = 0; at < size; at += 100_003)
        parts.push(...writer.update(content.subarray(at, at + 100_003)));
      const file = Buffer.concat([...parts, ...writer.end()]);
      expect(execFileSync("age", ["-d", "-i", keys], { input: file, maxBuffer }).equals(content)).toBe(true);
      const theirs = execFileSync("age", ["-r", recipient], { input: content, maxBuffer });
      const read = await readAll(decrypted(chunkSource(streamOf(theirs)), encryption.identities));
      expect(read.error).toBeUndefined();
      expect(read.content.equals(content)).toBe(true);
    }
  });

  it("opens a checkpoint without Cairn, with the identity of a further recipient", async () => {
    const dir = await temporaryDirectory();
    const [own, escrow] = [join(dir, "own.txt"), join(dir, "escrow.txt")];
    for (const path of [own, escrow]) execFileSync("age-keygen", ["-o", path], { stdio: "ignore" });
    const recipient = execFileSync("age-keygen", ["-y", escrow], { encoding: "utf8" }).trim();
    const folder = join(dir, "store");
    const store = encryptedStore(
      filesystemStore({ path: folder }),
      await readEncryption(own, { recipients: [recipient] }),
    );
    const name = await takeAt(1, store, testSource(), dir);
    const out = join(dir, "out");
    await mkdir(out);
    const archive = execFileSync("age", ["-d", "-i", escrow, join(folder, `${name}.tar`)]);
    await writeFile(join(dir, "plain.tar"), archive);
    execFileSync("tar", ["-xf", join(dir, "plain.tar"), "-C", out]);
    expect(await readdir(out)).not.toEqual([]);
    expect(await contentsOf(out)).toEqual(digestsOf(filesAt(1)));
    const { encrypted } = JSON.parse(await readFile(join(folder, `${name}.json`), "utf8")) as {
      encrypted: string;
    };
    const manifest = execFileSync("age", ["-d", "-i", escrow], { input: Buffer.from(encrypted, "base64") });
    expect(JSON.parse(manifest.toString("utf8"))).toMatchObject({ txId: 1, documents: 1 });
  });
});
