import type { PointInTime } from "./client-types.ts";

/** An address without the slash at its end; a TypeError for what is none. */
export function checkedUrl(url: string): string {
  if (!/^https?:\/\//.test(url))
    throw new TypeError(`${url} is not the address of a node, such as http://10.0.0.7:3000.`);
  return url.replace(/\/+$/, "");
}

/** The path of a bucket. */
export function bucketPath(bucket: string): string {
  return `/api/v1/${encodeURIComponent(bucket)}`;
}

/** Namespace and name of a key. */
export function splitKey(key: string): { namespace: string; name: string } {
  const slash = key.indexOf("/");
  return slash < 0
    ? { namespace: "default", name: key }
    : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** A key with its namespace, for the parameter `key`: dot segments in an address are resolved on the way. */
export function qualified(key: string): string {
  const { namespace, name } = splitKey(key);
  return `${namespace}/${name}`;
}

/** A point in time as a parameter. */
export function pointText(point: PointInTime | undefined): string | number | undefined {
  return point instanceof Date ? point.toISOString() : point;
}

/** The revision in an answer's ETag, which is a weak one where the answer was compressed on its way. */
export function revisionOf(headers: Headers): number {
  return Number(/^(?:W\/)?"(\d+)"$/.exec(headers.get("etag") ?? "")?.[1]);
}

/** The cursor in an answer's link to the next page. */
export function nextCursor({ headers }: Pick<Response, "headers">): string | undefined {
  const cursor = /[?&]cursor=([^&>]*)[^>]*>; rel="next"/.exec(headers.get("link") ?? "")?.[1];
  return cursor === undefined ? undefined : decodeURIComponent(cursor);
}
