import { type StoredFile, isStoreName } from "@cairn/checkpoint";
import { type S3Access, unexpectedResponse } from "./s3-access.ts";
import { pauseBefore } from "./s3-pause.ts";

/** Lists files by `prefix`, in the order of their names, with one request per thousand objects. */
export async function listObjects(access: S3Access, prefix: string): Promise<StoredFile[]> {
  const { prefix: own, location } = access.settings;
  const doing = "listing its files";
  const files: StoredFile[] = [];
  let token: string | undefined;
  do {
    const ContinuationToken = token;
    // Names of foreign objects may contain characters that XML cannot represent.
    const page = await access.call(
      "listObjectsV2",
      { Prefix: own + prefix, EncodingType: "url", ContinuationToken },
      { doing },
    );
    // If the page is not a listing, the SDK returns no fields, which must not look like an empty store.
    const { Name, KeyCount, MaxKeys, IsTruncated } = page;
    if ((Name ?? KeyCount ?? MaxKeys ?? IsTruncated) === undefined)
      throw unexpectedResponse(location, doing, "the response was not a listing");
    for (const { Key, Size, LastModified } of page.Contents ?? []) {
      const key = page.EncodingType === "url" ? decoded(Key) : Key;
      const name = key?.startsWith(own) === true ? key.slice(own.length) : "";
      if (!isStoreName(name) || Size === undefined || LastModified === undefined) continue;
      files.push({ name, bytes: Size, modifiedAt: LastModified.getTime() });
    }
    token = IsTruncated === true ? page.NextContinuationToken : undefined;
    // A part of the store must not be mistaken for the whole, and the same page must not be requested forever.
    if (IsTruncated === true && (token === undefined || token === "" || token === ContinuationToken))
      throw unexpectedResponse(
        location,
        doing,
        "the listing was truncated without a usable marker to continue from",
      );
  } while (token !== undefined);
  return files.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function decoded(key: string | undefined): string | undefined {
  if (key === undefined || !/[%+]/.test(key)) return key;
  try {
    return decodeURIComponent(key.replaceAll("+", " "));
  } catch (error) {
    // The name is foreign: in Cairn's names, only slashes are encoded.
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

/** Tries a few times, because some services list new objects late. */
export async function listsObject(access: S3Access, Key: string): Promise<boolean> {
  for (let attempt = 0; attempt < access.settings.maxAttempts; attempt++) {
    if (attempt > 0) await pauseBefore(attempt - 1);
    const { Contents = [], EncodingType } = await access.call(
      "listObjectsV2",
      { Prefix: Key, MaxKeys: 1, EncodingType: "url" },
      { doing: "finding out what it supports" },
    );
    const [first] = Contents;
    if ((EncodingType === "url" ? decoded(first?.Key) : first?.Key) === Key) return true;
  }
  return false;
}

/** The date of the response to a listing of at most one object. Undefined if no response had a date. */
export async function currentDate(access: S3Access, name: string): Promise<number | undefined> {
  const Prefix = access.settings.prefix + name;
  await access.call("listObjectsV2", { Prefix, MaxKeys: 1 }, { doing: "reading its clock" });
  return access.lastDate();
}
