import { type Checkpointer, startCheckpointer } from "@cairn/checkpoint";
import type { Logger } from "pino";
import { checkpointerWorks } from "./events/checkpointer-works.ts";
import { indexSource } from "./index-source.ts";
import type { IndexStore } from "./index-store/index-store.ts";
import type { NodeObservation } from "./node-observation.ts";
import type { System } from "./system/system.ts";
import type { TxLog } from "./tx-log/tx-log.ts";
import { NodeUpkeep } from "./upkeep/node-upkeep.ts";

/** What the services of a ready node work with. */
export interface ServiceParts {
  readonly system: System;
  readonly log: TxLog;
  readonly index: IndexStore;
  readonly stagingDir: string;
  readonly logger: Logger;
  readonly observation: NodeObservation;
  /** Told why the index could not be captured. */
  readonly suspect: (error: unknown) => void;
}

/** An upload under way may end in it, else it is aborted: a node stops within 10 s. */
const CHECKPOINTER_STOP_MS = 5_000;

/** What runs beside the index of a ready node, from then until it leaves that index. */
export class ReadyServices {
  readonly checkpointer: Checkpointer | undefined;
  readonly upkeep: NodeUpkeep;

  constructor({ system, log, index, stagingDir, logger, observation, suspect }: ServiceParts) {
    const { checkpointer: options, nodeId, kvProvider } = system;
    const { events } = observation;
    if (options !== undefined) {
      const source = indexSource(nodeId, kvProvider, index, log, suspect);
      const onEvent = checkpointerWorks(events, logger);
      this.checkpointer = startCheckpointer({ source, options, onEvent });
    }
    this.upkeep = new NodeUpkeep({ system, log, logId: index.state.log.id, stagingDir, logger, events });
  }

  /** Waits until nothing reads the index, the log or the staging directory. An index in doubt is not saved once more. */
  async stop({ save }: { readonly save: boolean }): Promise<void> {
    await Promise.all([
      this.checkpointer?.stop({ timeoutMs: CHECKPOINTER_STOP_MS, save }),
      this.upkeep.stop(),
    ]);
  }
}
