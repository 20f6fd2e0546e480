/** The values of a field for which a rule applies. A single value is equivalent to a list of one. */
export type FieldValues = FieldValue | readonly FieldValue[];

export type FieldValue = string | number | boolean;

/** A duration: an ISO-8601 string without years or months, or milliseconds. */
export type PolicyDuration = string | number;

/** The rule by which documents of a bucket expire: `after` their last write, if every field of `when` has one of its values. */
export interface ExpirePolicy {
  /** The documents that expire. Defaults to all documents of the bucket. A nested field is written as `outer.inner`. */
  readonly when?: { readonly [field: string]: FieldValues };
  readonly after: PolicyDuration;
}

/** At most `keep` items, none of which is older than `for`. An absent field sets no bound. */
export interface BoundPolicy {
  readonly keep?: number;
  readonly for?: PolicyDuration;
}

/** The rule that makes a bucket a queue, whose namespaces are its shards (docs/queues.md). */
export interface QueuePolicy {
  /** The number of shards, from 1 to 1,024. */
  readonly shards: number;
  /** The maximum number of entries of a shard. */
  readonly cap: number;
  /** An entry is finished once every one of these fields has one of its values. */
  readonly terminal: { readonly [field: string]: FieldValues };
  /** The duration for which a claim holds unless it is renewed. */
  readonly lease: PolicyDuration;
  /** What directors do with entries whose handler fails. Defaults to pauses from PT1S to PT5M, without a limit. */
  readonly retry?: RetryPolicy;
}

/** How often, and after which pauses, directors try an entry again. */
export interface RetryPolicy {
  /** The pause after the first failed attempt. Each further pause is twice as long. Defaults to PT1S. */
  readonly first?: PolicyDuration;
  /** The maximum pause. Defaults to PT5M. */
  readonly max?: PolicyDuration;
  /** The number of failed attempts after which the entry gets the fields of `dead`. */
  readonly limit?: number;
  /** Fields that finish an entry that is given up. */
  readonly dead?: { readonly [field: string]: FieldValue };
}

/** Rules that affect the results of every node. They are stored in the log (docs/policies.md). */
export interface Policies {
  /** For each bucket, the fields by which lists can be filtered. A nested field is written as `outer.inner`. */
  readonly indexes?: { readonly [bucket: string]: readonly string[] };
  readonly expire?: { readonly [bucket: string]: ExpirePolicy };
  /** The bound on the history of each document, by bucket. That of `*` applies to all buckets that are not named. */
  readonly history?: { readonly [bucket: string]: BoundPolicy };
  /** The bound on recorded events of all nodes and buckets together. Defaults to 100,000 events of any age. */
  readonly events?: BoundPolicy;
  /** The outcomes of the newest 2,000,000 are always kept, so `keep` is at least that. */
  readonly outcomes?: BoundPolicy;
  readonly queues?: { readonly [bucket: string]: QueuePolicy };
}

/** The policies in force. `revision` is the transaction that set them; null if they were never set. */
export interface PolicyState {
  readonly revision: number | null;
  readonly policies: Policies;
}

/** The values of an indexed field, each with the number of documents that have it. */
export interface FieldSummary {
  /** The counts by value; null while the field is being built. */
  readonly counts: Readonly<Record<string, number>> | null;
  /** True if there are more values than those listed. */
  readonly more: boolean;
}

/** A bucket as listed by GET /api/v1/buckets. */
export interface BucketSummary {
  readonly name: string;
  readonly documents: number;
  readonly fields: Readonly<Record<string, FieldSummary>>;
}
