import { realpathSync } from "node:fs";
import { dirname } from "node:path";
import { CairnError, errorMessage, systemErrorCode, unlessFailed } from "@cairn/kv";
import { VERSION } from "@cairn/text";
import { importPackage } from "./user-module.ts";

/**
 * Returns a function that imports a package of Cairn that is installed only if a configuration needs it, for a
 * configuration in a folder. It throws `CONFIG_INVALID` if the package is not installed. `load` imports it as a
 * dependency of this one. Where that fails, it is looked for in the folder of the configuration, and then in that of the
 * running program: package managers link a package to what declares it.
 */
export function optionalPackage<Exports extends object>(
  name: string,
  load: () => Promise<Exports>,
): (folder: string) => Promise<Exports> {
  return async (folder) => {
    try {
      return await load();
    } catch (error) {
      // The package itself may lack one of its dependencies.
      const isMissing = systemErrorCode(error) === "ERR_MODULE_NOT_FOUND";
      if (!isMissing || !errorMessage(error).includes(`'${name}'`)) throw error;
    }
    for (const place of [folder, ...programFolder()]) {
      const found = await unlessFailed(importPackage(name, place), "CONFIG_MODULE", undefined);
      if (found !== undefined) return found as Exports;
    }
    throw new CairnError(
      "CONFIG_INVALID",
      `The package ${name} is not installed.`,
      `Install it in the project that starts the node: npm install ${name}@${VERSION} (or pnpm add, or yarn add).`,
    );
  };
}

/** Like Node, follows the link through which a command is started. Code that is not in a file has no folder. */
function programFolder(): readonly string[] {
  try {
    return process.argv[1] === undefined ? [] : [dirname(realpathSync(process.argv[1]))];
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
    return [];
  }
}
