/**
 * What texts of requests look like, as OpenAPI tells clients and as requests are read. Every engine of regular expressions reads them: there
 * is nothing here that looks ahead, which RE2 and Rust's do not know.
 */

const NUMBER = String.raw`[0-9]{1,9}(\.[0-9]{1,9})?`;
const SECONDS = `${NUMBER}S`;
const MINUTES = `${NUMBER}M(${SECONDS})?`;
const TIME = `T(${NUMBER}H(${NUMBER}M)?(${SECONDS})?|${MINUTES}|${SECONDS})`;
const DAYS = `(${NUMBER}W(${NUMBER}D)?|${NUMBER}D)`;

/** A duration of a parameter: ISO-8601 from weeks to seconds, or milliseconds. */
export const DURATION_PATTERN = `^([0-9]{1,15}|P(${DAYS}(${TIME})?|${TIME}))$`;

/** 1 to 1,024 of them; RE2 counts no further than 1,000. */
const upTo1024 = (one: string): string => `${one}{1,1000}${one}{0,24}`;

/** `namespace/name`, or a name alone. */
export const KEY_PATTERN = `^(${upTo1024("[^/]")}|[^/]{1,253}/${upTo1024(String.raw`[\s\S]`)})$`;

/** A duration of a policy, as text. */
export const POLICY_DURATION_PATTERN = `^P(${DAYS}(${TIME})?|${TIME})$`;

/** `field:value`. */
export const WHERE_PATTERN = String.raw`^[^:]+:[\s\S]*$`;

const CLOCK = String.raw`T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?`;

/** A transaction's id, or a time (of which nodes take more forms of ISO-8601). */
export const AS_OF_PATTERN = `^([0-9]{1,16}|[0-9]{4}-[0-9]{2}-[0-9]{2}(${CLOCK})?)$`;
