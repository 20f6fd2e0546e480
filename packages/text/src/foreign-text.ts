/** The beginnings of texts that are not UTF-8, with what they are and the command that converts them. */
const BEGINNINGS = [
  [[0xff, 0xfe], "UTF-16", "iconv -f UTF-16 -t UTF-8"],
  [[0xfe, 0xff], "UTF-16", "iconv -f UTF-16 -t UTF-8"],
  [[0x7b, 0x00], "UTF-16", "iconv -f UTF-16LE -t UTF-8"],
  [[0x00, 0x7b], "UTF-16", "iconv -f UTF-16BE -t UTF-8"],
  [[0x1f, 0x8b], "compressed by gzip", "gunzip -c"],
  [[0x28, 0xb5, 0x2f, 0xfd], "compressed by zstd", "zstd -dc"],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a], "compressed by xz", "xz -dc"],
  [[0x50, 0x4b, 0x03, 0x04], "a ZIP archive", "unzip -p"],
] as const;

/** Returns what bytes are that are not text in UTF-8, as a clause, and how to convert them; undefined if unknown. */
export function foreignText(bytes: Uint8Array): { readonly what: string; readonly hint: string } | undefined {
  const found = BEGINNINGS.find(([beginning]) => beginning.every((byte, at) => bytes[at] === byte));
  if (found === undefined) return undefined;
  const [, what, command] = found;
  const by = what === "UTF-16" ? " (PowerShell before version 7 writes it with >)" : "";
  return { what: `it is ${what}${by}`, hint: `Convert it to UTF-8: ${command} FILE > CONVERTED.` };
}
