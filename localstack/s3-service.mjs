// A small S3 service for development and tests without containers or a real service: one bucket, objects in files, and
// only the requests that a checkpoint store makes. It checks the access key but no signatures, so it must only be used
// on this machine.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { begun, completed, errorDocument, listing, partsListing, uploadsListing } from "./s3-answers.mjs";
import { openObjects } from "./s3-objects.mjs";

/** An S3 error response. */
class Refusal extends Error {
  constructor(status, word) {
    super(word);
    this.status = status;
    this.word = word;
  }
}

const MAX_KEYS = 1_000;
// S3 encodes keys in its listings, except for slashes.
const encode = (key) => encodeURIComponent(key).replaceAll("%2F", "/");

/**
 * Starts the service and returns its port. With `conditions: false`, it ignores If-None-Match and If-Match of writes.
 */
export async function startS3Service({ dir, port = 0, bucket, accessKeyId, conditions = true }) {
  const store = await openObjects(dir);
  const { objects, uploads } = store;

  const requireCondition = (key, headers) => {
    if (!conditions) return;
    const found = objects.get(key);
    const match = headers["if-match"];
    if (headers["if-none-match"] === "*" && found !== undefined) throw new Refusal(412, "PreconditionFailed");
    if (match === undefined) return;
    if (found === undefined) throw new Refusal(404, "NoSuchKey");
    if (found.etag !== match) throw new Refusal(412, "PreconditionFailed");
  };
  const uploadOf = (id, key) => {
    const upload = uploads.get(id);
    if (upload?.key !== key) throw new Refusal(404, "NoSuchUpload");
    return upload;
  };

  function list(query, response) {
    const prefix = query.get("prefix") ?? "";
    if (query.has("uploads")) {
      const open = [...uploads].filter(([, { key }]) => key.startsWith(prefix));
      return xml(response, uploadsListing(bucket, open));
    }
    const after = query.get("continuation-token") ?? query.get("start-after") ?? "";
    const limit = Math.min(MAX_KEYS, Number(query.get("max-keys") ?? MAX_KEYS));
    const found = [...objects]
      .filter(([key]) => key.startsWith(prefix) && key > after)
      .toSorted(([a], [b]) => (a < b ? -1 : 1));
    const page = found.slice(0, limit);
    const next = found.length > limit ? page.at(-1)?.[0] : undefined;
    return xml(response, listing({ bucket, prefix, limit, page, next, encode }));
  }

  async function get(key, request, response) {
    const object = objects.get(key);
    if (object === undefined) throw new Refusal(404, "NoSuchKey");
    const { size, etag, at, meta } = object;
    const match = request.headers["if-match"];
    if (match !== undefined && match !== etag) throw new Refusal(412, "PreconditionFailed");
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const start = Number(range?.[1] ?? 0);
    const end = Math.min(size, range?.[2] ? Number(range[2]) + 1 : size);
    if (range !== null && start >= size) throw new Refusal(416, "InvalidRange");
    response.writeHead(range === null ? 200 : 206, {
      ...meta,
      etag,
      "last-modified": new Date(at).toUTCString(),
      "content-length": end - start,
      "accept-ranges": "bytes",
      ...(range === null ? {} : { "content-range": `bytes ${start}-${end - 1}/${size}` }),
    });
    if (request.method === "HEAD") response.end();
    else await pipeline(store.read(object, start, end), response);
  }

  async function put(key, query, request, response) {
    const { headers } = request;
    // A copy has no body: without this refusal, it would store an empty object and look like a success.
    const isCopy = headers["x-amz-copy-source"] !== undefined;
    if (isCopy || headers["content-encoding"]?.includes("aws-chunked"))
      throw new Refusal(501, "NotImplemented");
    const length = Number(headers["content-length"] ?? Number.NaN);
    if (Number.isNaN(length)) throw new Refusal(411, "MissingContentLength");
    const id = query.get("uploadId");
    if (id !== null) uploadOf(id, key);
    const piece = await store.take(request, length);
    if (id === null) {
      try {
        requireCondition(key, headers);
      } catch (error) {
        await store.drop([piece]);
        throw error;
      }
      const { etag } = await store.keep(key, [piece], metaOf(headers));
      response.writeHead(200, { etag, "content-length": 0 }).end();
      return;
    }
    const upload = uploads.get(id);
    if (upload === undefined) {
      await store.drop([piece]);
      throw new Refusal(404, "NoSuchUpload");
    }
    const number = Number(query.get("partNumber"));
    const before = upload.parts.get(number);
    upload.parts.set(number, piece);
    if (before !== undefined) await store.drop([before]);
    response.writeHead(200, { etag: piece.etag, "content-length": 0 }).end();
  }

  async function post(key, query, request, response) {
    const body = await text(request);
    if (query.has("uploads")) {
      const id = randomUUID();
      uploads.set(id, { key, at: Date.now(), meta: metaOf(request.headers), parts: new Map() });
      return xml(response, begun(bucket, key, id));
    }
    const id = query.get("uploadId");
    const upload = uploadOf(id, key);
    const numbers = [...body.matchAll(/<PartNumber>(\d+)<\/PartNumber>/g)].map(([, number]) =>
      Number(number),
    );
    const parts = numbers.map((number) => upload.parts.get(number));
    if (parts.length === 0 || parts.includes(undefined)) throw new Refusal(400, "InvalidPart");
    requireCondition(key, request.headers);
    uploads.delete(id);
    const { etag } = await store.keep(key, parts, upload.meta);
    await store.drop(
      [...upload.parts].filter(([number]) => !numbers.includes(number)).map(([, part]) => part),
    );
    return xml(response, completed(bucket, key, etag));
  }

  async function remove(key, query, response) {
    const id = query.get("uploadId");
    if (id === null) await store.remove(key);
    else {
      const { parts } = uploadOf(id, key);
      uploads.delete(id);
      await store.drop([...parts.values()]);
    }
    response.writeHead(204).end();
  }

  async function handle(request, response) {
    // The address is not parsed as a URL, because that would resolve "." and ".." in a key as folders.
    const [, whole = "", search] = /^([^?]*)\??(.*)$/.exec(request.url ?? "") ?? [];
    const query = new URLSearchParams(search);
    const [, wantedBucket, ...path] = whole.split("/").map(decodeURIComponent);
    const key = path.join("/");
    const known = /Credential=([^/]+)\//.exec(request.headers.authorization ?? "")?.[1];
    if (known === undefined) throw new Refusal(403, "AccessDenied");
    if (known !== accessKeyId) throw new Refusal(403, "InvalidAccessKeyId");
    if (wantedBucket !== bucket) throw new Refusal(404, "NoSuchBucket");
    const { method } = request;
    if (key === "") {
      if (method === "GET") return list(query, response);
      // The bucket always exists, and creating it again succeeds.
      if (method === "HEAD" || method === "PUT")
        return void response.writeHead(200, { "content-length": 0 }).end();
      throw new Refusal(501, "NotImplemented");
    }
    if (method === "GET" && query.has("uploadId")) {
      const id = query.get("uploadId");
      return xml(response, partsListing(bucket, key, id, [...uploadOf(id, key).parts]));
    }
    if (method === "GET" || method === "HEAD") return get(key, request, response);
    if (method === "PUT") return put(key, query, request, response);
    if (method === "POST") return post(key, query, request, response);
    if (method === "DELETE") return remove(key, query, response);
    throw new Refusal(501, "NotImplemented");
  }

  const server = createServer((request, response) => {
    handle(request, response).catch((error) => {
      if (!(error instanceof Refusal) && !request.socket.destroyed) process.stderr.write(`${error.stack}\n`);
      if (response.headersSent || request.socket.destroyed) return void request.socket.destroy();
      const { status, word } = error instanceof Refusal ? error : { status: 500, word: "InternalError" };
      request.resume();
      if (request.method === "HEAD") return void response.writeHead(status).end();
      return xml(response, errorDocument(word, error.message), status);
    });
  });
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return {
    port: server.address().port,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function xml(response, content, status = 200) {
  response
    .writeHead(status, { "content-type": "application/xml", "content-length": Buffer.byteLength(content) })
    .end(content);
}

/** Returns the headers of a write that are stored with the object. */
function metaOf(headers) {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => name === "content-type" || name.startsWith("x-amz-meta-")),
  );
}
