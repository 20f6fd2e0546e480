import { CairnError, isCairnError, SharedResults } from "@cairn/kv";
import { CHECKPOINT_PREFIX, type CheckpointStore, LEASE_PREFIX } from "@cairn/checkpoint";
import { s3Access, unexpectedResponse } from "./s3-access.ts";
import { isMissing } from "./s3-errors.ts";
import { openContent } from "./s3-download.ts";
import { currentDate, listObjects } from "./s3-list.ts";
import { abortDeadUploads } from "./s3-unfinished.ts";
import { s3Settings, type S3StoreOptions } from "./s3-options.ts";
import { probe, type S3Findings } from "./s3-probe.ts";
import { objectRanges } from "./s3-range.ts";
import { createSmall, readSmall, replaceSmall } from "./s3-small.ts";
import { uploadContent } from "./s3-upload.ts";

/** Services report their time in seconds, and the servers of one service may differ slightly. */
const CLOCK_TOLERANCE_MS = 5_000;

/** Loads and requests nothing before the first call. */
export function s3Store(options: S3StoreOptions): CheckpointStore {
  const settings = s3Settings(options);
  const { address, location } = settings;
  const notice = options.onNotice ?? (() => undefined);
  const access = s3Access(settings, notice);
  const probing = new SharedResults<S3Findings>(Infinity);
  let findings: S3Findings | undefined;
  /** The clocks of a service's servers may differ, and time must not appear to go backwards. */
  let latest = 0;
  /** Whether to try to abort dead uploads. Becomes false when the service first refuses, which is reported. */
  let mayAbort = true;

  function writableKey(name: string, doing = `writing ${name}`): string {
    const key = access.key(name);
    if (options.readOnly !== true) return key;
    const message = `The checkpoint store ${location} is configured as read-only: it does not allow ${doing}.`;
    const hint = "Remove read-only? from its configuration, or save to another store.";
    throw new CairnError("STORE_DENIED", message, hint);
  }

  /** Probes the service once, before the first small file is written. Tries again after a failure. */
  const probed = (): Promise<S3Findings> =>
    probing.get("", async () => {
      const answer = await probe(access);
      findings = answer;
      if (!answer.canDelete) {
        notice(
          `These credentials may not delete objects in ${location} (s3:DeleteObject), so old checkpoints and segments of log backups stay until a life-cycle rule or an operator removes them. Once the permission has been granted, restart the node.`,
        );
      }
      if (!answer.exclusive) {
        notice(
          `${location} does not support conditional writes, so two nodes may upload at once. That wastes traffic but does no harm.`,
        );
      }
      return answer;
    });

  return {
    location: address,
    identity: location,
    shared: true,
    readOnly: options.readOnly === true,
    get exclusive() {
      return findings?.exclusive ?? false;
    },
    describe() {
      if (findings === undefined) return undefined;
      const { exclusive, canDelete, checksums } = findings;
      return { exclusive, canDelete, checksums };
    },
    list: (prefix) => listObjects(access, prefix),
    async upload(name, content, uploading = {}) {
      try {
        writableKey(name);
      } catch (error) {
        content.destroy();
        throw error;
      }
      return uploadContent(access, findings?.creates ?? false, name, content, uploading);
    },
    open: (name, opening = {}) => openContent(access, name, opening),
    openRanges: async (name) => objectRanges(access, name),
    async read(name) {
      const file = await readSmall(access, name);
      return file && { text: file.text, tag: file.tag };
    },
    async create(name, text) {
      writableKey(name);
      return createSmall(access, await probed(), name, text);
    },
    async replace(name, text, tag) {
      writableKey(name);
      return replaceSmall(access, await probed(), name, text, tag);
    },
    async remove(name) {
      const doing = `removing ${name}`;
      const Key = writableKey(name, doing);
      await access.call("deleteObject", { Key }, { doing, unless: isMissing });
    },
    async tidy(which) {
      if (options.readOnly === true || !mayAbort) return [];
      try {
        return await abortDeadUploads(access, CHECKPOINT_PREFIX, which);
      } catch (error) {
        if (!isCairnError(error, "STORE_DENIED")) throw error;
        mayAbort = false;
        notice(
          `These credentials may not abort multipart uploads in ${location} (s3:AbortMultipartUpload), so parts left by killed nodes stay until a life-cycle rule removes them.`,
        );
        return [];
      }
    },
    async now() {
      const date = await currentDate(access, LEASE_PREFIX);
      if (date === undefined)
        throw unexpectedResponse(location, "reading its clock", "the response had no date");
      latest = date < latest && latest - date <= CLOCK_TOLERANCE_MS ? latest : date;
      return latest;
    },
    close: () => access.close(),
  };
}
