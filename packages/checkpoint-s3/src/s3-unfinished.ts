import type { CheckpointStore } from "@cairn/checkpoint";
import type { S3Access } from "./s3-access.ts";
import { nullAt } from "./s3-errors.ts";

/** Aborts an upload; does nothing if it does not exist. */
export async function abortUpload(
  access: S3Access,
  key: string,
  id: string,
  signal?: AbortSignal,
): Promise<void> {
  const doing = "removing parts of an unfinished upload";
  const input = { Key: key, UploadId: id };
  await access.call("abortMultipartUpload", input, { doing, signal, unless: nullAt(404) });
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

async function* openUploads(
  access: S3Access,
  prefix: string,
  signal?: AbortSignal,
): AsyncGenerator<{ readonly key: string; readonly id: string; readonly begunAt: number }, void, undefined> {
  // Some services and policies do not permit listing uploads; there, a life-cycle rule must remove them.
  const call = { doing: "listing unfinished uploads", signal, unless: nullAt(403, 501, 405) };
  let from: { readonly KeyMarker?: string | undefined; readonly UploadIdMarker?: string | undefined } = {};
  for (;;) {
    const page = await access.call("listMultipartUploads", { Prefix: prefix, ...from }, call);
    if (page === null) return;
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (Key === undefined || UploadId === undefined) continue;
      yield { key: Key, id: UploadId, begunAt: Initiated?.getTime() ?? Number.POSITIVE_INFINITY };
    }
    const { NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
    // If the markers do not change, the same page would be requested forever.
    const isSame = KeyMarker === from.KeyMarker && UploadIdMarker === from.UploadIdMarker;
    if (page.IsTruncated !== true || isSame || (KeyMarker ?? "") === "") return;
    from = { KeyMarker, UploadIdMarker };
  }
}

/** Aborts uploads by `prefix`, and those in `unfinished`, as `CheckpointStore.tidy` specifies. Returns the names. */
export async function abortDeadUploads(
  access: S3Access,
  prefix: string,
  { before, isDead, unfinished = [] }: Parameters<NonNullable<CheckpointStore["tidy"]>>[0],
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
