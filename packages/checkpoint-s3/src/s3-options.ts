import { DEFAULT_PART_BYTES, MIN_PART_BYTES } from "./s3-parts.ts";
import { CairnError, MAX_TIMER_MS } from "@cairn/kv";

/** Credentials: a profile of the AWS configuration files, or a key. Defaults to the SDK's provider chain. */
export type S3Credentials =
  | { readonly profile: string }
  | { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string };

/**
 * Whether checksums are sent with all requests that can have them, or only if S3 requires them. Many services support
 * only the latter.
 */
export type S3Checksums = "when-required" | "when-supported";

/** Options for a store in S3. Sizes are in bytes, times in milliseconds. */
export interface S3StoreOptions {
  readonly bucket: string;
  /** The prefix of every name; a slash separates it from the name. Defaults to none. */
  readonly prefix?: string;
  /** Defaults to `AWS_REGION` or the profile's; with an endpoint, to `us-east-1`, as a region rarely matters there. */
  readonly region?: string;
  /** The URL of a service other than Amazon's. Defaults to `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`. */
  readonly endpoint?: string;
  /** Whether the bucket is in the path instead of the host name. Defaults to true with an endpoint. */
  readonly forcePathStyle?: boolean;
  readonly credentials?: S3Credentials;
  /** Applies to archives. Small files are read and overwritten too often for any class other than the standard one. */
  readonly storageClass?: string;
  readonly serverSideEncryption?: "AES256" | "aws:kms" | "aws:kms:dsse";
  /** The KMS key, which is used only with `aws:kms` or `aws:kms:dsse`. Defaults to the account's key. */
  readonly kmsKeyId?: string;
  readonly checksums?: S3Checksums;
  /** The minimum size of a part (5 MiB or more). Larger if an archive would need more than 8,000; S3 allows 10,000. */
  readonly partSize?: number;
  /** The maximum number of parts or ranges of one file in flight. Defaults to 4. */
  readonly concurrency?: number;
  /** The maximum number of attempts per request. Defaults to 5. */
  readonly maxAttempts?: number;
  /** The maximum idle time of a connection; with a part being sent, as long again for each MiB of it. Defaults to 30 s. */
  readonly requestTimeout?: number;
  /** Whether every write is rejected before it is sent. Defaults to false. */
  readonly readOnly?: boolean;
  /**
   * Called once for each optional operation that the service does not support or the credentials do not permit, and
   * when a request has waited for a response for some seconds.
   */
  readonly onNotice?: (sentence: string) => void;
  /** The environment with the `AWS_*` variables. Defaults to the environment of this process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** The options, with all defaults that can be determined without a request. */
export type S3Settings = Readonly<ReturnType<typeof s3Settings>>;

/** The type is a placeholder: other services have classes that the SDK's types do not contain. */
type StorageClass = "STANDARD";

/** Throws `CONFIG_INVALID` for an invalid prefix or endpoint variable. */
export function s3Settings(options: S3StoreOptions) {
  const env = options.env ?? process.env;
  const { bucket, serverSideEncryption, kmsKeyId, storageClass } = options;
  requirePlain(options, env);
  const folder = folderOf(options.prefix ?? "");
  const endpoint = options.endpoint ?? endpointOf(env);
  const region = options.region ?? (env["AWS_REGION"] || env["AWS_DEFAULT_REGION"] || undefined);
  const address = `s3://${bucket}${folder === "" ? "" : `/${folder}`}`;
  const { credentials } = options;
  const ownProfile = credentials !== undefined && "profile" in credentials ? credentials.profile : undefined;
  return {
    bucket,
    /** Empty, or ends with a slash. */
    prefix: folder === "" ? "" : `${folder}/`,
    /** What commands take: `s3://bucket/prefix`. */
    address,
    /** Includes the endpoint. It is the identity too: two services may have buckets of the same name. */
    location: endpoint === undefined ? address : `${address} at ${shownEndpoint(endpoint)}`,
    region: region ?? (endpoint === undefined || ownProfile !== undefined ? undefined : "us-east-1"),
    endpoint,
    forcePathStyle: options.forcePathStyle ?? endpoint !== undefined,
    credentials,
    /** The profile of the AWS configuration files, requested here or by the environment. */
    profile: credentials === undefined ? env["AWS_PROFILE"] || undefined : ownProfile,
    checksums: options.checksums ?? (endpoint === undefined ? "when-supported" : "when-required"),
    partSize: Math.max(MIN_PART_BYTES, options.partSize ?? DEFAULT_PART_BYTES),
    concurrency: options.concurrency ?? 4,
    maxAttempts: options.maxAttempts ?? 5,
    // The SDK's timers run out at once if they are longer.
    requestTimeout: Math.min(options.requestTimeout ?? 30_000, MAX_TIMER_MS),
    encryption: {
      ServerSideEncryption: serverSideEncryption,
      SSEKMSKeyId: kmsKeyId,
    },
    /** Additional parameters for writing an archive. */
    storage: { StorageClass: storageClass as StorageClass | undefined },
  };
}

/** Throws `CONFIG_INVALID` for a control character, such as the line break at the end of a file with a key. */
function requirePlain(
  { bucket, region, storageClass, kmsKeyId, credentials }: S3StoreOptions,
  env: Readonly<Record<string, string | undefined>>,
): void {
  const key = credentials === undefined || "profile" in credentials ? undefined : credentials;
  const settings = {
    bucket,
    region,
    "storage-class": storageClass,
    "kms-key-id": kmsKeyId,
    "access-key-id": key?.accessKeyId,
    "secret-access-key": key?.secretAccessKey,
    "session-token": key?.sessionToken,
  };
  const names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
  const variables = credentials === undefined ? names.map((name) => [name, env[name]] as const) : [];
  for (const [name, value = ""] of [...Object.entries(settings), ...variables]) {
    if (!/\p{Cc}/u.test(value)) continue;
    throw new CairnError(
      "CONFIG_INVALID",
      `${name} of s3://${bucket} contains a line break or another control character.`,
      "Remove it. If the value comes from a file, write the file without a line break at its end.",
    );
  }
}

/** Services normalize such parts: some reject them, others store objects under the shorter name and list nothing. */
const UNPRESERVED = /(?:^|\/)\.{0,2}(?:\/|$)|[\p{Cc}\p{Cs}]/u;

function folderOf(prefix: string): string {
  const folder = prefix.replace(/^\/+|\/+$/g, "");
  if (folder === "" || !UNPRESERVED.test(folder)) return folder;
  throw new CairnError(
    "CONFIG_INVALID",
    `The prefix ${JSON.stringify(prefix)} has a part that is empty, . or .., or a control character, which not every S3 service preserves.`,
    "Remove that: use a prefix such as cairn/production.",
  );
}

function endpointOf(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const name = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].find((one) => env[one]);
  const value = name === undefined ? undefined : env[name];
  if (value === undefined || (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol))) return value;
  // The value is not quoted, because it may contain a password.
  throw new CairnError(
    "CONFIG_INVALID",
    `${name} is not the address of an S3 service.`,
    "Write https://host:port, or unset the variable.",
  );
}

/** Returns an endpoint for messages, without the password that one from the environment may contain. */
function shownEndpoint(endpoint: string): string {
  const [plain = ""] = endpoint.replace(/\/\/[^/]*@/, "//").split(/[?#]/);
  const url = /^https?:/i.test(plain) && URL.canParse(plain) ? new URL(plain).href : plain;
  return url.replace(/\/+$/, "");
}
