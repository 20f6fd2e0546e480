import type { IncomingMessage } from "node:http";

/** The kind of an S3 request. */
export type S3RequestKind =
  | "list"
  | "list uploads"
  | "list parts"
  | "head"
  | "get"
  | "put"
  | "delete"
  | "begin"
  | "part"
  | "complete"
  | "abort"
  | "other";

/** An S3 request by its line and headers, for addresses with the bucket in the path. */
export interface S3Request {
  readonly kind: S3RequestKind;
  /** The object's key; empty for requests about the bucket. */
  readonly key: string;
  /** The detail that distinguishes requests of one kind and key: the number of a part, a range, a prefix. */
  readonly detail: string;
  /**
   * The only condition of a write, if there is one: the object does not exist, or it has the ETag `onlyIfTag` (without
   * quotes).
   */
  readonly onlyIfAbsent: boolean;
  readonly onlyIfTag: string | undefined;
}

/** Parses an S3 request. */
export function s3Request({ method = "", url = "", headers }: IncomingMessage): S3Request {
  const { pathname, searchParams } = new URL(url, "http://proxy");
  const key = decodeURIComponent(pathname.split("/").slice(2).join("/"));
  const tag = headers["if-match"];
  return {
    kind: kindOf(method, key, searchParams),
    key,
    detail: searchParams.get("partNumber") ?? headers.range ?? searchParams.get("prefix") ?? "",
    onlyIfAbsent: headers["if-none-match"] === "*",
    onlyIfTag: tag?.replaceAll('"', ""),
  };
}

function kindOf(method: string, key: string, query: URLSearchParams): S3RequestKind {
  const ofUpload = query.has("uploadId");
  switch (method) {
    case "HEAD":
      return "head";
    case "GET":
      if (query.has("uploads")) return "list uploads";
      if (key === "") return "list";
      return ofUpload ? "list parts" : "get";
    case "PUT":
      if (key === "") return "other";
      return ofUpload ? "part" : "put";
    case "POST":
      if (query.has("uploads")) return "begin";
      return ofUpload ? "complete" : "other";
    case "DELETE":
      if (key === "") return "other";
      return ofUpload ? "abort" : "delete";
    default:
      return "other";
  }
}
