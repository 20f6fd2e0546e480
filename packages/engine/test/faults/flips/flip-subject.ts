import type { Phase, Transaction } from "@cairn/client";
import type { Answer, Question } from "./question.ts";

/** The error for a node that refuses a request. */
export class Refused extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}

/** The error for a node whose process ended unexpectedly. */
export class Ended extends Error {}

/** A node's state, as in GET /status. */
export interface Health {
  readonly phase: Phase;
  readonly failure: { readonly code: string; readonly message: string; readonly hint: string | null } | null;
  readonly movedAside: number;
  readonly skipped: number;
}

/** A running node. Everything except `health` and `stop` may throw {@link Refused}, and everything may throw {@link Ended}. */
export interface Subject {
  /** Returns the transaction's id once it is acknowledged and indexed. */
  submit(transaction: Transaction): Promise<{ readonly txId: number; readonly time: number }>;
  ask(question: Question): Promise<Answer>;
  checkpoint(): Promise<void>;
  health(): Promise<Health>;
  /** Shuts the node down cleanly. */
  stop(): Promise<void>;
}

/** The maximum time (ms) for one query. It is longer than any pause of a busy machine. */
export const PATIENCE_MS = 30_000;
