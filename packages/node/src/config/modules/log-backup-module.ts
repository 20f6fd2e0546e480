import { BackupReader } from "../../backup/backup-reader.ts";
import { duration } from "../types/duration-type.ts";
import { optional, required, withDefault } from "../types/parameter.ts";
import { textLike } from "../types/value-types.ts";
import { txLogParameters } from "./common-parameters.ts";
import { encryption, keyedStores } from "./encryption-parameters.ts";
import { defineModule } from "./module-descriptor.ts";
import { moduleOf } from "./module-type.ts";

/** `cairn.log-backup/->tx-log`. */
export const logBackupTxLog = defineModule({
  id: "cairn.log-backup/->tx-log",
  kind: "tx-log",
  doc: "The backup of a log in a checkpoint store, for nodes that only read. Nothing is written to the store.",
  parameters: {
    store: required(moduleOf("checkpoint-store"), "The store to which other nodes back the log up."),
    "log-id": optional(
      textLike(/^\S+$/, "the id of a log, which cairn log status shows"),
      "The log to read.",
      "the only one in the store, or the newest of several of which each was recovered from another",
    ),
    every: withDefault(duration(), 10_000, "How often the store is listed for new segments."),
    encryption: optional(
      encryption,
      "The keys with which the segments are encrypted.",
      "none: they are not encrypted",
    ),
    "on-log-mismatch": txLogParameters["on-log-mismatch"],
  },
  async create({ encryption: keys, store: source, ...options }, context) {
    const keyed = await keyedStores(keys);
    const store = keyed(await source.create(context));
    return ({ signal }) => Promise.resolve(new BackupReader({ ...options, store, signal }));
  },
});
