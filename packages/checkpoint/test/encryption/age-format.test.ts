import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inflateSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { AgeError } from "../../src/encryption/age-header.ts";
import { ageWriter, chunkSource, decrypted } from "../../src/encryption/age-payload.ts";
import { decodeIdentity, readEncryption } from "../../src/encryption/key-file.ts";
import { encryptedStore, filesystemStore } from "../../src/index.ts";
import { encodeBech32 } from "../../testing/encryption-keys.ts";
import { streamOf } from "../support/archives.ts";
import { filesAt } from "@cairn/test-support/stores/index-files";
import { contentsOf, digestsOf, temporaryDirectory } from "@cairn/test-support/stores/places";
import { readAll } from "../support/read-all.ts";
import { takeAt } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

interface Vector {
  readonly name: string;
  readonly expect: string;
  readonly identities: readonly string[];
  /** The SHA-256 of the content. */
  readonly payload?: string;
  readonly compressed?: boolean;
  readonly file: string;
}

const { vectors } = JSON.parse(await readFile(new URL("age-vectors.json", import.meta.url), "utf8")) as {
  vectors: Vector[];
};

describe("the age format", () => {
  it.each(vectors)("treats the test vector $name as age does", async (vector) => {
    const identities = vector.identities.map((text) => decodeIdentity(text));
    expect(identities).not.toContain(undefined);
    const stored = Buffer.from(vector.file, "base64");
    const file = vector.compressed === true ? inflateSync(stored) : stored;
    const source = decrypted(
      chunkSource(piecesOf(file)),
      identities.filter((one) => one !== undefined),
    );
    const read = await readAll(source);
    const fault = read.error === undefined ? "success" : faultOf(read.error);
    expect(fault).toBe(vector.expect);
    // How much of a damaged file is released before its damage shows is left to implementations.
    if (fault === "success")
      expect(createHash("sha256").update(read.content).digest("hex")).toBe(vector.payload);
  });
});

function faultOf(error: unknown): string {
  if (!(error instanceof AgeError)) throw error;
  return error.fault === "no match" ? error.fault : `${error.fault} failure`;
}

async function* piecesOf(file: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < file.length; at += 1009) yield file.subarray(at, at + 1009);
}

describe("the tool age", { tags: "rest/age" }, () => {
  it("reads what Cairn encrypts, and Cairn reads what it encrypts, at sizes around those of chunks", async () => {
    const dir = await temporaryDirectory();
    const keys = join(dir, "keys.txt");
    execFileSync("age-keygen", ["-o", keys], { stdio: "ignore" });
    const recipient = execFileSync("age-keygen", ["-y", keys], { encoding: "utf8" }).trim();
    const encryption = await readEncryption(keys);
    expect(encryption.recipients.map((key) => encodeBech32("age", key))).toEqual([recipient]);
    const maxBuffer = 64 * 1024 * 1024;
    for (const size of [0, 1, 65_535, 65_536, 65_537, 131_072, 300 * 65_536 + 5]) {
      const content = randomBytes(size);
      const writer = ageWriter(encryption.recipients);
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
