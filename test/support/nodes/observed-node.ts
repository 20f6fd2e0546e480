import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type CheckpointerOptions, type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import type { Logger } from "pino";
import { onTestFinished } from "vitest";
import { type NodeEvent, type Work, type CairnNode, type System, openEmbeddedTxLog } from "@cairn/engine";
import type { RunOptions } from "@cairn/engine/src/node/node";
import { runNode } from "@cairn/node";
import { quietSystem } from "./quiet-system.ts";

/** Nodes over one embedded log and one store, and their events. Everything is removed after the test. */
export interface ObservedScene {
  readonly folder: string;
  readonly store: CheckpointStore;
  readonly events: NodeEvent[];
  start(
    id: string,
    more?: Partial<System> & {
      readonly checkpointing?: Partial<CheckpointerOptions>;
      readonly logger?: Logger;
      readonly onEvent?: (event: NodeEvent) => void;
      readonly stall?: RunOptions["stall"];
    },
  ): Promise<CairnNode>;
}

/** Creates a scene. */
export async function observedScene(): Promise<ObservedScene> {
  const folder = await mkdtemp(path.join(tmpdir(), "cairn-observed-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const store = filesystemStore({ path: path.join(folder, "checkpoints") });
  const events: NodeEvent[] = [];
  const openTxLog = () => openEmbeddedTxLog({ path: path.join(folder, "log") });
  return {
    folder,
    store,
    events,
    start: async (id, { checkpointing, logger, onEvent, stall, ...system } = {}) => {
      const checkpointer = { store, ...checkpointing };
      const node = await runNode(
        { ...quietSystem({ folder, nodeId: id, openTxLog, checkpointer }), ...system },
        {
          onEvent: (event) => {
            events.push(event);
            onEvent?.(event);
          },
          ...(logger === undefined ? {} : { logger }),
          ...(stall === undefined ? {} : { stall }),
        },
      );
      onTestFinished(() => node.close());
      return node;
    },
  };
}

/** Writes a document and waits until it is indexed. */
export async function put(node: CairnNode, name: string, document: unknown = name): Promise<number> {
  const { txId } = await node.submit({
    ops: [["put", "things", `default/${name}`, JSON.parse(JSON.stringify(document))]],
  });
  await node.await(txId);
  return txId;
}

/** Returns the events of one kind of task. */
export function of<W extends Work>(events: readonly NodeEvent[], work: W): (NodeEvent & { work: W })[] {
  return events.filter((event): event is NodeEvent & { work: W } => event.work === work);
}

/** Returns the runs that do not have exactly one begin, followed by exactly one end. */
export function unpaired(events: readonly NodeEvent[]): number[] {
  const stages = new Map<number, string>();
  for (const { run, stage } of events) stages.set(run, `${stages.get(run) ?? ""} ${stage}`);
  return [...stages].filter(([, told]) => !/^ begun (ended|failed)$/.test(told)).map(([run]) => run);
}
