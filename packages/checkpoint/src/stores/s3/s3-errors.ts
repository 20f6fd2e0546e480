import { CairnError, errorMessage, systemErrorCode } from "@cairn/kv";
import type { ErrorCode } from "@cairn/kv";

export interface Refusal {
  /** The HTTP status; 0 if there was no response. */
  readonly status: number;
  /** The service's error code, such as `NoSuchKey`. */
  readonly word: string;
  /** The number of attempts. If there were several, an earlier one may have succeeded. */
  readonly attempts: number;
}

export interface S3Request {
  /** A participle phrase for messages, such as "writing a.tar". */
  readonly doing: string;
  /** The permission that the request needs, as Amazon names it. */
  readonly permission: string;
  readonly location: string;
  readonly bucket: string;
  readonly region: string | undefined;
  /** The profile of the AWS configuration files, if one was requested. */
  readonly profile: string | undefined;
}

type Explanation = readonly [code: ErrorCode, why: string, hint: string];

const CREDENTIALS =
  "Check the credentials: the store's `credentials`, the profile, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.";
/** The hint for a response that does not come from an S3 service. */
export const NOT_S3_HINT =
  "Check that the endpoint is an S3 service, and that no proxy changes its responses.";
const WAIT = "The request is retried; if the error persists, check the service and the network to it.";

/** Explains an unknown KMS key, for which Amazon and MinIO each have an error code. */
function unknownKmsKey({ bucket }: S3Request): Explanation {
  return [
    "STORE_DENIED",
    "the service does not know the KMS key",
    `Correct the store's \`kms-key-id\`, or omit it to use the key of the bucket ${bucket} or of the account; the key must be in the bucket's region.`,
  ];
}

/** Explanations of error codes that describe the cause better than the status does. */
const WORDS: Readonly<Record<string, (request: S3Request) => Explanation>> = {
  NoSuchBucket: ({ bucket }) => [
    "STORE_UNREACHABLE",
    `there is no bucket ${bucket}`,
    "Create the bucket, or correct `bucket`, `endpoint` and `region`; Cairn does not create buckets.",
  ],
  InvalidAccessKeyId: () => ["STORE_DENIED", "the service does not know the access key", CREDENTIALS],
  SignatureDoesNotMatch: () => [
    "STORE_DENIED",
    "the secret key does not belong to the access key",
    `${CREDENTIALS} A proxy that changes the host or the path also causes this error.`,
  ],
  ExpiredToken: () => ["STORE_DENIED", "the session token has expired", "Renew the credentials."],
  InvalidToken: () => ["STORE_DENIED", "the session token is not valid", CREDENTIALS],
  RequestTimeTooSkewed: () => [
    "STORE_DENIED",
    "this machine's clock and the service's are more than 15 minutes apart",
    "Set this machine's clock, preferably with NTP.",
  ],
  CredentialsProviderError: ({ profile }) => [
    "STORE_DENIED",
    profile === undefined
      ? "no credentials were found"
      : `no credentials were found; the profile ${profile} does not exist or contains none`,
    CREDENTIALS,
  ],
  TokenProviderError: () => [
    "STORE_DENIED",
    "the single sign-on session has ended",
    "Log in again with aws sso login.",
  ],
  InvalidObjectState: () => [
    "STORE_DENIED",
    "the object is in a storage class that cannot be read immediately",
    "Restore the object there first, and remove life-cycle rules that move checkpoints to an archive class.",
  ],
  "KMS.NotFoundException": unknownKmsKey,
  "kms:KeyNotFound": unknownKmsKey,
  SlowDown: () => ["STORE_UNREACHABLE", "the service asks for fewer requests (SlowDown)", WAIT],
};

/** Error codes for insufficient space, with any status. */
const FULL = new Set([
  "QuotaExceeded",
  "QuotaExceededException",
  "XMinioStorageFull",
  "XMinioAdminBucketQuotaExceeded",
  "StorageFull",
  "InsufficientStorage",
  "EntityTooLarge",
]);

/** The pattern of Node's and OpenSSL's error codes for TLS failures, such as untrusted certificates. */
const TLS = /^(?:CERT_|ERR_TLS_|ERR_SSL_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_|EPROTO$|HOSTNAME_MISMATCH)/;

/** The status is 0 if there was no response. Undefined for a programming error. */
export function refusalOf(error: unknown): Refusal | undefined {
  if (!(error instanceof Error) || error instanceof CairnError) return undefined;
  const metadata = fieldOf(error, "$metadata");
  const status = numberOf(fieldOf(metadata, "httpStatusCode"));
  const known =
    status > 0 ||
    (systemErrorCode(error) !== undefined && !systemErrorCode(error)?.startsWith("ERR_INVALID")) ||
    fieldOf(error, "$fault") !== undefined ||
    error.name === "TimeoutError" ||
    error.name in WORDS;
  if (!known) return undefined;
  return { status, word: error.name, attempts: Math.max(1, numberOf(fieldOf(metadata, "attempts"))) };
}

