import { isCairnError } from "@cairn/kv";
import { parseServer } from "@cairn/text";
import { txLogParameters } from "./common-parameters.ts";
import { eitherOf } from "../types/json-schema.ts";
import { defineModule } from "./module-descriptor.ts";
import { optionalPackage } from "./optional-package.ts";
import { mapOf } from "../types/map-type.ts";
import type { TxLogOpener } from "../types/module-kinds.ts";
import { camelCase, optional, withDefault } from "../types/parameter.ts";
import type { ValueType } from "../types/reading.ts";
import {
  boolean,
  integer,
  listOf,
  neededFile,
  privateText,
  secret,
  text,
  textLike,
} from "../types/value-types.ts";

const address: ValueType<string> = {
  ...privateText(
    "server address",
    "the address of a NATS server",
    isAddress,
    'Write "nats://host:4222" or "tls://host:4222", and special characters of a password percent-encoded ("/" is %2F).',
  ),
  // A password may contain an @.
  show: (value) => value.replace(/^(.*?\/\/)?.*@/, "$1(secret)@"),
};

function isAddress(server: string): boolean {
  if (/\s/.test(server)) return false;
  try {
    parseServer(server);
    return true;
  } catch (error) {
    if (isCairnError(error) || error instanceof URIError) return false;
    throw error;
  }
}

const addressList = listOf(address);

/** A list of addresses, or one string with several addresses separated by commas, like NATS_URL. */
const servers: ValueType<readonly string[]> = {
  ...addressList,
  read(value) {
    const { node } = value;
    if (node.type !== "string") return addressList.read(value);
    const items = node.text.split(",").map((part) => ({ ...node, text: part.trim() }));
    return addressList.read(value.as({ type: "list", items, origin: node.origin }));
  },
};

const tlsFiles = mapOf(
  "tls",
  {
    "ca-file": optional(neededFile(), "Certificates of the authorities to trust.", "the system's"),
    "cert-file": optional(neededFile(), "This node's certificate."),
    "key-file": optional(neededFile(), "The key of this node's certificate."),
    "handshake-first?": withDefault(
      boolean(),
      false,
      "Whether to start the TLS handshake before the server sends anything.",
    ),
  },
  ({ certFile, keyFile }) =>
    (certFile === undefined) === (keyFile === undefined)
      ? undefined
      : { message: "cert-file and key-file must be set together.", hint: "Set both cert-file and key-file." },
);

const tls: ValueType<boolean | ReturnType<typeof tlsFiles.read>> = {
  ...tlsFiles,
  name: "boolean or map",
  jsonSchema: eitherOf({ type: "boolean" }, tlsFiles.jsonSchema),
  read(value) {
    const { node } = value;
    if (node.type === "boolean") return node.value;
    return node.type === "map" ? tlsFiles.read(value) : value.expected("true, false, or a map with files");
  },
  show: (value) => (typeof value === "boolean" ? value : undefined),
};

const STREAM = /^[^\s\p{Cc}\p{Cs}.*>/\\]{1,255}$/u;
/** The syntax of JetStream domains: one token of a subject. */
const DOMAIN = /^[^\s\p{Cc}\p{Cs}.*>]{1,255}$/u;
/** Subjects without wildcards that do not begin with `$`, as the server's own subjects do. */
const INBOX_PREFIX = /^(?!\$)[^\s\p{Cc}\p{Cs}.*>]{1,100}(\.[^\s\p{Cc}\p{Cs}.*>]{1,100}){0,9}$/u;

const LOGINS = ["credentials-file", "user", "token", "nkey-seed-file"] as const;

const logNats = optionalPackage("@cairn/log-nats", () => import("@cairn/log-nats"));

export const natsTxLog = defineModule({
  id: "cairn.nats/->tx-log",
  kind: "tx-log",
  doc: "A log on a NATS JetStream stream, for a cluster.",
  parameters: {
    servers: withDefault(
      servers,
      ["nats://127.0.0.1:4222"],
      "The addresses of the NATS servers; overridden by `NATS_URL`.",
    ),
    stream: withDefault(
      textLike(
        STREAM,
        "a stream's name of at most 255 characters, without white space, control characters and . * > / \\",
      ),
      "cairn",
      "The name of the stream and of the log.",
    ),
    domain: optional(
      textLike(
        DOMAIN,
        "a domain's name of at most 255 characters, without white space, control characters and . * >",
      ),
      "The JetStream domain of the stream.",
      "that of the server",
    ),
    replicas: withDefault(integer(1, 5), 1, "The number of replicas of a stream that the node creates."),
    "create-stream?": withDefault(
      boolean(),
      true,
      "Whether the node may create the stream if it does not exist.",
    ),
    "credentials-file": optional(neededFile(), "A .creds file."),
    user: optional(text(), "A user's name; requires `password`."),
    password: optional(secret(), "The user's password."),
    token: optional(secret(), "A token."),
    "nkey-seed-file": optional(neededFile(), "A file with the seed of an nkey."),
    "inbox-prefix": optional(
      textLike(
        INBOX_PREFIX,
        "at most ten parts of a subject separated by dots, of at most 100 characters each, without white space, control characters, * and >, and without $ at the beginning",
      ),
      "The prefix of the subjects on which the servers respond.",
      "`_INBOX`",
    ),
    tls: optional(tls, "Whether to use TLS, and the files to use.", "as the servers require"),
    "max-inflight": withDefault(
      integer(1, 100_000),
      2000,
      "The maximum number of transactions that await the server's acknowledgement at a time.",
    ),
    ...txLogParameters,
  },
  check(values) {
    const ways = LOGINS.filter((name) => Object.hasOwn(values, camelCase(name)));
    if (ways.length > 1)
      return { message: `More than one login method is configured: ${ways.join(", ")}.`, hint: "Keep one." };
    if (values.user !== undefined && values.password === undefined)
      return { message: "A user is configured without a password.", hint: "Set password as well." };
    if (values.password === undefined || values.user !== undefined) return undefined;
    return { message: "A password is configured without a user.", hint: "Set user as well, or use token." };
  },
  async requires(folder, values, { isForNode, problems }) {
    const { credentialOptions } = await logNats(folder);
    // A file that cannot be read is a problem already.
    if (isForNode && problems.problems.length === 0) await credentialOptions(values, []);
  },
  async create({ onLogMismatch: _mismatch, trim: _trim, ...options }, { nodeId }, folder) {
    const { openNatsTxLog } = await logNats(folder);
    const open: TxLogOpener = ({ signal }) =>
      openNatsTxLog({ ...options, clientName: `cairn ${nodeId}`, signal });
    return Object.assign(open, { logName: options.stream });
  },
});
