import { resolve } from "node:path";
import { CairnError } from "@cairn/kv";

/** The one option that the modules here take: a folder, relative to the working directory. Any other is a mistake. */
export function pathOption(options: Readonly<Record<string, unknown>>, otherwise?: string): string {
  const { path = otherwise, ...unknown } = options;
  const [name] = Object.keys(unknown);
  if (name !== undefined) {
    throw new CairnError("CONFIG_INVALID", `This module has no parameter ${name}.`, {
      hint: "It takes a path.",
    });
  }
  if (typeof path === "string" && path !== "") return resolve(path);
  throw new CairnError("CONFIG_INVALID", "This module needs a path, the folder that it keeps its files in.", {
    hint: 'Write "path": "/folder".',
  });
}
