import type { DocumentVersion } from "@cairn/engine";
import { formatTable, shorten } from "./columns.ts";
import { formatTime } from "@cairn/text";
import type { Output } from "./terminal.ts";

export type ParsedVersion = Omit<DocumentVersion, "json"> & { readonly document?: unknown };

export function versionTable(versions: readonly ParsedVersion[], output: Output): string {
  const rows = versions.map(({ revision, txTime, deleted, document }) => [
    String(revision),
    formatTime(txTime),
    deleted ? "(deleted)" : shorten(JSON.stringify(document)),
  ]);
  return formatTable(["REVISION", "TIME", "DOCUMENT"], rows, ["REVISION"], output);
}
