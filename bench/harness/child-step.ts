import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { StepInput, StepName } from "../steps/steps.ts";
import type { Figures } from "./figures.ts";

/** What is asked of the process that a step runs in. */
export interface StepRequest {
  readonly name: string;
  readonly input: unknown;
}

/** What it answers. */
export type StepAnswer = { readonly figures: Figures } | { readonly error: string };

/**
 * Runs a step in a process of its own, so that memory, caches of the heap and a warmed-up compiler are its own too. Its clock starts
 * within the step: starting a process is not what is measured.
 */
export async function runStep<Name extends StepName>(
  name: Name,
  input: StepInput<Name>,
  execArgv: readonly string[] = [],
): Promise<Figures> {
  const path = fileURLToPath(new URL("../step.js", import.meta.url));
  const child = fork(path, { execArgv: [...execArgv], env: cleanEnvironment() });
  const answer = await new Promise<StepAnswer>((resolve) => {
    child.once("message", (message) => resolve(message as StepAnswer));
    child.once("error", (error) => resolve({ error: error.message }));
    child.once("exit", (code, signal) => resolve({ error: `ended with ${code ?? signal}` }));
    child.send({ name, input } satisfies StepRequest);
  });
  if (child.exitCode === null && child.signalCode === null && child.connected) {
    await new Promise<void>((resolve) => {
      child.once("exit", () => resolve());
      child.disconnect();
    });
  }
  if ("error" in answer) throw new Error(`${name} failed: ${answer.error}`);
  return answer.figures;
}

/** This process's environment without what would change a node's configuration. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => name !== "NATS_URL" && !name.startsWith("CAIRN_")),
  );
}
