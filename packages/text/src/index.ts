export { addressUrl } from "./address-url.ts";
export {
  BUCKET_PATTERN,
  bucketProblem,
  DEFAULT_NAMESPACE,
  documentKey,
  keyProblem,
  MAX_BUCKET,
  MAX_NAME,
  MAX_NAMESPACE,
  parseDocumentKey,
  qualifiedKey,
  quote,
  RESERVED_BUCKETS,
} from "./document-key.ts";
export {
  DURATION_CALLS,
  type DurationResult,
  luxonDuration,
  parseDuration,
  wholeMilliseconds,
} from "./duration.ts";
export { parseJson } from "./faithful-json.ts";
export { fileUrlPath } from "./file-url.ts";
export { foreignText } from "./foreign-text.ts";
export { isJsonText, MAX_JSON_DEPTH } from "./json-text.ts";
export { type NatsServer, parseServer } from "./nats-server.ts";
export { NDJSON, type NdjsonLine, ndjsonLines } from "./ndjson-lines.ts";
export { didYouMean, nearestName } from "./nearest-name.ts";
export { ownMember } from "./own-member.ts";
export {
  formatBytes,
  formatCount,
  formatDuration,
  formatNumberOf,
  formatRelative,
  formatTime,
} from "./quantities.ts";
export { repeatedKeys } from "./repeated-keys.ts";
export {
  isoTime,
  milliseconds,
  nanoseconds,
  parseAsOf,
  parseTime,
  parseTxId,
  REQUESTS_DESCRIBED,
} from "./times.ts";
export { omitUndefined, type WithoutUndefined } from "./omit-undefined.ts";
export { VERSION } from "./version.ts";
