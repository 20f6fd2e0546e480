import { createHash, createHmac } from "node:crypto";
import type { S3Asked } from "./memory-s3.ts";

/**
 * Returns whether the secret key has signed a request without a body, and with it these headers (AWS Signature Version
 * 4). The bucket must be in the path.
 */
export function isSigned(
  { method, key, query, headers }: S3Asked,
  { bucket, secretAccessKey }: { readonly bucket: string; readonly secretAccessKey: string },
  wanted: readonly string[],
): boolean {
  const [, scope = "", list = "", signature] =
    /Credential=[^/]+\/(.*), SignedHeaders=(.*), Signature=(.*)$/.exec(headers.authorization ?? "") ?? [];
  const signed = list.split(";");
  const path = [bucket, ...key.split("/")].map((part) => `/${encoded(part)}`).join("");
  const parameters = [...query].map((pair) => pair.map(encoded).join("=")).toSorted();
  const request = [
    method,
    path,
    parameters.join("&"),
    ...signed.map((name) => `${name}:${String(headers[name])}`),
    "",
    list,
    String(headers["x-amz-content-sha256"]),
  ];
  const text = [
    "AWS4-HMAC-SHA256",
    String(headers["x-amz-date"]),
    scope,
    createHash("sha256").update(request.join("\n")).digest("hex"),
  ];
  const derived = scope.split("/").reduce<Buffer | string>(hmac, `AWS4${secretAccessKey}`);
  return (
    wanted.every((name) => signed.includes(name)) &&
    hmac(derived, text.join("\n")).toString("hex") === signature
  );
}

function hmac(key: Buffer | string, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function encoded(part: string): string {
  return encodeURIComponent(part).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
