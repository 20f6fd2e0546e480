import type { Json } from "./transaction.ts";

/**
 * `T` if documents of this type are the same after they were stored, as those of most interfaces are. Members that JSON
 * changes or drops (functions, a `Date`, a `Map`, …) do not compile. An optional member may also be undefined, which reads
 * the same.
 */
export type Faithful<T> = T extends Json
  ? T
  : T extends Unfaithful
    ? never
    : T extends object
      ? { readonly [Name in keyof T]: Faithful<T[Name]> | Absent<T, Name> }
      : never;

/** An item of a list is not optional: undefined becomes null there. */
type Absent<T, Name extends keyof T> = T extends readonly unknown[]
  ? never
  : Record<never, never> extends Pick<T, Name>
    ? undefined
    : never;

type Unfaithful =
  | ((...given: never[]) => unknown)
  | { toJSON(): unknown }
  | ReadonlyMap<unknown, unknown>
  | ReadonlySet<unknown>
  | ArrayBufferView
  | ArrayBuffer
  | Promise<unknown>
  | RegExp
  | Error;
