import path from "node:path";
import type { ErrorCode } from "@cairn/kv";
import { ROOT } from "../../support/cairn-process.ts";
import type { HintScene } from "./hint-scene.ts";

/** Where an operator looks first: at a node's status, at its log, or at what a command has said. */
export type Symptom =
  | { readonly status: string }
  | { readonly log: string; readonly code: ErrorCode }
  | { readonly said: string };

/** A cluster that is not well any more, and what its first hint asks for. */
export interface BrokenCluster {
  /** For the command line. */
  readonly name: string;
  readonly failure: string;
  /** The codes that an operator reads on the way. */
  readonly codes: readonly ErrorCode[];
  /** What its nats-server is started with: further arguments, and the text of a configuration file. */
  readonly nats?: { readonly args?: readonly string[]; readonly config?: string };
  /** Breaks it. */
  readonly break: (scene: HintScene) => Promise<Symptom>;
  readonly hint: RegExp;
  /** What a ready node goes on warning of, since nothing brings it back. */
  readonly remains?: ErrorCode;
  /** Does what the hint says, word by word; `match` is what the pattern found in it. */
  readonly follow: (scene: HintScene, match: RegExpExecArray) => Promise<unknown>;
}

/** Two nodes with five documents. */
export async function pair(scene: HintScene): Promise<void> {
  await Promise.all([scene.ready("a"), scene.ready("b")]);
  await scene.fill("a", 1, 5);
}

/** What a hint needs nobody for: it goes on by itself. */
export const byItself = async (): Promise<void> => {};

/** One of the certificates that the tests of TLS use. */
export function certificate(name: string): string {
  return path.join(ROOT, "packages/node/test/log/nats/fixtures", `${name}.pem`);
}
