import { realpathSync } from "node:fs";
import { dirname } from "node:path";
import { CairnError, errorMessage, isCairnError, systemErrorCode } from "@cairn/kv";
import { VERSION } from "@cairn/text";
import { importPackage } from "./user-module.ts";

/** A package of Cairn that is installed only if a configuration needs it. */
export interface OptionalPackage<Exports> {
  /** Imports the package for a configuration in `folder`. Throws `CONFIG_INVALID` if it is not installed. */
  from(folder: string): Promise<Exports>;
}

/**
 * `load` imports the package as a dependency of this one. Where that fails, it is looked for in the folder of the
 * configuration, and then in that of the running program: package managers link a package to what declares it.
 */
export function optionalPackage<Exports extends object>(
  name: string,
  load: () => Promise<Exports>,
): OptionalPackage<Exports> {
  return {
    async from(folder) {
      try {
        return await load();
      } catch (error) {
        // The package itself may lack one of its dependencies.
        const isMissing = systemErrorCode(error) === "ERR_MODULE_NOT_FOUND";
        if (!isMissing || !errorMessage(error).includes(`'${name}'`)) throw error;
      }
      for (const place of [folder, ...programFolder()]) {
        try {
          return (await importPackage(name, place)) as Exports;
        } catch (error) {
          if (!isCairnError(error, "CONFIG_MODULE")) throw error;
        }
      }
      throw new CairnError(
        "CONFIG_INVALID",
        `The package ${name} is not installed.`,
        `Install it in the project that starts the node: npm install ${name}@${VERSION} (or pnpm add, or yarn add).`,
      );
    },
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
