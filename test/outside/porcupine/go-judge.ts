import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** A judge in Go, which reads histories and prints verdicts, each as a line of JSON. */
export class GoJudge {
  readonly #program: string;

  private constructor(program: string) {
    this.#program = program;
  }

  /** Builds the program whose source is in the folder `source`, and fetches its dependencies. */
  static build(source: string, folder: string): GoJudge {
    const program = join(folder, "judge");
    const built = spawnSync("go", ["build", "-o", program, "."], { cwd: source, encoding: "utf8" });
    if (built.error !== undefined) throw new Error(`This needs Go: ${built.error.message}`);
    if (built.status !== 0) throw new Error(`The judge could not be built: ${built.stderr}`);
    return new GoJudge(program);
  }

  /** Returns the verdicts on `made`. With `isQuiet`, the judge's own reports are omitted. */
  async verdicts<V>(made: readonly unknown[], args: readonly string[] = [], isQuiet = false): Promise<V[]> {
    const child = spawn(this.#program, args, { stdio: ["pipe", "pipe", isQuiet ? "ignore" : "inherit"] });
    const verdicts: V[] = [];
    const lines = createInterface({ input: child.stdout }).on("line", (line) => {
      verdicts.push(JSON.parse(line) as V);
    });
    const read = once(lines, "close");
    const exited = once(child, "exit") as Promise<[number | null]>;
    child.stdin.end(made.map((one) => `${JSON.stringify(one)}\n`).join(""));
    const [code] = await exited;
    await read;
    if (code !== 0) throw new Error(`The judge exited with ${String(code)}.`);
    return verdicts;
  }
}
