// The XML documents of S3 responses.
const HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n';
const SPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';

const escaped = (text) =>
  String(text)
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
const time = (at) => new Date(at).toISOString();

/** Formats each entry as an element. */
const elements = (entries) =>
  Object.entries(entries)
    .map(([name, value]) => `<${name}>${escaped(value)}</${name}>`)
    .join("");

export const errorDocument = (word, sentence) =>
  `${HEAD}<Error>${elements({ Code: word, Message: sentence, RequestId: "0" })}</Error>`;

export const listing = ({ bucket, prefix, limit, page, next, encode }) =>
  `${HEAD}<ListBucketResult ${SPACE}>${elements({
    Name: bucket,
    Prefix: encode(prefix),
    MaxKeys: limit,
    KeyCount: page.length,
    EncodingType: "url",
    IsTruncated: next !== undefined,
    ...(next === undefined ? {} : { NextContinuationToken: next }),
  })}${page
    .map(
      ([key, { at, etag, size }]) =>
        `<Contents>${elements({ Key: encode(key), LastModified: time(at), ETag: etag, Size: size, StorageClass: "STANDARD" })}</Contents>`,
    )
    .join("")}</ListBucketResult>`;

export const uploadsListing = (bucket, uploads) =>
  `${HEAD}<ListMultipartUploadsResult ${SPACE}>${elements({ Bucket: bucket, IsTruncated: false })}${uploads
    .map(
      ([id, { key, at }]) => `<Upload>${elements({ Key: key, UploadId: id, Initiated: time(at) })}</Upload>`,
    )
    .join("")}</ListMultipartUploadsResult>`;

export const partsListing = (bucket, key, id, parts) =>
  `${HEAD}<ListPartsResult ${SPACE}>${elements({ Bucket: bucket, Key: key, UploadId: id, IsTruncated: false })}${parts
    .map(
      ([number, { etag, size }]) =>
        `<Part>${elements({ PartNumber: number, ETag: etag, Size: size })}</Part>`,
    )
    .join("")}</ListPartsResult>`;

export const begun = (bucket, key, id) =>
  `${HEAD}<InitiateMultipartUploadResult ${SPACE}>${elements({ Bucket: bucket, Key: key, UploadId: id })}</InitiateMultipartUploadResult>`;

export const completed = (bucket, key, etag) =>
  `${HEAD}<CompleteMultipartUploadResult ${SPACE}>${elements({ Bucket: bucket, Key: key, ETag: etag })}</CompleteMultipartUploadResult>`;
