/** The archive formats that this version writes and reads (docs/internals/checkpoint-format.md). */
export const ARCHIVE_FORMATS = {
  none: "tar/1",
  gzip: "tar+gzip/1",
  "encrypted-none": "tar+age/1",
  "encrypted-gzip": "tar+gzip+age/1",
} as const;

/** An encrypted archive is compressed before. */
export function archivePacking({ format: { archive } }: { readonly format: { readonly archive: string } }): {
  readonly compression: "none" | "gzip";
  readonly encrypted: boolean;
} {
  return { compression: archive.includes("+gzip") ? "gzip" : "none", encrypted: archive.includes("+age") };
}
