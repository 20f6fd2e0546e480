import type { ServerTlsFiles } from "../api/system.ts";
import { omitUndefined } from "./source/omit-undefined.ts";
import { mapOf } from "./types/map-type.ts";
import { optional, required } from "./types/parameter.ts";
import { path } from "./types/value-types.ts";

export const serverTlsType = mapOf(
  "tls",
  {
    cert: required(path(), "The certificate, followed by those of intermediate authorities, in PEM format."),
    key: required(path(), "The key of the certificate, without a passphrase, in PEM format."),
    "client-ca": optional(
      path(),
      "The certificates of authorities. If set, the server accepts only clients with a certificate from one of them.",
      "none: clients need no certificate",
    ),
  },
  ({ cert, key, "client-ca": clientCa }): ServerTlsFiles => ({ cert, key, ...omitUndefined({ clientCa }) }),
);
