import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The version of Clojure to compare with. */
export const CLOJURE_VERSION = "1.12.0";

const PACKAGE = fileURLToPath(new URL("../../../", import.meta.url));
const FOLDER = join(PACKAGE, "node_modules", ".cache", "clojure", CLOJURE_VERSION);
const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>cairn</groupId><artifactId>judges</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.clojure</groupId><artifactId>clojure</artifactId><version>${CLOJURE_VERSION}</version>
  </dependency></dependencies>
</project>
`;

/**
 * Runs a script below `test/outside` on Clojure. Returns a line of output for each line of input. If something is
 * missing on the machine, throws an error that names it.
 */
export async function runClojure(script: string, lines: readonly string[]): Promise<string[]> {
  for (const tool of ["java", "mvn"]) {
    if (spawnSync(tool, ["-version"]).error !== undefined)
      throw new Error(`This needs Java and Maven, and there is no "${tool}".`);
  }
  await mkdir(FOLDER, { recursive: true });
  await writeFile(join(FOLDER, "pom.xml"), POM);
  const goal = ["-q", "-B", "dependency:copy-dependencies", `-DoutputDirectory=${join(FOLDER, "lib")}`];
  const fetched = spawnSync("mvn", goal, { cwd: FOLDER, encoding: "utf8" });
  if (fetched.status !== 0)
    throw new Error(`Maven did not fetch Clojure:\n${fetched.stdout}${fetched.stderr}`);
  const file = join(PACKAGE, "test", "outside", script);
  const args = ["-cp", join(FOLDER, "lib", "*"), "clojure.main", file];
  const child = spawn("java", args, { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  child.stdin.end(`${lines.join("\n")}\n`);
  const answers: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) answers.push(line);
  const [code] = (await exited) as [number | null];
  if (code !== 0 || answers.length !== lines.length)
    throw new Error(`Clojure exited with code ${code} after ${answers.length} of ${lines.length} lines.`);
  return answers;
}

/** Returns a string as a line: its UTF-16 units in hexadecimal digits. */
export function hexOf(text: string): string {
  return Buffer.from(text, "utf16le").swap16().toString("hex");
}
