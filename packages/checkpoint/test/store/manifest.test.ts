import { expect, test } from "vitest";
import { decodeManifest, encodeManifest } from "../../src/store/checkpoint.ts";
import { NAME, sealed, someManifest } from "../support/manifests.ts";

test("a decoded manifest equals the encoded one, and unknown fields do not matter", () => {
  const manifest = someManifest();
  const { text, sha256 } = encodeManifest(manifest);
  expect(decodeManifest(NAME, text)).toEqual({ ...manifest, sha256 });
  const later = sealed({
    ...manifest,
    compactedBy: "node-7",
    log: { ...manifest.log, kind: "nats" },
  });
  expect(decodeManifest(NAME, later)).toMatchObject(manifest);
});

test.each([
  ["nothing", ""],
  ["half a manifest", encodeManifest(someManifest()).text.slice(0, 200)],
  ["another kind of JSON", "[]"],
  ["null", "null"],
  ["EDN", "{:xtdb.checkpoint/cp-format {:index-version 22}, :tx {:tx-id 5}}"],
  ["a digit changed", encodeManifest(someManifest()).text.replace('"documents": 300', '"documents": 301')],
  ["a changed digit in its checksum", encodeManifest(someManifest()).text.replace(/[0-9a-f]"\n\}/, 'x"\n}')],
  ["no checksum", JSON.stringify(someManifest())],
  ["a missing digest", sealed({ ...someManifest(), files: [{ name: "CURRENT", bytes: 16 }] })],
  ["a negative size", sealed({ ...someManifest(), documents: -1 })],
  ["no files", sealed({ ...someManifest(), files: [] })],
  ["a different transaction from its name", sealed({ ...someManifest(), txId: 1001 })],
  ["a different time from its name", sealed({ ...someManifest(), takenAt: "2026-11-20T06:12:26.124Z" })],
  [
    "an anchor beyond its transaction",
    sealed({ ...someManifest(), anchor: { txId: 1001, sha256: "0".repeat(64) } }),
  ],
  [
    "an anchor before its transaction",
    sealed({ ...someManifest(), anchor: { txId: 999, sha256: "0".repeat(64) } }),
  ],
  ["another checkpoint's archive", sealed(someManifest({ archiveName: "checkpoint-1.tar" }))],
  ["an archive elsewhere", sealed(someManifest({ archiveName: "../checkpoint-1.tar" }))],
  ["a file twice", sealed(someManifest({ files: ["CURRENT", "CURRENT"] }))],
  ["a file outside", sealed(someManifest({ files: ["../CURRENT"] }))],
  ["a file in a folder", sealed(someManifest({ files: ["a/CURRENT"] }))],
  ["a hidden file", sealed(someManifest({ files: [".profile"] }))],
])("%s is refused as corrupt, by name and with a hint", (_what, text) => {
  let refused: unknown;
  try {
    decodeManifest(NAME, text);
  } catch (error) {
    refused = error;
  }
  expect(refused).toMatchObject({ code: "CHECKPOINT_CORRUPT", hint: expect.stringContaining("checkpoint") });
  expect(String(refused)).toContain(NAME);
});

test.each(["(globalThis.ran = true, {})", "#=(System/exit 0)", '{"__proto__": {"txId": 1}}', "null", "[]"])(
  "a manifest with %s is refused",
  (text) => {
    expect(() => decodeManifest(NAME, text)).toThrow(expect.objectContaining({ code: "CHECKPOINT_CORRUPT" }));
    expect(globalThis).not.toHaveProperty("ran");
  },
);
