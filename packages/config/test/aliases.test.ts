import { expect, test } from "vitest";
import { olderModule } from "../src/modules/aliases.ts";
import { configOf } from "./support/read.ts";

test.each([
  ["crux.rocksdb/->kv-store", "cairn.leveldb/->kv-store"],
  ["xtdb.rocksdb/->kv-store", "cairn.leveldb/->kv-store"],
  ["crux.lmdb/->kv-store", "cairn.leveldb/->kv-store"],
  ["xtdb.mem-kv/->kv-store", "cairn.memory/->kv-store"],
  ["xtdb.kv.mem-kv/->kv-store", "cairn.memory/->kv-store"],
  ["crux.checkpoint/->checkpointer", "cairn.checkpoint/->checkpointer"],
  ["xtdb.checkpoint/->filesystem-checkpoint-store", "cairn.checkpoint/->filesystem-checkpoint-store"],
  ["xtdb.s3.checkpoint/->cp-store", "cairn.s3/->checkpoint-store"],
  ["xtdb.s3.checkpoint-transfer-manager/->cp-store", "cairn.s3/->checkpoint-store"],
  ["xtdb.kv.tx-log/->tx-log", "cairn.embedded/->tx-log"],
])("%s is read as %s", (older, id) => {
  expect(olderModule(older)).toEqual({ id });
});

test.each([
  "xtdb.kafka/->tx-log",
  "crux.kafka/->ingest-only-tx-log",
  "xtdb.jdbc/->tx-log",
  "xtdb.kv.document-store/->document-store",
  "xtdb.kafka/->document-store",
  "xtdb.s3/->document-store",
  "xtdb.lucene/->lucene-store",
  "xtdb.azure.blobs/->cp-store",
  "xtdb.google.cloud-storage/->checkpoint-store",
])("%s has no counterpart, and the hint names the alternative", (older) => {
  expect(olderModule(older)).toMatchObject({
    message: expect.stringContaining(older),
    hint: expect.any(String),
  });
});

test.each(["cairn.leveldb/->kv-store", "./crux.rocksdb.js#x", "my-package", "rocksdb"])(
  "%s is not an older name",
  (name) => {
    expect(olderModule(name)).toBeUndefined();
  },
);

test("each older name is reported once, with its position", async () => {
  const edn = `{:xtdb/index-store {:kv-store {:xtdb/module xtdb.rocksdb/->kv-store
                 :checkpointer {:xtdb/module xtdb.checkpoint/->checkpointer :approx-frequency "PT1H" :store {:path "/c"}}}}
 :xtdb.http-server/server {:port 3001}}`;
  const config = await configOf({ edn });
  expect(config.http?.port).toBe(3001);
  expect(config.notices).toEqual([
    'xtdb.http-server/server (-e:3:2) is read as cairn/http-server, which listens only on 127.0.0.1 unless "host" is set ("0.0.0.0" for all addresses; then set an auth-token).',
    "xtdb.rocksdb/->kv-store (-e:1:45) is read as cairn.leveldb/->kv-store.",
    "xtdb.checkpoint/->checkpointer (-e:2:46) is read as cairn.checkpoint/->checkpointer.",
  ]);
});

test("different behavior under the same names is reported", async () => {
  const server = '{:xtdb.http-server/server {:port 3001 :host "10.0.0.1"}}';
  expect((await configOf({ edn: server })).notices).toEqual([
    "xtdb.http-server/server (-e:1:2) is read as cairn/http-server.",
  ]);
  const store = "{:xtdb/index-store {:kv-store {:xtdb/module xtdb.rocksdb/->kv-store}}";
  expect((await configOf({ edn: `${store}}` })).notices).toEqual([
    "xtdb.rocksdb/->kv-store (-e:1:45) is read as cairn.leveldb/->kv-store.",
    'No HTTP server is configured, but this node still serves 127.0.0.1:3000 ("cairn/http-server": null disables the server).',
  ]);
  expect((await configOf({ edn: `${store} :cairn/http-server nil}` })).notices).toHaveLength(1);
});
