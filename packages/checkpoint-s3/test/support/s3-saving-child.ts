// This process saves one checkpoint into a bucket: node s3-saving-child.js '{"store", "dir", "bytes", "leaseMs"}'
import { randomBytes } from "node:crypto";
import { s3Store, type S3StoreOptions } from "@cairn/checkpoint-s3";
import { take } from "@cairn/test-support/stores/rounds";
import { testSource } from "@cairn/test-support/stores/test-source";

interface Asked {
  readonly store: S3StoreOptions;
  readonly dir: string;
  readonly bytes: number;
  readonly leaseMs: number;
}

const { store: options, dir, bytes, leaseMs } = JSON.parse(process.argv[2] ?? "") as Asked;
const store = s3Store(options);
const source = testSource("killed");
source.files = { "000001.ldb": randomBytes(bytes) };
await take(store, source, dir, { leaseMs });
await store.close();
