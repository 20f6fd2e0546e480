/** The type of an object without its undefined fields. Fields that may be undefined become optional. */
export type WithoutUndefined<T> = {
  [Name in keyof T as undefined extends T[Name] ? never : Name]: T[Name];
} & {
  [Name in keyof T as undefined extends T[Name] ? Name : never]?: Exclude<T[Name], undefined>;
};

export function omitUndefined<T extends object>(fields: T): WithoutUndefined<T> {
  // Object.fromEntries loses the names and types that WithoutUndefined preserves.
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as WithoutUndefined<T>;
}
