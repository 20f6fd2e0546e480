import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { StepInput, StepName } from "../steps/steps.ts";
import type { Figures } from "./figures.ts";

/** The message to a step's process. */
export interface StepRequest {
  readonly name: string;
  readonly input: unknown;
}

/** The message from a step's process. */
export type StepAnswer = { readonly figures: Figures } | { readonly error: string };

/**
 * Runs a step in a separate process, so that it shares neither memory nor compiled code with others. The step's clock
 * starts inside it, so that the start of the process is not measured.
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
    child.once("exit", (code, signal) => resolve({ error: `exited with ${code ?? signal}` }));
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

/** Returns this process's environment without variables that would configure a node. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => name !== "NATS_URL" && !name.startsWith("CAIRN_")),
  );
}
