import { readFile } from "node:fs/promises";

/** A fenced block of a Markdown file. */
export interface Block {
  readonly language: string;
  readonly text: string;
}

/** Returns the fenced blocks of a Markdown file, in order. */
export async function fencedBlocks(file: string | URL): Promise<Block[]> {
  const markdown = await readFile(file, "utf8");
  const blocks = markdown.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm);
  return Array.from(blocks, ([, language = "", text = ""]) => ({ language, text }));
}
