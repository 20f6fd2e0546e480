export interface ImportedDocument {
  readonly bucket: string;
  readonly namespace: string;
  readonly name: string;
  /** The document as JSON text. */
  readonly json: string;
}

export interface ImportRefusal {
  readonly code: string;
  readonly message: string;
}

/** A record of the source of an import: a document, or the reason why it cannot become one. */
export interface ImportRecord {
  /** The record's key in the source, which identifies it in the report. */
  readonly sourceKey: string | { readonly base64: string };
  readonly result: ImportedDocument | ImportRefusal;
  /** True if the source removes the record by itself after some time. */
  readonly expires?: boolean;
}

export interface ImportSource {
  /** The records, in arrays whose size is bounded. */
  readonly records: AsyncIterable<readonly ImportRecord[]>;
  /** The number of records, if it is known when the import begins. */
  readonly total: number | undefined;
  close(): void | Promise<void>;
}

/** A key with its value, as the stores from which records are imported return them. */
export interface KeyValue {
  readonly key: Buffer;
  /** The bytes of the value, its JSON text, or the reason why it has no counterpart in JSON. */
  readonly value: Buffer | { readonly json: string } | ImportRefusal;
  readonly expires: boolean;
}

export interface KeyValueSource extends Omit<ImportSource, "records"> {
  readonly pairs: AsyncIterable<readonly KeyValue[]>;
}

export function isRefusal(value: object): value is ImportRefusal {
  return "code" in value;
}
