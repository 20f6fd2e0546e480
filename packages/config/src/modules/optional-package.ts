import { dirname } from "node:path";
import { CairnError, errorMessage, isCairnError, systemErrorCode } from "@cairn/kv";
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
      const program = process.argv[1];
      for (const place of program === undefined ? [folder] : [folder, dirname(program)]) {
        try {
          return (await importPackage(name, place)) as Exports;
        } catch (error) {
          if (!isCairnError(error, "CONFIG_MODULE")) throw error;
        }
      }
      throw new CairnError(
        "CONFIG_INVALID",
        `The package ${name} is not installed.`,
        `Install it with the program that starts the node: npm install ${name}`,
      );
    },
  };
}
