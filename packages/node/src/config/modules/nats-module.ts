import { isCairnError } from "@cairn/kv";
import { parseServer } from "../../log/nats/nats-server-url.ts";
import { DOMAIN, INBOX_PREFIX, openNatsTxLog } from "../../log/nats/nats-tx-log.ts";
import type { NatsTxLogOptions } from "../../log/nats/nats-tx-log.ts";
import { omitUndefined } from "../source/omit-undefined.ts";
import { txLogParameters } from "./common-parameters.ts";
import { atMostOneOf } from "../types/json-schema.ts";
import { defineModule } from "./module-descriptor.ts";
import { mapOf } from "../types/map-type.ts";
import type { TxLogOpener } from "../types/module-kinds.ts";
import { optional, secret, withDefault } from "../types/parameter.ts";
import { expected, type ValueType } from "../types/reading.ts";
import { boolean, integer, listOf, path, text, textLike } from "../types/value-types.ts";

type Tls = Exclude<NatsTxLogOptions["tls"], undefined>;

const address: ValueType<string> = {
  ...text(),
  name: "server address",
  // If there is a scheme, it must be one that NATS uses.
  jsonSchema: { type: "string", minLength: 1, not: { pattern: "^(?!nats:|tls:)[A-Za-z][A-Za-z0-9+.-]*://" } },
  read(node, at, reading) {
    // The value is not quoted, because it may contain a password.
    const wrong = (): undefined =>
      void reading.problems.add(node.origin, at, "Expected the address of a NATS server.", {
        hint: 'Write "nats://host:4222", or "tls://host:4222".',
      });
    if (node.type !== "string" || /\s/.test(node.text)) return wrong();
    try {
      parseServer(node.text);
    } catch (error) {
      if (isCairnError(error) || error instanceof URIError) return wrong();
      throw error;
    }
    return node.text;
  },
  show: (value) => value.replace(/^(.*\/\/)?[^@/]*@/, "$1(secret)@"),
};

const addressList = listOf(address);

/** A list of addresses, or one string with several addresses separated by commas, like NATS_URL. */
const servers: ValueType<readonly string[]> = {
  ...addressList,
  read(node, at, reading) {
    if (node.type !== "string") return addressList.read(node, at, reading);
    const items = node.text.split(",").map((part) => ({ ...node, text: part.trim() }));
    return addressList.read({ type: "list", items, origin: node.origin }, at, reading);
  },
};

const tlsFiles = mapOf(
  "tls",
  {
    "ca-file": optional(path(), "Certificates of the authorities to trust.", "the system's"),
    "cert-file": optional(path(), "This node's certificate."),
    "key-file": optional(path(), "The key of this node's certificate."),
    "handshake-first?": withDefault(
      boolean(),
      false,
      "Whether to start the TLS handshake before the server sends anything.",
    ),
  },
  (values, fail): Tls | undefined => {
    const { "ca-file": caFile, "cert-file": certFile, "key-file": keyFile } = values;
    if ((certFile === undefined) !== (keyFile === undefined)) {
      return fail("cert-file and key-file must be set together.", "Set both cert-file and key-file.");
    }
    const handshakeFirst = values["handshake-first?"] || undefined;
    return omitUndefined({ caFile, certFile, keyFile, handshakeFirst });
  },
);

const tls: ValueType<Tls> = {
  name: "boolean or map",
  ...omitUndefined({ parameters: tlsFiles.parameters }),
  jsonSchema: { anyOf: [{ type: "boolean" }, tlsFiles.jsonSchema] },
  read(node, at, reading) {
    if (node.type === "boolean") return node.value;
    if (node.type === "map") return tlsFiles.read(node, at, reading);
    return expected(node, at, reading, "true, false, or a map with files");
  },
  show: (value) => (typeof value === "boolean" ? value : undefined),
};

const LOGINS = ["credentials-file", "user", "token", "nkey-seed-file"] as const;

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
      textLike(/^[^\s.*>/\\]{1,255}$/, "a stream's name, without white space and . * > / \\"),
      "cairn",
      "The name of the stream and of the log.",
    ),
    domain: optional(
      textLike(DOMAIN, "a domain's name, without white space and . * >"),
      "The JetStream domain of the stream.",
      "that of the server",
    ),
    replicas: withDefault(integer(1, 5), 1, "The number of replicas of a stream that the node creates."),
    "create-stream?": withDefault(
      boolean(),
      true,
      "Whether the node may create the stream if it does not exist.",
    ),
    "credentials-file": optional(path(), "A .creds file."),
    user: optional(text(), "A user's name; requires `password`."),
    password: secret("The user's password."),
    token: secret("A token."),
    "nkey-seed-file": optional(path(), "A file with the seed of an nkey."),
    "inbox-prefix": optional(
      textLike(INBOX_PREFIX, "parts of a subject separated by dots, without white space, * and >"),
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
  constraint: { ...atMostOneOf(LOGINS), dependentRequired: { password: ["user"], user: ["password"] } },
  check(values) {
    const ways = LOGINS.filter((name) => values[name] !== undefined);
    if (ways.length > 1)
      return { message: `More than one login method is configured: ${ways.join(", ")}.`, hint: "Keep one." };
    if (values.user !== undefined && values.password === undefined)
      return { message: "A user is configured without a password.", hint: "Set password as well." };
    if (values.password === undefined || values.user !== undefined) return undefined;
    return { message: "A password is configured without a user.", hint: "Set user as well, or use token." };
  },
  common: (values) => ({ "on-log-mismatch": values["on-log-mismatch"], trim: values.trim }),
  create(values, context) {
    const options: NatsTxLogOptions = omitUndefined({
      servers: values.servers,
      stream: values.stream,
      domain: values.domain,
      replicas: values.replicas,
      createStream: values["create-stream?"],
      maxInflight: values["max-inflight"],
      clientName: `cairn ${context.nodeId}`,
      credentialsFile: values["credentials-file"],
      nkeySeedFile: values["nkey-seed-file"],
      user: values.user,
      password: values.password,
      token: values.token,
      inboxPrefix: values["inbox-prefix"],
      tls: values.tls,
    });
    const open: TxLogOpener = ({ signal }) => openNatsTxLog({ ...options, signal });
    return Object.assign(open, { logName: values.stream });
  },
});
