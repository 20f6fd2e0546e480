/** A value in the form of JSON, as `config print` shows it. */
export type SettingValue =
  | null
  | boolean
  | number
  | string
  | readonly SettingValue[]
  | { readonly [name: string]: SettingValue };

export type JsonSchema = { readonly [name: string]: SettingValue };

export function eitherOf(...schemas: readonly JsonSchema[]): JsonSchema {
  return { anyOf: schemas };
}
