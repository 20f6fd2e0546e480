import type { DocumentVersion } from "@cairn/engine";
import { formatTime } from "@cairn/text";
import { type Column, shorten } from "./columns.ts";

export type ParsedVersion = Omit<DocumentVersion, "json"> & { readonly document?: unknown };

export const VERSION_COLUMNS: readonly Column<ParsedVersion>[] = [
  ["REVISION", ({ revision }) => String(revision), "right"],
  ["TIME", ({ txTime }) => formatTime(txTime)],
  ["DOCUMENT", ({ deleted, document }) => (deleted ? "(deleted)" : shorten(JSON.stringify(document)))],
];
