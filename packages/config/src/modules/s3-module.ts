import type { S3Credentials } from "@cairn/checkpoint-s3";
import { duration } from "../types/duration-type.ts";
import { mapOf } from "../types/map-type.ts";
import { defineModule } from "./module-descriptor.ts";
import { optionalPackage } from "./optional-package.ts";
import { optional, required, withDefault } from "../types/parameter.ts";
import { boolean, choice, integer, privateText, secret, text, textLike } from "../types/value-types.ts";

const endpoint = privateText(
  "URL",
  "the address of an S3 service",
  (address) => {
    const url = URL.canParse(address) ? new URL(address) : undefined;
    const isPlain = url?.username === "" && url.password === "" && url.search === "" && url.hash === "";
    return isPlain && /^https?:$/.test(url.protocol);
  },
  'Write "https://host:port", without the bucket; keys belong to `credentials`.',
);

const credentials = mapOf(
  "credentials",
  {
    profile: optional(text(), "A profile of the AWS configuration files, for its keys and its region."),
    "access-key-id": optional(secret(), "The id of an access key; requires `secret-access-key`."),
    "secret-access-key": optional(secret(), "The key itself, preferably `${NAME}` from the environment."),
    "session-token": optional(secret(), "The token of a temporary key."),
  },
  ({ profile, accessKeyId: id, secretAccessKey: key, sessionToken }) => {
    const isKey = id !== undefined || key !== undefined || sessionToken !== undefined;
    if (profile === undefined ? id !== undefined && key !== undefined : !isKey) return undefined;
    return profile === undefined
      ? {
          message: "An access key must have both an id and a secret.",
          hint: "Set access-key-id and secret-access-key, or profile; omit credentials to use the SDK's default search.",
        }
      : { message: "Both a profile and an access key are configured.", hint: "Keep one." };
  },
);

/** The storage classes whose files can be read only hours after a restore request. */
const SLOW_CLASSES = new Set(["GLACIER", "DEEP_ARCHIVE"]);

/** The variables that the AWS SDK reads by itself, except for keys, which are never printed. */
const VARIABLES = [
  "AWS_ENDPOINT_URL_S3",
  "AWS_ENDPOINT_URL",
  "AWS_REGION",
  "AWS_DEFAULT_REGION",
  "AWS_PROFILE",
  "AWS_CONFIG_FILE",
  "AWS_SHARED_CREDENTIALS_FILE",
];

const checkpointS3 = optionalPackage("@cairn/checkpoint-s3", () => import("@cairn/checkpoint-s3"));

export const s3CheckpointStore = defineModule({
  id: "cairn.s3/->checkpoint-store",
  kind: "checkpoint-store",
  doc: "Checkpoints in a bucket in S3 or a compatible service, which nodes in different places share.",
  parameters: {
    bucket: required(
      textLike(
        /^[A-Za-z0-9][A-Za-z0-9._-]{2,253}$/,
        "a bucket's name of three characters or more, without s3:// and without slashes",
      ),
      "The bucket, which must exist.",
    ),
    prefix: optional(
      textLike(
        /^(?!s3:)(?!.*\/\/)(?!(?:.*\/)?\.{1,2}(?:\/|$))[^\s\p{Cc}\p{Cs}\\]+$/u,
        "a prefix such as cairn/production, without white space and control characters, and without parts that are empty, . or ..",
      ),
      "A folder in the bucket.",
      "none: the bucket itself",
    ),
    region: optional(
      textLike(/^[A-Za-z0-9_-]+$/, "a region such as eu-central-1"),
      "The bucket's region.",
      "`AWS_REGION`, else the profile's; `us-east-1` with an endpoint",
    ),
    endpoint: optional(
      endpoint,
      "The address of a service other than Amazon's.",
      "`AWS_ENDPOINT_URL_S3`, else `AWS_ENDPOINT_URL`, else Amazon's",
    ),
    "force-path-style?": optional(
      boolean(),
      "Whether the bucket is in the path of an address instead of the host.",
      "`true` with an endpoint, else `false`",
    ),
    credentials: optional(
      credentials,
      "The credentials of requests.",
      "found by the AWS SDK: environment, profile, single sign-on, container, machine",
    ),
    "storage-class": optional(
      textLike(/^[A-Z][A-Z0-9_]*$/, "a storage class such as STANDARD_IA"),
      "The storage class of archives; small files always have the standard class.",
      "the bucket's",
    ),
    "server-side-encryption": optional(
      choice(["AES256", "aws:kms", "aws:kms:dsse"]),
      "How the service encrypts files.",
      "that of the bucket",
    ),
    "kms-key-id": optional(text(), "The id of the KMS key.", "the account's AWS managed key for S3"),
    checksums: optional(
      choice(["when-required", "when-supported"]),
      "Whether requests carry a checksum in addition to their signature; services other than Amazon's often refuse it.",
      "`when-required` with an endpoint, else `when-supported`",
    ),
    "part-size": optional(
      // S3 accepts no smaller part, except for the last one.
      integer(5 * 1024 ** 2, 1024 ** 3),
      "The minimum size of a part, in bytes.",
      "8 MiB, more if an archive would need more than 8,000 parts",
    ),
    concurrency: withDefault(
      integer(1, 64),
      4,
      "The maximum number of parts of a file that are transferred at a time.",
    ),
    "max-attempts": withDefault(
      integer(1, 20),
      5,
      "The maximum number of times that a request is sent before it fails.",
    ),
    "request-timeout": withDefault(
      duration(),
      30_000,
      "How long a connection may be idle during a request; while a file is sent, as long again for each MiB of `part-size`.",
    ),
    "read-only?": withDefault(
      boolean(),
      false,
      "Whether the store is never written to; for stores of `restore-from`.",
    ),
  },
  check({ serverSideEncryption, kmsKeyId, storageClass }) {
    if (kmsKeyId !== undefined && serverSideEncryption?.startsWith("aws:kms") !== true) {
      return {
        message: "kms-key-id requires encryption by KMS.",
        hint: 'Set server-side-encryption to "aws:kms".',
      };
    }
    if (storageClass === undefined || !SLOW_CLASSES.has(storageClass)) return undefined;
    return {
      message: `Checkpoints in the storage class ${storageClass} cannot be restored immediately.`,
      hint: "Use STANDARD_IA, INTELLIGENT_TIERING or GLACIER_IR.",
    };
  },
  variables: VARIABLES,
  requires: checkpointS3,
  async create({ credentials: login, ...options }, { onNotice }, folder) {
    const { s3Store } = await checkpointS3(folder);
    // The check of `credentials` has refused every other combination.
    return s3Store({ ...options, ...(login && { credentials: login as S3Credentials }), onNotice });
  },
});
