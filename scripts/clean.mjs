// Removes the output of builds, so that the next build starts from the sources alone.
import { readdirSync, rmSync } from "node:fs";

for (const parent of [".", "packages", "examples", "test"]) {
  for (const entry of readdirSync(parent, { withFileTypes: true })) {
    if (entry.isDirectory() && entry.name !== "node_modules") {
      rmSync(`${parent}/${entry.name}/dist`, { recursive: true, force: true });
    }
  }
}
