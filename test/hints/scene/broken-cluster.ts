import path from "node:path";
import type { ErrorCode } from "@cairn/kv";
import { ROOT } from "@cairn/test-support/cairn-process";
import type { HintScene } from "./hint-scene.ts";

/** The first thing that an operator examines: a node's status, its log, or the output of a command. */
export type Symptom =
  | { readonly status: string }
  | { readonly log: string; readonly code: ErrorCode }
  | { readonly output: string };

/** A way to break a cluster, and the repair that its first hint requests. */
export interface BrokenCluster {
  /** The name of the cluster on the command line of main.ts. */
  readonly name: string;
  readonly failure: string;
  /** The codes that the operator sees. */
  readonly codes: readonly ErrorCode[];
  /** Additional arguments of the cluster's nats-server, and the content of a configuration file. */
  readonly nats?: { readonly args?: readonly string[]; readonly config?: string };
  /** Whether it mounts a small disk. */
  readonly needsRoot?: true;
  readonly break: (scene: HintScene) => Promise<Symptom>;
  readonly hint: RegExp;
  /** A warning that a repaired node keeps, because the loss is permanent. */
  readonly remains?: ErrorCode;
  /** Follows the hint literally. `match` is the match of `hint`. */
  readonly follow: (scene: HintScene, match: RegExpExecArray) => Promise<unknown>;
}

/** Starts two nodes and writes five documents. */
export async function pair(scene: HintScene): Promise<void> {
  await Promise.all([scene.ready("a"), scene.ready("b")]);
  await scene.fill("a", 1, 5);
}

/** The repair of a cluster that recovers by itself. */
export const byItself = async (): Promise<void> => {};

/** Returns the path of one of the certificates that the TLS tests use. */
export function certificate(name: string): string {
  return path.join(ROOT, "packages/log-nats/test/fixtures", `${name}.pem`);
}
