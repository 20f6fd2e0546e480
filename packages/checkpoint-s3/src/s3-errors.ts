import { STORE_FULL_HINT } from "@cairn/checkpoint";
import { CairnError, type ErrorCode, errorMessage, systemErrorCode } from "@cairn/kv";
import type { S3Settings } from "./s3-options.ts";

export interface Refusal {
  /** The HTTP status; 0 if there was no response. */
  readonly status: number;
  /** The service's error code, such as `NoSuchKey`. */
  readonly word: string;
  /** The number of attempts. If there were several, an earlier one may have succeeded. */
  readonly attempts: number;
}

export interface S3Request extends Pick<S3Settings, "location" | "profile"> {
  /** A participle phrase for messages, such as "writing a.tar". */
  readonly doing: string;
  /** The permission that the request needs, as Amazon names it. */
  readonly permission: string;
}

export const NOT_S3_HINT =
  "Check that the endpoint is an S3 service, and that no proxy changes its responses.";
const WAIT = "The request is retried; if the error persists, check the service and the network to it.";

/** The classes of errors: the code, the reason (% stands for the words of the service or the SDK), and the hint. */
const CLASSES = {
  settings: [
    "CONFIG_INVALID",
    "its settings cannot be used (%)",
    "Correct the store's parameters (`region`, `endpoint`, `credentials`), the AWS_ variables (AWS_REGION and others) or the AWS configuration files.",
  ],
  credentials: [
    "STORE_DENIED",
    "there are no valid credentials (%)",
    "Check the credentials: the store's `credentials`, the profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Renew those of a session that has ended (aws sso login). A running node reads the AWS files again by itself; after a change of its variables or its configuration, restart it. A proxy that changes the host or the path also makes signatures invalid.",
  ],
  clock: [
    "STORE_DENIED",
    "this machine's clock differs from the service's by too much (%)",
    "Set this machine's clock, or the service's.",
  ],
  bucket: [
    "STORE_UNREACHABLE",
    "there is no such bucket (%)",
    "Create the bucket, or correct `bucket`, `endpoint` and `region`; Cairn does not create buckets.",
  ],
  region: [
    "STORE_DENIED",
    "the bucket is in another region (%)",
    "Set the store's `region` to the bucket's.",
  ],
  foreign: ["STORE_UNREACHABLE", "it returned status % and a response that is not from S3", NOT_S3_HINT],
  full: ["STORE_FULL", "there is no space left (%)", STORE_FULL_HINT],
  denied: [
    "STORE_DENIED",
    "these credentials do not permit it (%)",
    "Allow the named permission on the bucket or below the prefix. To save, restore and remove, a node needs s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on objects, and s3:ListBucket on the bucket.",
  ],
  tls: [
    "STORE_UNREACHABLE",
    "the service's certificate is not trusted, or it does not speak TLS (%)",
    "Check whether the endpoint must begin with http: or https:; NODE_EXTRA_CA_CERTS names a file with your own authorities.",
  ],
  silent: [
    "STORE_UNREACHABLE",
    "the service did not respond (%)",
    `${WAIT} If the network is slow, raise the store's \`request-timeout\`.`,
  ],
  failing: ["STORE_UNREACHABLE", "it responded with %", WAIT],
  refused: [
    "STORE_DENIED",
    "the service refused the request (%)",
    "The message comes from the service: check region, endpoint, force-path-style?, storage-class and kms-key-id of the store, which differ from service to service, and life-cycle rules that archive objects.",
  ],
} as const satisfies Record<string, readonly [ErrorCode, string, string]>;

/** The classes of error codes that say more than their status. */
const WORDS: Readonly<Record<string, keyof typeof CLASSES>> = {
  NoSuchBucket: "bucket",
  InvalidAccessKeyId: "credentials",
  SignatureDoesNotMatch: "credentials",
  ExpiredToken: "credentials",
  InvalidToken: "credentials",
  RequestTimeTooSkewed: "clock",
  CredentialsProviderError: "credentials",
  TokenProviderError: "credentials",
  AuthorizationHeaderMalformed: "region",
  PermanentRedirect: "region",
  InvalidObjectState: "refused",
  QuotaExceeded: "full",
  QuotaExceededException: "full",
  XMinioStorageFull: "full",
  XMinioAdminBucketQuotaExceeded: "full",
  StorageFull: "full",
  InsufficientStorage: "full",
  EntityTooLarge: "full",
  // The body was cut short or damaged in transit; the request was valid.
  IncompleteBody: "failing",
  RequestTimeout: "failing",
  BadDigest: "failing",
  XAmzContentSHA256Mismatch: "failing",
};

/** 412: the condition failed because of an object that has since been removed. */
const TEMPORARY = new Set([408, 409, 412, 429]);

/** The pattern of Node's and OpenSSL's error codes for TLS failures, such as untrusted certificates. */
const TLS = /^(?:CERT_|ERR_TLS_|ERR_SSL_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_|EPROTO$|HOSTNAME_MISMATCH)/;

