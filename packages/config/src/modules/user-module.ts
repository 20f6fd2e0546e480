import { statSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, isAbsolute, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import vm from "node:vm";
import { CairnError, errorMessage, isCairnError, systemErrorCode } from "@cairn/kv";
import type { Origin } from "../source/config-tree.ts";
import { absolutePath } from "../types/value-types.ts";

/** A function that creates a part from the options in the configuration and the node's context. */
export type UserModule = (options: Readonly<Record<string, unknown>>, context: object) => unknown;

export interface LoadedModule {
  readonly create: UserModule;
  readonly export: string;
  /** Undefined for a package with `import` exports alone, which Node resolves only while it imports it. */
  readonly url: string | undefined;
}

/** Returns whether a string is the import specifier of a file, or names an export. */
export function isImportSpecifier(text: string): boolean {
  return /^(?:\.{1,2}\/|\/|file:)/.test(text) || text.includes("#");
}

/** Returns whether a string may be the name of a package, with or without a path in it. */
export function isPackageName(text: string): boolean {
  return (
    /^(?:@[a-z0-9~-][a-z0-9._~-]*\/)?[a-z0-9~-][a-z0-9._~-]*(?:\/[A-Za-z0-9._~/-]+)?$/.test(text) &&
    !text.includes("->")
  );
}

/** The folder of the file that names the module or, if there is no such file, the working directory. */
export function lookupFolder(origin: Origin, cwd: string): string {
  return origin.kind === "file" ? dirname(resolve(cwd, origin.label)) : cwd;
}

/** Throws `CONFIG_MODULE` if there is no function. An error that the module itself throws is the cause. */
export async function loadUserModule(specifier: string, folder: string): Promise<LoadedModule> {
  const hash = specifier.indexOf("#");
  const target = hash === -1 ? specifier : specifier.slice(0, hash);
  const wanted = hash === -1 ? undefined : specifier.slice(hash + 1);
  const { url, exports } = await importFrom(target, folder);
  const functions = Object.entries(exports).filter(
    (entry): entry is [string, UserModule] => typeof entry[1] === "function",
  );
  const names = functions.map(([name]) => name).toSorted();
  const isOnly = wanted === undefined && functions.length === 1;
  const found = isOnly ? functions[0] : functions.find(([name]) => name === (wanted ?? "default"));
  if (found !== undefined) return { create: found[1], export: found[0], url };
  const what = wanted === undefined ? "" : ` ${wanted || "without a name"}`;
  const isOpen = wanted === undefined && names.length > 0;
  throw new CairnError(
    "CONFIG_MODULE",
    `${target} exports ${isOpen ? "several functions" : `no function${what}`}.`,
    names.length === 0
      ? "Export a function that creates the part."
      : `Name one: ${names.map((name) => `${target}#${name}`).join(", ")}.`,
  );
}

async function importFrom(
  target: string,
  folder: string,
): Promise<{ readonly url: string | undefined; readonly exports: Record<string, unknown> }> {
  try {
    const url = moduleUrl(target, folder);
    return { url, exports: await answered(target, importResolved(url, target, folder)) };
  } catch (error) {
    throw moduleError(`${target} cannot be imported`, error);
  }
}

/**
 * Returns the URL of a file or a package. Undefined for a package with `import` exports alone. Throws `CONFIG_MODULE` if
 * there is no such file, or the package is not installed in `folder` or above it.
 */
export function moduleUrl(target: string, folder: string): string | undefined {
  const file = fileOf(target, folder);
  if (file === undefined) return packageUrl(target, folder);
  const found = statSync(file, { throwIfNoEntry: false });
  if (found?.isFile() === true) return pathToFileURL(file).href;
  throw new CairnError(
    "CONFIG_MODULE",
    found === undefined ? `There is no file ${file}.` : `${file} is not a file.`,
    "Correct the path. A relative path is resolved from the folder of the file that names it.",
  );
}

/**
 * Rejects if the process runs out of work before the result: otherwise, Node would exit silently with code 13. If the
 * process ends with code 0 before it, says so, because that may be the module's doing.
 */
export async function answered<T>(specifier: string, answer: T | PromiseLike<T>): Promise<T> {
  const whenEnded = (code: number): void => {
    if (code !== 0) return;
    const message = `The process ended while ${specifier} was loaded or created its part.`;
    const hint = "If the module calls process.exit, remove that: it may only return or throw.";
    writeSync(2, `CONFIG_MODULE: ${message}\n  hint: ${hint}\n`);
  };
  return await new Promise<T>((settle, reject) => {
    const whenDrained = (): void => {
      const hint = "Resolve or reject the promise in the module, because no running code could still do so.";
      reject(new CairnError("CONFIG_MODULE", `${specifier} returned a promise that never settles.`, hint));
    };
    process.once("beforeExit", whenDrained).once("exit", whenEnded);
    void Promise.resolve(answer)
      .finally(() => process.off("beforeExit", whenDrained).off("exit", whenEnded))
      .then(settle, reject);
  });
}

/** Wraps an error from a user's module. Errors with a code remain unchanged. */
export function moduleError(what: string, error: unknown): CairnError {
  if (isCairnError(error)) return error;
  const [first = ""] = errorMessage(error).split("\n", 1);
  const end = /[.!?]$/.test(first) ? "" : ".";
  const hint =
    "Correct that module, or what its error names. For a syntax error, node --check FILE names the line.";
  return new CairnError("CONFIG_MODULE", `${what}: ${first}${end}`, { hint, cause: error });
}

function fileOf(target: string, folder: string): string | undefined {
  if (/^(?:\.{0,2}\/|file:)/.test(target))
    return absolutePath(target.replace(/^file:(?!\/\/\/)/, ""), folder);
  return isAbsolute(target) ? target : undefined;
}

/** Throws `CONFIG_MODULE` if the package is not installed in `folder` or above it. */
export async function importPackage(name: string, folder: string): Promise<Record<string, unknown>> {
  return importResolved(packageUrl(name, folder), name, folder);
}

function packageUrl(name: string, folder: string): string | undefined {
  try {
    return pathToFileURL(createRequire(anchorIn(folder)).resolve(name)).href;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "MODULE_NOT_FOUND") {
      throw new CairnError(
        "CONFIG_MODULE",
        `There is neither a top-level key nor a package ${name}.`,
        `Define the key, or install the package in ${folder}, from which packages are resolved.`,
      );
    }
    if (code !== "ERR_PACKAGE_PATH_NOT_EXPORTED") throw error;
    return undefined;
  }
}

async function importResolved(
  url: string | undefined,
  name: string,
  folder: string,
): Promise<Record<string, unknown>> {
  if (url !== undefined) return import(url);
  // For packages with only `import` exports: Node resolves them from a folder only for a script in it.
  const script = new vm.Script("(name) => import(name)", {
    filename: anchorIn(folder),
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  const importThere: (name: string) => Promise<Record<string, unknown>> = script.runInThisContext();
  return importThere(name);
}

/** The file from which packages are resolved, which need not exist. */
function anchorIn(folder: string): string {
  return resolve(folder, "cairn.json");
}
