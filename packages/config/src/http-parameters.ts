import { ALL_RIGHTS } from "@cairn/client/protocol";
import { TOKEN_PATTERN, type TokenOptions } from "@cairn/engine";
import { duration } from "./types/duration-type.ts";
import { mapByName, mapOf } from "./types/map-type.ts";
import { optional, required, withDefault } from "./types/parameter.ts";
import {
  boolean,
  bucketName,
  choice,
  integer,
  listOf,
  neededFile,
  secret,
  text,
  textLike,
} from "./types/value-types.ts";

const serverTls = mapOf("tls", {
  cert: required(
    neededFile(),
    "The certificate, followed by those of intermediate authorities, in PEM format.",
  ),
  key: required(neededFile(), "The key of the certificate, without a passphrase, in PEM format."),
  "client-ca": optional(
    neededFile(),
    "The certificates of authorities. If set, the server accepts only clients with a certificate from one of them.",
    "none: clients need no certificate",
  ),
});

const tokenParameters = {
  file: optional(
    neededFile(),
    "A file with the token. It may have several lines, each of which is a valid token, so that an old and a new token overlap. The file is read again when it changes.",
  ),
  env: optional(text(), "The environment variable with the token, instead of a file."),
  rights: required(listOf(choice(ALL_RIGHTS)), "What the token permits."),
  buckets: optional(
    listOf(bucketName()),
    "The only buckets that requests with the token may name. `observe` and `operate` cannot be limited to buckets.",
    "all",
  ),
};

/** The rights that concern the whole node, and therefore cannot be limited to buckets. */
const NODE_RIGHTS: TokenOptions["rights"] = ["observe", "operate"];

/** The type of `tokens`. A name is written into the log with each transaction, so it must have no blanks. */
const tokensType = mapByName(
  /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
  "a name of letters, digits, dots, hyphens and underscores, 64 at most",
  (name) =>
    mapOf(`The token ${name}`, tokenParameters, ({ file, env, rights, buckets }) => {
      if ((file === undefined) === (env === undefined))
        return {
          message: `The token ${name} must have either file or env.`,
          hint: "Set file to a file that contains the token, or env to the environment variable that does.",
        };
      const whole = rights.find((right) => NODE_RIGHTS.includes(right));
      if (buckets === undefined || whole === undefined) return undefined;
      return {
        message: `The token ${name} has the right ${whole}, which concerns the whole node, and buckets.`,
        hint: `Remove buckets, or remove ${whole} from the rights and configure another token with it.`,
      };
    }),
);

/** A name, or an address of IPv4 or IPv6. Only the latter contains colons, at least two. */
const HOST = /^(?:[^\s:/]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*(?:%[^\s/]+)?)$/;

export const httpParameters = {
  host: withDefault(
    textLike(HOST, 'an address or a name without a port, such as "0.0.0.0"'),
    "127.0.0.1",
    "The address on which the server listens; `0.0.0.0` and `::` stand for all addresses.",
  ),
  port: withDefault(
    integer(0, 65_535),
    3000,
    "The port on which the server listens; 0 stands for any free port.",
  ),
  tls: optional(
    serverTls,
    "The files for TLS. They are read again when they change.",
    "none: the server uses plain HTTP",
  ),
  tokens: optional(
    tokensType,
    "Tokens with [rights](http.md#rights), by name. Requests carry one as `Authorization: Bearer`.",
    "none: no token is required",
  ),
  "auth-token": optional(
    secret(
      TOKEN_PATTERN,
      "visible ASCII characters without blanks, such as the output of openssl rand -hex 32",
    ),
    "A token with all rights and without a name; never printed.",
    "none",
  ),
  "max-body": withDefault(
    integer(1024, 256 * 1024 * 1024),
    1_048_576,
    "The maximum size of the body of a request, in bytes.",
  ),
  "cors-origins": optional(
    listOf(textLike(/^(?:https?:\/\/[^/\s*]+|\*)$/, 'an origin such as "https://dash.example", or "*"')),
    'Origins whose pages may send requests to this node from a browser; `"*"`: all.',
    "none",
  ),
  "allowed-hosts": optional(
    listOf(textLike(/^[A-Za-z0-9.-]+$/, "a host name without a port")),
    "Host names, in addition to `localhost`, `127.0.0.1`, `[::1]` and `host`, to which requests may be addressed. They are checked only if no token is required and `host` is a loopback address.",
    "none",
  ),
  drain: optional(
    duration(),
    "How long a stopping node continues to serve requests, while `/health/ready` returns 503 and every response closes its connection, so that proxies move to other nodes.",
    "it stops immediately",
  ),
  "ready-max-lag": optional(
    duration(),
    "How far a ready node may lag behind its log, or not hear from it, before `/health/ready` returns 503, so that load balancers prefer other nodes. It serves all the same.",
    "none: a ready node stays ready",
  ),
  page: withDefault(
    boolean(),
    true,
    "Whether the server serves the page at `/`, which shows the cluster in a browser.",
  ),
};

/** The notice about servers without a host. In the older systems, such servers listen on all addresses. */
export const LOOPBACK_ONLY =
  'listens only on 127.0.0.1 unless "host" is set ("0.0.0.0" for all addresses; then set an auth-token).';
