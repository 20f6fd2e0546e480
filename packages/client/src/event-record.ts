/** Something that happened to an object of an application, recorded with POST /api/v1/events or the operation `event`. */
export interface EventRecord {
  /** What it happened to, such as `default/web-0` or `pod/web-0`. */
  readonly object: string;
  /** A word, such as `Scheduled`. */
  readonly reason: string;
  readonly message?: string;
  /** The bucket of the object. */
  readonly bucket?: string;
  /** Nanoseconds since 1970 in decimal digits: numbers of JSON would lose the last ones. The transaction's time when left out. */
  readonly time?: string;
  /** Such as `Normal` or `Warning`. */
  readonly type?: string;
  /** Who says so. */
  readonly source?: string;
}
