import { createRequire } from "node:module";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import vm from "node:vm";
import { CairnError, errorMessage, systemErrorCode } from "@cairn/kv";
import { nearestName } from "./nearest-name.ts";
import type { Origin } from "./config-tree.ts";

/** Creates a part: gets the options as they stand in the configuration, and what it may know of the node. */
export type UserModule = (options: Readonly<Record<string, unknown>>, context: object) => unknown;

/** Whether a text can only be the import specifier of a file, or says which export it means. */
export function isImportSpecifier(text: string): boolean {
  return /^(?:\.{1,2}\/|\/|file:)/.test(text) || text.includes("#");
}

/** Whether a text may be a package's name (with a path inside it). */
export function isPackageName(text: string): boolean {
  return (
    /^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*(?:\/[A-Za-z0-9._~/-]+)?$/.test(text) &&
    !text.includes("->")
  );
}

/** The folder that a user's module is looked up from: that of the file which names it, else the working directory. */
export function lookupFolder(origin: Origin, cwd: string): string {
  return origin.kind === "file" ? dirname(resolve(cwd, origin.label)) : cwd;
}

/** Imports a user's module and finds the function that it names. CONFIG_MODULE when there is none; what the module itself throws is the cause. */
export async function loadUserModule(specifier: string, folder: string): Promise<UserModule> {
  const hash = specifier.indexOf("#");
  const target = hash === -1 ? specifier : specifier.slice(0, hash);
  const wanted = hash === -1 ? undefined : specifier.slice(hash + 1);
  const exports = await importFrom(target, folder);
  const functions = Object.entries(exports).filter(
    (entry): entry is [string, UserModule] => typeof entry[1] === "function",
  );
  const names = functions.map(([name]) => name).toSorted();
  if (wanted === undefined) {
    const only = functions.length === 1 ? functions[0] : functions.find(([name]) => name === "default");
    if (only !== undefined) return only[1];
    throw new CairnError(
      "CONFIG_MODULE",
      `${target} exports ${names.length === 0 ? "no function" : "several functions"}.`,
      {
        hint:
          names.length === 0
            ? "Export a function that creates the part."
            : `Name one: ${names.map((name) => `${target}#${name}`).join(", ")}.`,
      },
    );
  }
  const found = functions.find(([name]) => name === wanted);
  if (found !== undefined) return found[1];
  const near = nearestName(wanted, names);
  const known = names.length === 0 ? "It exports no function." : `It exports ${names.join(", ")}.`;
  throw new CairnError("CONFIG_MODULE", `${target} exports no function ${wanted || "without a name"}.`, {
    hint: near === undefined ? known : `Did you mean ${target}#${near}?`,
  });
}

async function importFrom(target: string, folder: string): Promise<Record<string, unknown>> {
  try {
    if (target.startsWith("file:")) return await import(target);
    if (target.startsWith(".") || isAbsolute(target))
      return await import(pathToFileURL(resolve(folder, target)).href);
    return await importPackage(target, folder);
  } catch (error) {
    const missing = ["ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"].includes(systemErrorCode(error) ?? "");
    throw new CairnError(
      "CONFIG_MODULE",
      `${target} cannot be imported: ${errorMessage(error).split("\n", 1)[0]}`,
      {
        hint: missing ? `It is looked up from ${folder}.` : "The module itself failed while it was loaded.",
        cause: error,
      },
    );
  }
}

async function importPackage(name: string, folder: string): Promise<Record<string, unknown>> {
  const require = createRequire(join(folder, "cairn.json"));
  try {
    return await import(pathToFileURL(require.resolve(name)).href);
  } catch (error) {
    // A package may be for `import` alone; Node resolves those from another folder only through a script that stands there.
    if (systemErrorCode(error) !== "ERR_PACKAGE_PATH_NOT_EXPORTED") throw error;
    const script = new vm.Script("(name) => import(name)", {
      filename: join(folder, "cairn.json"),
      importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });
    const importThere: (name: string) => Promise<Record<string, unknown>> = script.runInThisContext();
    return importThere(name);
  }
}
