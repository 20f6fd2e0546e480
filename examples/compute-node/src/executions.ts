import type { Policies } from "@cairn/node";

/** Where an execution is in its life. The last two are its ends. */
export type ExecutionState = "created" | "running" | "completed" | "failed";

/** A document of `executions`. Whoever wants something computed puts it as `created`; the compute node does the rest. */
export type Execution = {
  readonly state: ExecutionState;
  readonly password: string;
  /** How much work it is: so many rounds of PBKDF2. */
  readonly rounds: number;
  /** The derived key, once completed. */
  readonly output?: string;
  /** Why it failed. */
  readonly error?: string;
};

/** How many executions there are in each state; states without any are left out. */
export type Counters = Readonly<Record<string, number>>;

/** The bucket of the executions. */
export const BUCKET = "executions";

/** Executions are found and counted by their state, and go so long after they ended (ISO-8601). */
export function executionPolicies(keepFor: string): Policies {
  return {
    indexes: { [BUCKET]: ["state"] },
    expire: { [BUCKET]: { when: { state: ["completed", "failed"] }, after: keepFor } },
  };
}