/** The status is 0 if there was no response. Undefined for a programming error. */
export function refusalOf(error: unknown): Refusal | undefined {
  if (!(error instanceof Error) || error instanceof CairnError) return undefined;
  const metadata = fieldOf(error, "$metadata");
  const status = numberOf(fieldOf(metadata, "httpStatusCode"));
  const known =
    status > 0 ||
    systemErrorCode(error) !== undefined ||
    fieldOf(error, "$fault") !== undefined ||
    isTimeLimit(error) ||
    error.name in WORDS ||
    isOfSettings(error);
  if (!known) return undefined;
  return { status, word: error.name, attempts: Math.max(1, numberOf(fieldOf(metadata, "attempts"))) };
}

/** Whether an error, of the SDK or the reason of a signal, says that a time limit was exceeded. */
export function isTimeLimit(error: unknown): boolean {
  return fieldOf(error, "name") === "TimeoutError";
}

/** Makes null the result of a request that is refused with one of these statuses. */
export function nullAt(...statuses: number[]): (refusal: Refusal) => null | undefined {
  return ({ status }) => (statuses.includes(status) ? null : undefined);
}

/** Returns null, the result of a request for an object, if there is no such object (and not no such bucket). */
export function isMissing({ status, word }: Refusal): null | undefined {
  return status === 404 && word !== "NoSuchBucket" ? null : undefined;
}

/** Returns a store's error, or `CONFIG_INVALID` for settings that the SDK refuses; programming errors unchanged. */
export function s3Error(error: unknown, request: S3Request): unknown {
  const refusal = refusalOf(error);
  if (refusal === undefined) return error;
  const [code, why, hint] = explain(error, refusal, request);
  const message = `The checkpoint store ${request.location} failed while ${request.doing}: ${why}.`;
  return new CairnError(code, message, { hint, cause: error });
}

function explain(error: unknown, refusal: Refusal, request: S3Request): readonly [ErrorCode, string, string] {
  const kind = classOf(error, refusal);
  const [code, why, hint] = CLASSES[kind];
  const { permission, profile } = request;
  const more: Partial<Record<typeof kind, string | undefined>> = {
    denied: `it needs ${permission}`,
    settings: profile && `with the profile ${profile}`,
    credentials: profile && `with the profile ${profile}`,
    region: otherRegion(error) && `it is in ${otherRegion(error)}`,
  };
  const said = kind === "foreign" ? String(refusal.status) : sayingOf(error, refusal);
  return [code, why.replace("%", () => [said, more[kind] ?? []].flat().join("; ")), hint];
}

function classOf(error: unknown, { status, word }: Refusal): keyof typeof CLASSES {
  // The SDK could not parse the response.
  if (errorMessage(error).includes("Deserialization error")) return "foreign";
  const known = WORDS[word];
  if (known !== undefined) return known;
  if (status === 301 || status === 307) return otherRegion(error) === undefined ? "foreign" : "region";
  if (status === 507) return "full";
  if (status === 401 || status === 403) return "denied";
  if (TLS.test(systemErrorCode(error) ?? "")) return "tls";
  if (status === 0) return isOfSettings(error) ? "settings" : "silent";
  return TEMPORARY.has(status) || (status >= 500 && status !== 501) ? "failing" : "refused";
}

/** Whether the SDK refused its settings, or could not read a file that they name, before it sent a request. */
export function isOfSettings(error: unknown): boolean {
  const code = systemErrorCode(error);
  if (code !== undefined) return code.startsWith("ERR_INVALID") || fieldOf(error, "syscall") === "open";
  return error instanceof Error && error.name === "Error" && fieldOf(error, "$metadata") === undefined;
}

export function isOfCredentials(error: unknown): boolean {
  return error instanceof Error && WORDS[error.name] === "credentials";
}

/** Returns the words of the service or of the SDK, without the SDK's remarks about itself. */
function sayingOf(error: unknown, { status, word }: Refusal): string {
  const message = errorMessage(error)
    .replace(/^@smithy\/[\w-]+ - (?:\[\w+\] )?/, "")
    .replace(/ \(configured by client requestHandler\)| from client requestHandler/, "")
    .replace(/\.$/, "");
  // The SDK's code and message for a response that contains only a status.
  if (message === "UnknownError") return String(status);
  const whole = status === 0 ? (systemErrorCode(error) ?? word) : `${status} ${word}`;
  return message.startsWith(whole) || whole === "Error" ? message : `${whole}: ${message}`;
}

function otherRegion(error: unknown): string | undefined {
  const headers = fieldOf(fieldOf(error, "$response"), "headers");
  const named = fieldOf(headers, "x-amz-bucket-region") ?? fieldOf(error, "Region");
  if (typeof named === "string") return named;
  return /expecting '([a-z0-9-]+)'/.exec(errorMessage(error))?.[1];
}

export function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

function numberOf(value: unknown): number {
  return typeof value === "number" ? value : 0;
}
