import { CairnError } from "@cairn/kv";

/** Who asks: a profile of the AWS configuration files, or a key; left out, the SDK's chain finds out. */
export type S3Credentials =
  | { readonly profile: string }
  | { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string };

/** When checksums go with requests beside the signature: always, or only where S3 demands them. Many services know the latter only. */
export type S3Checksums = "when-required" | "when-supported";

/** Where a store in S3 lies and how it is spoken to. Sizes in bytes, times in milliseconds. */
export interface S3StoreOptions {
  readonly bucket: string;
  /** Before every name, with a slash between; none when left out. */
  readonly prefix?: string;
  /** As `AWS_REGION` or the profile says when left out; `us-east-1` with an endpoint, where it seldom matters. */
  readonly region?: string;
  /** Of a service other than Amazon's, as a URL; `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL` when left out. */
  readonly endpoint?: string;
  /** Whether the bucket stands in the path instead of the host's name; with an endpoint it does when left out. */
  readonly forcePathStyle?: boolean;
  readonly credentials?: S3Credentials;
  /** Of archives alone: the small files are read and overwritten too often for any but the standard one. */
  readonly storageClass?: string;
  readonly serverSideEncryption?: "AES256" | "aws:kms" | "aws:kms:dsse";
  /** Only with `aws:kms` or `aws:kms:dsse`; the account's own key when left out. */
  readonly kmsKeyId?: string;
  readonly checksums?: S3Checksums;
  /** The least size of a part (5 MiB or more); larger ones are used where an archive would need more than 10,000. */
  readonly partSize?: number;
  /** How many parts or ranges of one file are under way at once; 4 when left out. */
  readonly concurrency?: number;
  /** How often a request is made before it has failed; 5 when left out. */
  readonly maxAttempts?: number;
  /** How long nothing may move on a connection; 30 s when left out. */
  readonly requestTimeout?: number;
  /** Whether every write is refused here, before it is sent. */
  readonly readOnly?: boolean;
  /** Hears, once each, what this service or these credentials do not allow though the store works without it. */
  readonly onNotice?: (sentence: string) => void;
  /** Where `AWS_*` variables are looked up; this process's when left out. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Options with everything decided that can be without asking anybody. */
export interface S3Settings {
  readonly bucket: string;
  /** Empty, or with a slash at its end. */
  readonly prefix: string;
  /** `s3://bucket/prefix`: what commands take. */
  readonly address: string;
  /** The address with the endpoint, where there is one, for messages and for telling places apart: two services may have a bucket of one name. */
  readonly location: string;
  readonly region: string | undefined;
  readonly endpoint: string | undefined;
  readonly forcePathStyle: boolean;
  readonly credentials: S3Credentials | undefined;
  /** Which of the AWS configuration files is asked for, here or by the environment. */
  readonly profile: string | undefined;
  readonly checksums: S3Checksums;
  readonly partSize: number;
  readonly concurrency: number;
  readonly maxAttempts: number;
  readonly requestTimeout: number;
  /** What every write says. */
  readonly encryption: {
    readonly ServerSideEncryption?: "AES256" | "aws:kms" | "aws:kms:dsse";
    readonly SSEKMSKeyId?: string;
  };
  /** What the writing of an archive says besides. */
  readonly storage: { readonly StorageClass?: StorageClass };
}

/** Other services have classes that the SDK's types do not list. */
type StorageClass = "STANDARD";

/** The smallest part that S3 takes, but for the last. */
export const MIN_PART_BYTES = 5 * 1024 * 1024;

/** With four under way and one being filled, 40 MiB of memory. */
const PART = 8 * 1024 * 1024;

/** Decides what the options and the environment leave open. */
export function s3Settings(options: S3StoreOptions): S3Settings {
  const env = options.env ?? process.env;
  const { bucket, serverSideEncryption, kmsKeyId, storageClass } = options;
  const folder = folderOf(options.prefix ?? "");
  const endpoint = options.endpoint ?? endpointOf(env);
  const region = options.region ?? (env["AWS_REGION"] || env["AWS_DEFAULT_REGION"] || undefined);
  const address = `s3://${bucket}${folder === "" ? "" : `/${folder}`}`;
  const { credentials } = options;
  const ownProfile = credentials !== undefined && "profile" in credentials ? credentials.profile : undefined;
  return {
    bucket,
    prefix: folder === "" ? "" : `${folder}/`,
    address,
    location: endpoint === undefined ? address : `${address} at ${shownEndpoint(endpoint)}`,
    region: region ?? (endpoint === undefined || ownProfile !== undefined ? undefined : "us-east-1"),
    endpoint,
    forcePathStyle: options.forcePathStyle ?? endpoint !== undefined,
    credentials,
    profile: credentials === undefined ? env["AWS_PROFILE"] || undefined : ownProfile,
    checksums: options.checksums ?? (endpoint === undefined ? "when-supported" : "when-required"),
    partSize: Math.max(MIN_PART_BYTES, options.partSize ?? PART),
    concurrency: options.concurrency ?? 4,
    maxAttempts: options.maxAttempts ?? 5,
    requestTimeout: options.requestTimeout ?? 30_000,
    encryption: {
      ...(serverSideEncryption === undefined ? {} : { ServerSideEncryption: serverSideEncryption }),
      ...(kmsKeyId === undefined ? {} : { SSEKMSKeyId: kmsKeyId }),
    },
    storage: storageClass === undefined ? {} : { StorageClass: storageClass as StorageClass },
  };
}

/** What services may take for another name: some refuse it, some keep objects under the shorter one and list nothing. */
const SHORTENED = /(?:^|\/)\.{0,2}(?:\/|$)/;

/** A prefix without slashes at its ends. */
function folderOf(prefix: string): string {
  const folder = prefix.replace(/^\/+|\/+$/g, "");
  if (folder === "" || !SHORTENED.test(folder)) return folder;
  throw new CairnError(
    "CONFIG_INVALID",
    `The prefix ${JSON.stringify(prefix)} has a part that is empty, . or .., which not every S3 service keeps as it is.`,
    { hint: "Take that part out: write a prefix such as cairn/production." },
  );
}

/** The endpoint that the environment names. */
function endpointOf(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const name = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"].find((one) => env[one]);
  const value = name === undefined ? undefined : env[name];
  if (value === undefined || (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol))) return value;
  // Not repeated: it may hold a password.
  throw new CairnError("CONFIG_INVALID", `${name} is not the address of an S3 service.`, {
    hint: "Write https://host:port, or take the variable away.",
  });
}

/** An endpoint as messages name it: one from the environment may hold a password. */
function shownEndpoint(endpoint: string): string {
  const [plain = ""] = endpoint.replace(/\/\/[^/]*@/, "//").split(/[?#]/);
  const url = /^https?:/i.test(plain) && URL.canParse(plain) ? new URL(plain).href : plain;
  return url.replace(/\/+$/, "");
}
