import type { StepAnswer, StepRequest } from "./harness/child-step.ts";
import type { Figures } from "./harness/figures.ts";
import { STEPS } from "./steps/steps.ts";

// This is the process of one step. It receives a request from its parent, sends the figures, and exits when the parent
// disconnects.
process.once("message", (message) => {
  runRequest(message as StepRequest).then(
    (figures) => answer({ figures }),
    (error: unknown) =>
      answer({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});

async function runRequest({ name, input }: StepRequest): Promise<Figures> {
  const steps: Readonly<Record<string, () => Promise<(input: never) => Promise<Figures>>>> = STEPS;
  const step = await steps[name]?.();
  if (step === undefined) throw new Error(`there is no step ${name}`);
  const begin = process.cpuUsage();
  const figures = await step(input as never);
  const { user, system } = process.cpuUsage(begin);
  return { ...figures, "cpu s": (user + system) / 1_000_000 };
}

function answer(message: StepAnswer): void {
  process.send?.(message);
}
