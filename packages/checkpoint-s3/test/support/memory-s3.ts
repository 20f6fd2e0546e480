import { createHash, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import { s3Store, type S3StoreOptions } from "@cairn/checkpoint-s3";
import type { CheckpointStore } from "@cairn/checkpoint";
import { errorDocument, listingPage } from "./answering-server.ts";

/** The differences between a service and Amazon's. */
export interface S3Quirks {
  /**
   * How writes treat If-None-Match and If-Match: they compare, ignore or refuse them, or compare them with an ETag
   * without quotes.
   */
  conditions?: "honoured" | "ignored" | "refused" | "bare";
  /** Whether Range is ignored, so that everything is sent. */
  noRanges?: boolean;
  /** Whether DELETE is denied. */
  noDelete?: boolean;
  /** Whether CompleteMultipartUpload responds without an ETag. */
  noEtagOnComplete?: boolean;
  /** Whether the metadata of objects is not kept. */
  noMetadata?: boolean;
  /** Whether unfinished uploads are listed only by their full key, as MinIO lists them. */
  uploadsByKey?: boolean;
  /** Replaces the response to a request. Returns whether it did so. */
  interfere?: (asked: S3Asked, response: ServerResponse) => boolean;
  /**
   * Called with every response that contains a range or a file, before it is sent. May send a different response.
   * Returns whether it did so.
   */
  spoilBody?: (asked: S3Asked, body: Buffer, response: ServerResponse) => boolean;
  /** Returns whether to lose the response after the request has been executed. */
  loseAnswer?: (asked: S3Asked) => boolean;
}

/** An S3 request. */
export interface S3Asked {
  readonly method: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly range: string | undefined;
  readonly headers: IncomingMessage["headers"];
}

interface Stored {
  readonly body: Buffer;
  readonly etag: string;
  readonly at: Date;
  readonly headers: Record<string, string>;
}

/** An S3 service in memory that speaks HTTP and has one bucket. Its quirks may be changed while it is in use. */
export interface MemoryS3 {
  readonly endpoint: string;
  readonly quirks: S3Quirks;
  readonly asked: S3Asked[];
  readonly objects: Map<string, Stored>;
  readonly uploads: Map<string, { readonly key: string; at: Date; readonly parts: Map<number, Buffer> }>;
  /** Returns a store in its bucket. The store is closed at the end of the test. */
  store(options?: Partial<S3StoreOptions>): CheckpointStore;
}

const BUCKET = "checkpoints";

/** Starts a service on a free port. The service is stopped at the end of the test. */
export async function memoryS3(quirks: S3Quirks = {}): Promise<MemoryS3> {
  const objects: MemoryS3["objects"] = new Map();
  const uploads: MemoryS3["uploads"] = new Map();
  const asked: S3Asked[] = [];

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(Buffer.from(piece));
    const body = Buffer.concat(pieces);
    const url = new URL(request.url ?? "", "http://s3");
    const [, bucket, ...path] = url.pathname.split("/").map(decodeURIComponent);
    const { method = "", headers } = request;
    const one = { method, key: path.join("/"), query: url.searchParams, range: headers.range, headers };
    asked.push(one);
    if (quirks.interfere?.(one, response) === true) return;
    const send = (status: number, content: string | Buffer = "", more: Record<string, string> = {}): void => {
      if (quirks.loseAnswer?.(one) === true) return void request.socket.destroy();
      response.writeHead(status, { "content-length": String(Buffer.byteLength(content)), ...more });
      response.end(method === "HEAD" ? "" : content);
    };
    const fail = (status: number, code: string): void => send(status, errorDocument(code));
    const { key, query } = one;
    const found = objects.get(key);
    const uploadId = query.get("uploadId");
    const upload = uploadId === null ? undefined : uploads.get(uploadId);
    const refused = (): boolean => {
      const { "if-none-match": none, "if-match": match } = headers;
      if ((none === undefined && match === undefined) || quirks.conditions === "ignored") return false;
      if (quirks.conditions === "refused") fail(501, "NotImplemented");
      else if (none === "*" && found !== undefined) fail(412, "PreconditionFailed");
      else if (match !== undefined && found === undefined) fail(404, "NoSuchKey");
      else if (match !== undefined && match !== tagOf(found?.etag ?? "")) fail(412, "PreconditionFailed");
      else return false;
      return true;
    };
    const tagOf = (etag: string): string => (quirks.conditions === "bare" ? etag.replaceAll('"', "") : etag);
    const keep = (content: Buffer, etag: string): void => {
      const meta = Object.entries(headers).filter(
        ([name]) => name.startsWith("x-amz-meta-") && quirks.noMetadata !== true,
      );
      objects.set(key, {
        body: content,
        etag,
        at: new Date(),
        headers: Object.fromEntries(meta) as Record<string, string>,
      });
    };

    if (bucket !== BUCKET) return fail(404, "NoSuchBucket");
    if (key === "") {
      const prefix = query.get("prefix") ?? "";
      if (query.has("uploads"))
        return send(
          200,
          uploadsPage(
            [...uploads].filter(([, { key: at }]) =>
              quirks.uploadsByKey === true ? at === prefix : at.startsWith(prefix),
            ),
          ),
        );
      return send(
        200,
        listingPage(
          [...objects.keys()].filter((name) => name.startsWith(prefix)).toSorted(),
          undefined,
          objects,
        ),
      );
    }
    if (method === "POST" && query.has("uploads")) {
      const id = randomUUID();
      uploads.set(id, { key, at: new Date(), parts: new Map() });
      objectsHeaders.set(id, headers);
      return send(
        200,
        `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
      );
    }
    if (uploadId !== null) {
      if (upload === undefined) return fail(404, "NoSuchUpload");
      if (method === "PUT") {
        upload.parts.set(Number(query.get("partNumber")), body);
        return send(200, "", { etag: etagOf(body) });
      }
      if (method === "DELETE") {
        uploads.delete(uploadId);
        return send(204);
      }
      if (method === "GET") return send(200, "<ListPartsResult></ListPartsResult>");
      if (refused()) return undefined;
      const parts = [...upload.parts].toSorted(([a], [b]) => a - b).map(([, part]) => part);
      Object.assign(headers, objectsHeaders.get(uploadId));
      keep(Buffer.concat(parts), `"${randomUUID()}-${parts.length}"`);
      uploads.delete(uploadId);
      const etag = quirks.noEtagOnComplete === true ? "" : `<ETag>${objects.get(key)?.etag ?? ""}</ETag>`;
      return send(200, `<CompleteMultipartUploadResult>${etag}</CompleteMultipartUploadResult>`);
    }
    if (method === "PUT") {
      if (refused()) return undefined;
      keep(body, etagOf(body));
      return send(200, "", { etag: etagOf(body) });
    }
    if (method === "DELETE") {
      if (quirks.noDelete === true) return fail(403, "AccessDenied");
      objects.delete(key);
      return send(204);
    }
    if (found === undefined) return fail(404, "NoSuchKey");
    const { etag, headers: meta } = found;
    if (headers["if-match"] !== undefined && headers["if-match"] !== etag)
      return fail(412, "PreconditionFailed");
    const range = quirks.noRanges === true ? null : /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? "");
    if (range === null) {
      if (quirks.spoilBody?.(one, found.body, response) === true) return undefined;
      return send(200, method === "HEAD" ? "" : found.body, {
        etag,
        ...meta,
        "content-length": String(found.body.length),
      });
    }
    const [start, end] = [Number(range[1]), Math.min(Number(range[2]) + 1, found.body.length)];
    if (start >= found.body.length) return fail(416, "InvalidRange");
    const piece = found.body.subarray(start, end);
    response.setHeader("content-range", `bytes ${start}-${end - 1}/${found.body.length}`);
    response.setHeader("etag", etag);
    if (quirks.spoilBody?.(one, piece, response) === true) return undefined;
    return send(206, piece);
  };
  const objectsHeaders = new Map<string, IncomingMessage["headers"]>();

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      // The client closed the connection during the request.
      if (!request.destroyed) throw error;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stores: CheckpointStore[] = [];
  onTestFinished(async () => {
    for (const store of stores) await store.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  const endpoint = `http://127.0.0.1:${port}`;
  return {
    endpoint,
    quirks,
    asked,
    objects,
    uploads,
    store(options = {}) {
      const credentials = { accessKeyId: "key", secretAccessKey: "secret" };
      const store = s3Store({
        bucket: BUCKET,
        endpoint,
        credentials,
        prefix: "cairn/test",
        maxAttempts: 3,
        ...options,
      });
      stores.push(store);
      return store;
    },
  };
}

function etagOf(body: Buffer): string {
  return `"${createHash("md5").update(body).digest("hex")}"`;
}

function uploadsPage(
  uploads: readonly (readonly [string, { readonly key: string; readonly at: Date }])[],
): string {
  const all = uploads.map(
    ([id, { key, at }]) =>
      `<Upload><Key>${key}</Key><UploadId>${id}</UploadId><Initiated>${at.toISOString()}</Initiated></Upload>`,
  );
  return `<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>${all.join("")}</ListMultipartUploadsResult>`;
}
