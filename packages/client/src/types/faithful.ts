import type { Json } from "./transaction.ts";

/**
 * `T` if documents of this type are the same after they were stored, as those of most interfaces are. Members that JSON
 * changes or drops (undefined, functions, a `Date`, a `Map`, …) do not compile.
 */
export type Faithful<T> = T extends Json
  ? T
  : T extends Unfaithful
    ? never
    : T extends object
      ? { readonly [Name in keyof T]: Faithful<T[Name]> }
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
