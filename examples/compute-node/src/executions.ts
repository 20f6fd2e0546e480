import type { Policies } from "@cairn/node";

/** The state of an execution. The last two are final. */
export type ExecutionState = "created" | "running" | "completed" | "failed";

/** A document of `executions`. Clients put it as `created`, and the compute node updates it. */
export type Execution = {
  readonly state: ExecutionState;
  readonly password: string;
  /** The amount of work: rounds of PBKDF2. */
  readonly rounds: number;
  /** The derived key, once completed. */
  readonly output?: string;
  /** The reason for the failure. */
  readonly error?: string;
};

/** The number of executions in each state. States without executions are absent. */
export type Counters = Readonly<Record<string, number>>;

/** The bucket of the executions. */
export const BUCKET = "executions";

/** Returns the policies: executions are indexed by state, and expire `keepFor` (ISO 8601) after they have ended. */
export function executionPolicies(keepFor: string): Policies {
  return {
    indexes: { [BUCKET]: ["state"] },
    expire: { [BUCKET]: { when: { state: ["completed", "failed"] }, after: keepFor } },
  };
}
