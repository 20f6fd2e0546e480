import { type AddCommand, commandGroup } from "../options/command-options.ts";
import { bucketProblem } from "../../text/document-key.ts";
import { UsageError } from "../terminal/report-error.ts";
import {
  describeImport,
  describeKeyValueImport,
  type ImportOptions,
  type KeyValueOptions,
  placementOf,
  keyValueRecords,
  runImport,
} from "./import-command.ts";

const addNdjson: AddCommand = (parent, terminal) => {
  describeImport(
    parent.command("ndjson <file>"),
    "Import documents from an NDJSON file (- for standard input): an export, or one document per line",
    [
      "cairn import ndjson all.ndjson",
      "cairn import ndjson people.ndjson --key-member email --bucket people",
    ],
  )
    .option("--key-member <member>", "each line is a document, and this member of it is its key")
    .action(async (file: string, options: ImportOptions & { keyMember?: string }) => {
      const { keyMember, bucket } = options;
      if (keyMember === undefined && (bucket !== undefined || options.keyPattern !== undefined)) {
        throw new UsageError(
          "--bucket and --key-pattern require --key-member: the lines of an export name their bucket.",
        );
      }
      if (keyMember !== undefined && bucket === undefined && options.keyPattern === undefined) {
        throw new UsageError(
          "--key-member requires --bucket.",
          "Name the bucket of the documents with --bucket.",
        );
      }
      const { openNdjsonSource } = await import("./ndjson-source.ts");
      const placement = placementOf(options, "");
      await runImport(terminal, options, () => openNdjsonSource(file, terminal, { placement, keyMember }));
    });
};

const addNatsKv: AddCommand = (parent, terminal) => {
  describeKeyValueImport(
    parent.command("nats-kv <servers> <kv-bucket>"),
    "Import a key-value bucket of NATS",
    ["cairn import nats-kv nats://127.0.0.1:4222 settings"],
  )
    .option("--credentials-file <file>", "a .creds file for NATS")
    .action(
      async (servers: string, kvBucket: string, options: KeyValueOptions & { credentialsFile?: string }) => {
        const { prefix, credentialsFile, bucket = kvBucket } = options;
        const problem = bucketProblem(bucket);
        if (problem !== undefined && options.keyPattern === undefined) {
          throw new UsageError(`Not a valid bucket name: ${problem}.`, "Name another bucket with --bucket.");
        }
        const { openNatsKv } = await import("./nats-kv-source.ts");
        await runImport(terminal, options, async () => {
          const source = await openNatsKv({ servers, credentialsFile, kvBucket, prefix });
          return keyValueRecords(source, placementOf(options, bucket), options);
        });
      },
    );
};

const addEtcd: AddCommand = (parent, terminal) => {
  describeKeyValueImport(
    parent.command("etcd <endpoint>"),
    "Import the keys of etcd as of one revision (user and password: ETCDCTL_USER)",
    ["cairn import etcd http://127.0.0.1:2379 --prefix /services/"],
  ).action(async (endpoint: string, options: KeyValueOptions) => {
    const { openEtcd } = await import("./etcd-source.ts");
    const user = terminal.env["ETCDCTL_USER"] ?? "";
    await runImport(terminal, options, async () => {
      const source = await openEtcd({ endpoint, user, prefix: options.prefix });
      return keyValueRecords(source, placementOf(options, "etcd"), options);
    });
  });
};

const addRedis: AddCommand = (parent, terminal) => {
  describeKeyValueImport(
    parent.command("redis <address>"),
    "Import the strings, hashes, lists, sets and sorted sets of a Redis database",
    ["cairn import redis redis://127.0.0.1:6379/0 --prefix session:"],
  ).action(async (url: string, options: KeyValueOptions) => {
    const { openRedis } = await import("./redis-source.ts");
    await runImport(terminal, options, async () => {
      const source = await openRedis({ url, prefix: options.prefix });
      return keyValueRecords(source, placementOf(options, "redis"), options);
    });
  });
};

export const addImport: AddCommand = commandGroup(
  "import",
  "Import documents from files and other stores; a repeated import writes only what differs",
  [addNdjson, addNatsKv, addEtcd, addRedis],
);
