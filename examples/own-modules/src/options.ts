import { resolve } from "node:path";
import { CairnError } from "@cairn/kv";

/** Returns the only parameter of these modules: a folder, relative to the working directory. Throws if there are others. */
export function pathOption(options: Readonly<Record<string, unknown>>, defaultPath?: string): string {
  const { path = defaultPath, ...unknown } = options;
  const [name] = Object.keys(unknown);
  if (name !== undefined) {
    throw new CairnError("CONFIG_INVALID", `This module has no parameter ${name}.`, {
      hint: "Its only parameter is path.",
    });
  }
  if (typeof path === "string" && path !== "") return resolve(path);
  throw new CairnError("CONFIG_INVALID", "This module needs a path, the folder for its files.", {
    hint: 'Write "path": "/folder".',
  });
}
