/**
 * A validator of documents of type `T`, as Standard Schema 1 defines it. Those of zod, valibot and arktype are such
 * validators. `T` is what they accept, because documents are stored and returned as they are: what a schema makes of
 * them, such as defaults and other types, is not used.
 */
export interface Schema<T> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult | Promise<SchemaResult>;
    /** Exists only for the compiler. */
    readonly types?: { readonly input: T } | undefined;
  };
}

export type SchemaResult =
  | { readonly value: unknown; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}
