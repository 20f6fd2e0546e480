import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { ROOT } from "@cairn/test-support/cairn-process";

const CACHE = join(ROOT, "node_modules/.cache/clients");
const BIN = join(CACHE, "bin");

/** The versions of the external tools. */
export const VERSIONS = {
  "openapi-generator": "7.17.0",
  "oapi-codegen": "2.8.2",
  "openapi-python-client": "0.29.1",
  schemathesis: "4.32.5",
};

/** Runs a command and returns its output. Throws with the output if the command fails. */
export async function run(
  command: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
): Promise<string> {
  const [program = "", ...args] = command;
  const path = `${BIN}${delimiter}${process.env["PATH"] ?? ""}`;
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, PATH: path, GOFLAGS: "-mod=mod", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk));
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`${command.join(" ")} exited with ${code}:\n${output}`);
  return output;
}

/**
 * Throws an error that names the first program that is missing on the machine. `programs` maps each name to a command
 * that must succeed.
 */
function need(programs: Readonly<Record<string, readonly string[]>>): void {
  for (const [name, command] of Object.entries(programs)) {
    if (spawnSync(command[0] ?? "", command.slice(1)).status !== 0)
      throw new Error(`This needs ${name}, and "${command.join(" ")}" does not run.`);
  }
}

/** Fetches the generators, so that {@link run} finds them under the names that docs/client.md uses. */
export async function fetchGenerators(): Promise<void> {
  need({ Java: ["java", "-version"], Maven: ["mvn", "-version"], Go: ["go", "version"] });
  await mkdir(BIN, { recursive: true });
  const version = VERSIONS["openapi-generator"];
  await writeFile(
    join(CACHE, "pom.xml"),
    `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>cairn</groupId><artifactId>generators</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.openapitools</groupId><artifactId>openapi-generator-cli</artifactId><version>${version}</version>
  </dependency></dependencies>
</project>
`,
  );
  const lib = join(CACHE, "lib");
  await run(["mvn", "-q", "-B", "dependency:copy-dependencies", `-DoutputDirectory=${lib}`], CACHE);
  const jar = join(lib, `openapi-generator-cli-${version}.jar`);
  await writeFile(join(BIN, "openapi-generator-cli"), `#!/bin/sh\nexec java -jar ${jar} "$@"\n`, {
    mode: 0o755,
  });
  const codegen = `github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v${VERSIONS["oapi-codegen"]}`;
  await run(["go", "install", codegen], CACHE, { GOBIN: BIN });
}
