// Removes output of deleted sources from a package's dist/, which the compiler does not remove and which would be
// packed. Run it in the package's folder.
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

for (const folder of ["src", "testing"]) {
  if (!existsSync(`dist/${folder}`)) continue;
  for (const entry of readdirSync(`dist/${folder}`, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const output = join(entry.parentPath, entry.name);
    const source = output.slice("dist/".length).replace(/(?:\.d\.ts|\.js)(?:\.map)?$/, ".ts");
    if (!existsSync(source)) rmSync(output);
  }
}
