import type { S3Access } from "./s3-access.ts";

/** Aborts an upload; does nothing if it does not exist. */
export async function abortUpload(
  access: S3Access,
  key: string,
  id: string,
  signal?: AbortSignal,
): Promise<void> {
  await access.call(
    (s3, options) =>
      s3
        .abortMultipartUpload({ Bucket: access.settings.bucket, Key: key, UploadId: id }, options)
        .then(() => undefined),
    {
      doing: "removing parts of an unfinished upload",
      permission: "s3:AbortMultipartUpload",
      signal,
      unless: ({ status }) => (status === 404 ? null : undefined),
    },
  );
}

/** The caller ensures that no upload of `name` is in use. Returns their number: 0 if uploads cannot be listed. */
export async function abortUploadsOf(access: S3Access, name: string, signal?: AbortSignal): Promise<number> {
  const key = access.key(name);
  let aborted = 0;
  for await (const upload of openUploads(access, key, signal)) {
    if (upload.key !== key) continue;
    await abortUpload(access, key, upload.id, signal);
    aborted += 1;
  }
  return aborted;
}

interface OpenUpload {
  readonly key: string;
  readonly id: string;
  readonly begunAt: number;
}

async function* openUploads(
  access: S3Access,
  prefix: string,
  signal?: AbortSignal,
): AsyncGenerator<OpenUpload, void, undefined> {
  const { bucket } = access.settings;
  let marker: { KeyMarker?: string; UploadIdMarker?: string } | undefined = {};
  while (marker !== undefined) {
    const from: { KeyMarker?: string; UploadIdMarker?: string } = marker;
    const page = await access.call(
      (s3, options) => s3.listMultipartUploads({ Bucket: bucket, Prefix: prefix, ...from }, options),
      {
        doing: "listing unfinished uploads",
        permission: "s3:ListBucketMultipartUploads",
        signal,
        // Some services and policies do not permit listing uploads; there, a life-cycle rule must remove them.
        unless: ({ status }) => (status === 403 || status === 501 || status === 405 ? null : undefined),
      },
    );
    if (page === null) return;
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (Key === undefined || UploadId === undefined) continue;
      yield { key: Key, id: UploadId, begunAt: Initiated?.getTime() ?? Number.POSITIVE_INFINITY };
    }
    const { NextKeyMarker, NextUploadIdMarker } = page;
    // If the markers do not change, the same page would be requested forever.
    const goesOn = NextKeyMarker !== from.KeyMarker || NextUploadIdMarker !== from.UploadIdMarker;
    marker =
      page.IsTruncated === true && goesOn && NextKeyMarker !== undefined && NextKeyMarker !== ""
        ? {
            KeyMarker: NextKeyMarker,
            ...(NextUploadIdMarker === undefined ? {} : { UploadIdMarker: NextUploadIdMarker }),
          }
        : undefined;
  }
}

/**
 * Aborts uploads of files whose names begin with `prefix`, and of those in `unfinished`, as `CheckpointStore.tidy`
 * specifies. Returns their names.
 */
export async function abortDeadUploads(
  access: S3Access,
  prefix: string,
  {
    before,
    isDead,
    unfinished = [],
  }: {
    readonly before: number;
    readonly isDead: (name: string) => boolean;
    readonly unfinished?: readonly string[];
  },
): Promise<string[]> {
  const own = access.settings.prefix;
  const aborted: string[] = [];
  for (const name of unfinished) {
    if ((await abortUploadsOf(access, name)) > 0) aborted.push(name);
  }
  for await (const { key, id, begunAt } of openUploads(access, own + prefix)) {
    const name = key.slice(own.length);
    if (begunAt >= before || !isDead(name)) continue;
    await abortUpload(access, key, id);
    aborted.push(name);
  }
  return aborted;
}