/** Returns a store's error, or `CONFIG_INVALID` if the region is unknown. Programming errors stay unchanged. */
export function s3Error(error: unknown, request: S3Request): unknown {
  if (errorMessage(error) === "Region is missing") {
    const { location, profile } = request;
    const named = profile === undefined ? "" : `; the profile ${profile} does not exist or does not set one`;
    return new CairnError("CONFIG_INVALID", `The region of ${location} is unknown${named}.`, {
      hint: "Set the store's `region` or AWS_REGION.",
      cause: error,
    });
  }
  const refusal = refusalOf(error);
  if (refusal === undefined) return error;
  const [code, why, hint] = explain(error, refusal, request);
  return new CairnError(
    code,
    `The checkpoint store ${request.location} failed while ${request.doing}: ${why}.`,
    {
      hint,
      cause: error,
    },
  );
}

function explain(error: unknown, { status, word }: Refusal, request: S3Request): Explanation {
  const known = WORDS[word];
  if (known !== undefined) return known(request);
  const region = otherRegion(error);
  const foreign = foreignAnswer(error, word, region);
  if (foreign !== undefined) {
    const code = status === 401 || status === 403 ? "STORE_DENIED" : "STORE_UNREACHABLE";
    return [code, `it returned status ${status} and ${foreign}`, NOT_S3_HINT];
  }
  if (
    status === 301 ||
    status === 307 ||
    word === "AuthorizationHeaderMalformed" ||
    word === "PermanentRedirect"
  ) {
    const lies = region === undefined ? "in another region" : `in the region ${region}`;
    const asked = request.region === undefined ? "" : `, not ${request.region}`;
    const set = region === undefined ? "the bucket's region" : JSON.stringify(region);
    return ["STORE_DENIED", `the bucket is ${lies}${asked}`, `Set the store's \`region\` to ${set}.`];
  }
  const said = sayingOf(error, status, word);
  if (FULL.has(word) || status === 507) {
    return [
      "STORE_FULL",
      `there is no space left (${said})`,
      "Free some space, raise the quota, or set a retention-policy that keeps fewer checkpoints: if there is still no space, the next node that saves removes the others first.",
    ];
  }
  if (status === 401 || status === 403) {
    return [
      "STORE_DENIED",
      `these credentials do not permit it (${said})`,
      `Allow ${request.permission} on the bucket or below the prefix. To save, restore and remove, a node needs s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on objects, and s3:ListBucket on the bucket.`,
    ];
  }
  const system = systemErrorCode(error);
  if (system !== undefined && TLS.test(system)) {
    return [
      "STORE_UNREACHABLE",
      `the service's certificate is not trusted, or it does not speak TLS (${system})`,
      "Check whether the endpoint must begin with http: or https:; NODE_EXTRA_CA_CERTS names a file with your own authorities.",
    ];
  }
  if (
    status === 0 ||
    (status >= 500 && status !== 501) ||
    status === 408 ||
    status === 409 ||
    // 412: the condition failed because of an object that has since been removed.
    status === 412 ||
    status === 429
  ) {
    const what =
      status === 0
        ? `the service did not respond (${system ?? word}: ${plainMessage(error)})`
        : `it responded with ${said}`;
    return ["STORE_UNREACHABLE", what, WAIT];
  }
  // The body was cut short or damaged in transit; the request was valid.
  if (
    word === "IncompleteBody" ||
    word === "RequestTimeout" ||
    word === "BadDigest" ||
    word === "XAmzContentSHA256Mismatch"
  )
    return ["STORE_UNREACHABLE", `the content was not received completely (${said})`, WAIT];
  return [
    "STORE_DENIED",
    `the service refused the request (${said})`,
    "Check region, endpoint and force-path-style? of the store, which differ from service to service; the message above comes from the service.",
  ];
}

/**
 * Describes a response that does not come from an S3 service, such as a proxy's page or a redirect to one; undefined
 * for any other.
 */
function foreignAnswer(error: unknown, word: string, region: string | undefined): string | undefined {
  // The SDK could not parse the response. The rest of its message is meant for programmers.
  if (errorMessage(error).includes("Deserialization error")) return "a response that is not from S3";
  const target = fieldOf(fieldOf(fieldOf(error, "$response"), "headers"), "location");
  if (word !== SILENT_WORD || region !== undefined || typeof target !== "string") return undefined;
  // The query may contain secrets.
  return URL.canParse(target) ? `redirected to ${new URL(target).origin}` : "redirected to another address";
}

/** The SDK's error code for a response that contains only a status. */
const SILENT_WORD = "Unknown";
const SILENT_MESSAGE = "UnknownError";

/** Returns the message without the SDK's remarks about itself. */
function plainMessage(error: unknown): string {
  const message = errorMessage(error).replace(/^@smithy\/[\w-]+ - (?:\[\w+\] )?/, "");
  return message
    .replace(/ \(configured by client requestHandler\)| from client requestHandler/, "")
    .replace(/\.$/, "");
}

/** Returns the service's status, error code and message, as far as they are present. */
function sayingOf(error: unknown, status: number, word: string): string {
  const name = word === SILENT_WORD ? `${status}` : `${status} ${word}`;
  const message = errorMessage(error).replace(/\.$/, "");
  return message === SILENT_MESSAGE ? name : `${name}: ${message}`;
}

/** Returns the region that a redirect or an error names. */
function otherRegion(error: unknown): string | undefined {
  const headers = fieldOf(fieldOf(error, "$response"), "headers");
  const named = fieldOf(headers, "x-amz-bucket-region") ?? fieldOf(error, "Region");
  if (typeof named === "string") return named;
  return /expecting '([a-z0-9-]+)'/.exec(errorMessage(error))?.[1];
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

function numberOf(value: unknown): number {
  return typeof value === "number" ? value : 0;
}
