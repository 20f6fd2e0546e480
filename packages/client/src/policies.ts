/** Values that a field may have for a rule to hold; one alone stands for a list of one. */
export type FieldValues = FieldValue | readonly FieldValue[];

/** What a field can be compared with. */
export type FieldValue = string | number | boolean;

/** ISO-8601 text (no years or months), or milliseconds. */
export type PolicyDuration = string | number;

/** When documents of a bucket go by themselves: so long after their last write, where every field of `when` has one of its values. */
export interface ExpirePolicy {
  /** All of the bucket's documents when left out. A field inside another is written `outer.inner`. */
  readonly when?: { readonly [field: string]: FieldValues };
  readonly after: PolicyDuration;
}

/** How much stays: at most so many, and none older. What is left out bounds nothing. */
export interface BoundPolicy {
  readonly keep?: number;
  readonly for?: PolicyDuration;
}

/** Rules that change what every node computes. They live in the log (docs/policies.md). */
export interface Policies {
  /** By bucket, the fields whose values lists can ask for. A field inside another is written `outer.inner`. */
  readonly indexes?: { readonly [bucket: string]: readonly string[] };
  /** By bucket. */
  readonly expire?: { readonly [bucket: string]: ExpirePolicy };
  /** By bucket, how much of the past of each document stays. */
  readonly history?: { readonly [bucket: string]: BoundPolicy };
  /** How many recorded events stay, of all nodes and buckets together; 100,000 of any age when left out. */
  readonly events?: BoundPolicy;
}

/** Policies as the log has them; `revision` is the transaction that set them, null where none did. */
export interface PolicyState {
  readonly revision: number | null;
  readonly policies: Policies;
}
