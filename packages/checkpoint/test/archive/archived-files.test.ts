import { Readable } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { openArchive } from "../../src/archive/archived-files.ts";
import { archiveSize } from "../../src/archive/tar-format.ts";
import { ageWriter } from "../../src/encryption/age-payload.ts";
import { encryptedStore } from "../../src/index.ts";
import type { CheckpointStore } from "../../src/store/checkpoint-store.ts";
import type { Manifest } from "../../src/store/checkpoint.ts";
import { encryptionWith, memoryStore, newIdentity } from "../../testing/index.ts";
import { temporaryDirectory } from "@cairn/test-support/stores/places";
import { forgeArchive, manifestOf } from "../support/archives.ts";

// The files end at, before and behind the borders of blocks and of encrypted chunks.
const FILES = Object.fromEntries(
  [1, 511, 512, 65_536 - 1_024, 65_536, 200_000, 0].map((bytes, at) => [
    `00000${at}.ldb`,
    Buffer.from(Array.from({ length: bytes }, (_, place) => (place * 31 + at) & 0xff)),
  ]),
);
const NAMES = Object.keys(FILES);

interface Stored {
  readonly store: CheckpointStore;
  readonly manifest: Manifest;
  readonly archive: Buffer;
}

async function stored(isEncrypted: boolean, change: (archive: Buffer) => void = () => {}): Promise<Stored> {
  const plain = forgeArchive(Object.entries(FILES).map(([path, content]) => ({ path, content })));
  let store: CheckpointStore = memoryStore();
  let archive = plain;
  if (isEncrypted) {
    const encryption = await encryptionWith(await temporaryDirectory(), [newIdentity()]);
    store = encryptedStore(store, encryption);
    const writer = ageWriter(encryption.recipients);
    archive = Buffer.concat([writer.head, ...writer.update(plain), ...writer.end()]);
  }
  const manifest = manifestOf(archive, FILES);
  change(archive);
  await store.upload(manifest.archive.name, Readable.from([archive]));
  const format = { ...manifest.format, archive: isEncrypted ? "tar+age/1" : "tar/1" };
  return { store, manifest: { ...manifest, format }, archive };
}

test.each([false, true])(
  "any range of any file is what was packed (encrypted: %s)",
  { tags: "rest/slow" },
  async (isEncrypted) => {
    const { store, manifest } = await stored(isEncrypted);
    const files = await openArchive(store, "checkpoint", manifest);
    expect(files.sizes).toEqual(new Map(manifest.files.map(({ name, bytes }) => [name, bytes])));
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...NAMES), fc.nat(), fc.nat(), async (name, from, length) => {
        const content = FILES[name] ?? Buffer.alloc(0);
        const start = content.length === 0 ? 0 : from % content.length;
        const end = Math.min(content.length, start + (length % 150_000));
        expect(await files.read(name, start, end)).toEqual(content.subarray(start, end));
      }),
    );
    for (const name of NAMES) expect(await files.whole(name)).toEqual(FILES[name]);
    await files.close();
  },
);

test("a changed byte of an encrypted archive is never decrypted", { tags: "rest/slow" }, async () => {
  for (let at = 0; at < 400_000; at += 7_001) {
    const { store, manifest } = await stored(true, (archive) => {
      archive[at % archive.length] = (archive[at % archive.length] ?? 0) ^ 4;
    });
    const reading = async (): Promise<void> => {
      const files = await openArchive(store, "checkpoint", manifest);
      for (const name of NAMES)
        expect(await files.read(name, 0, FILES[name]?.length ?? 0)).toEqual(FILES[name]);
    };
    // Bytes of headers and of padding are in no file.
    await reading().catch((error: unknown) => expect(error).toMatchObject({ code: "CHECKPOINT_CORRUPT" }));
  }
});

test("a file that is read as a whole is compared with its digest, and with a bound on its size", async () => {
  const { store, manifest } = await stored(false, (archive) => {
    const at = archive.length - 200_000;
    archive[at] = (archive[at] ?? 0) ^ 1;
  });
  const files = await openArchive(store, "checkpoint", manifest);
  await expect(files.whole("000005.ldb")).rejects.toMatchObject({ code: "CHECKPOINT_CORRUPT" });
  const [first] = manifest.files;
  const large = [{ name: "000001.log", sha256: first?.sha256 ?? "", bytes: 200 << 20 }];
  const forged = { ...manifest, files: large, archive: { ...manifest.archive, bytes: archiveSize(large) } };
  const opened = await openArchive(store, "checkpoint", forged);
  await expect(opened.whole("000001.log")).rejects.toMatchObject({ code: "REQUEST_INVALID" });
});

test("an archive whose size is not that of its files is refused", async () => {
  const { store, manifest } = await stored(false);
  const files = manifest.files.slice(1);
  await expect(openArchive(store, "checkpoint", { ...manifest, files })).rejects.toMatchObject({
    code: "CHECKPOINT_CORRUPT",
  });
});
