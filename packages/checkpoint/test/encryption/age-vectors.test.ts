import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { inflateSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { AgeError } from "../../src/encryption/age-error.ts";
import { decrypted } from "../../src/encryption/age-payload.ts";
import { decodeIdentity } from "../../src/encryption/key-file.ts";
import { chunkSource } from "../../src/archive/unpack/receive-archive.ts";
import { readAll } from "../support/read-all.ts";

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
