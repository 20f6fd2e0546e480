import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** The result of a test or of a part of one, without the results of its parts. */
export interface TestResult {
  readonly outcome: "pass" | "fail" | "skip";
  readonly output: string;
}

/** A line of `go test -json` (`go doc test2json`). */
interface TestEvent {
  readonly Action: string;
  readonly Test?: string;
  readonly Output?: string;
}

/** A message of a test, as opposed to those about its beginning and end, and to what Kubernetes logs. */
const MESSAGE = /^ {4,}\w+\.go:\d+: (?![IWEF]\d{4} )/m;

/** Runs the tests of a module. Returns their results by their paths, such as `TestStore/RunTestGet`. */
export async function runGoTests(module: string, env: NodeJS.ProcessEnv): Promise<Map<string, TestResult>> {
  // Parts that would run in parallel await some events for 150 ms only.
  const args = ["test", "-json", "-count=1", "-parallel=1", "-timeout=20m", "."];
  const child = spawn("go", args, {
    cwd: module,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const outputs = new Map<string, string>();
  const ended = new Map<string, TestResult["outcome"]>();
  const lines = createInterface({ input: child.stdout }).on("line", (line) => {
    const { Action, Test = "", Output = "" } = JSON.parse(line) as TestEvent;
    outputs.set(Test, (outputs.get(Test) ?? "") + Output);
    if (Test !== "" && (Action === "pass" || Action === "fail" || Action === "skip")) ended.set(Test, Action);
  });
  const [[code]] = await Promise.all([once(child, "exit") as Promise<[number | null]>, once(lines, "close")]);
  const failed = [...ended].filter(([, outcome]) => outcome === "fail").map(([path]) => path);
  if ((code === 0) !== (failed.length === 0))
    throw new Error(`go test exited with ${code}: ${outputs.get("")}`);
  return new Map(
    [...ended].map(([path, outcome]) => {
      const output = outputs.get(path) ?? "";
      // A test fails if a part of it does.
      const hasFailedPart = failed.some((other) => other.startsWith(`${path}/`));
      return [path, { outcome: hasFailedPart && !MESSAGE.test(output) ? "pass" : outcome, output }];
    }),
  );
}
