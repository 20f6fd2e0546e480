import { TOKEN_PATTERN } from "../api/system.ts";
import { serverTlsType } from "./tls-parameters.ts";
import { tokensType } from "./token-parameters.ts";
import { duration } from "./types/duration-type.ts";
import { optional, secret, withDefault } from "./types/parameter.ts";
import { boolean, integer, listOf, textLike } from "./types/value-types.ts";

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
    serverTlsType,
    "The files for TLS. They are read again when they change.",
    "none: the server uses plain HTTP",
  ),
  tokens: optional(
    tokensType,
    "Tokens with rights, by name. Requests carry one as `Authorization: Bearer`.",
    "none: no token is required",
  ),
  "auth-token": secret("A token with all rights and without a name; never printed.", "none", {
    pattern: TOKEN_PATTERN,
    expected: "visible ASCII characters without blanks, such as the output of openssl rand -hex 32",
  }),
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
  page: withDefault(
    boolean(),
    true,
    "Whether the server serves the page at `/`, which shows the cluster in a browser.",
  ),
};

/** The notice about servers without a host. In the older systems, such servers listen on all addresses. */
export const LOOPBACK_ONLY =
  'listens only on 127.0.0.1 unless "host" is set ("0.0.0.0" for all addresses; then set an auth-token).';
