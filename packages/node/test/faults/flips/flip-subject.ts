import type { Phase, Transaction } from "@cairn/client";
import type { Answer, Question } from "./question.ts";

/** What a node says when it does not answer. */
export class Refused extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(`${code}: ${message}`);
    this.code = code;
  }
}

/** The node's process ended, and not because it was asked to. */
export class Ended extends Error {}

/** How a node is, as GET /status has it. */
export interface Health {
  readonly phase: Phase;
  readonly failure: { readonly code: string; readonly message: string; readonly hint: string | null } | null;
  readonly movedAside: number;
  readonly skipped: number;
}

/** A running node. Everything but `health` and `stop` may throw {@link Refused}, and all of it {@link Ended}. */
export interface Subject {
  /** Answers the transaction's id once it is acknowledged, and indexed. */
  submit(transaction: Transaction): Promise<{ readonly txId: number; readonly time: number }>;
  ask(question: Question): Promise<Answer>;
  checkpoint(): Promise<void>;
  health(): Promise<Health>;
  /** Ends it in order. */
  stop(): Promise<void>;
}

/** How long one question may take: longer than any pause of a busy machine. */
export const PATIENCE_MS = 30_000;
