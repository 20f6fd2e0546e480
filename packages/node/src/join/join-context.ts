import type { CairnError } from "@cairn/kv";
import type { IndexDirectory, MovedAside } from "../db-dir/index-directory.ts";
import type { IndexStore } from "../index/index-store.ts";
import type { TxLog } from "../log/tx-log.ts";
import type { EventDispatcher } from "../observe/event-dispatcher.ts";
import type { System } from "../api/system.ts";
import type { JoinReport } from "./join-report.ts";

/** What joining needs. */
export interface JoinContext {
  readonly system: System;
  readonly log: TxLog;
  readonly directory: IndexDirectory;
  readonly report: JoinReport;
  readonly events: EventDispatcher;
  readonly signal: AbortSignal;
  /** Why the local index must not be used though it may open: what applying it last ran into. */
  readonly suspect?: CairnError | undefined;
  /** A folder that holds the index which takes the place of a suspect one, on the same file system. */
  readonly replacement?: string | undefined;
  /** Messages that come next are missing inside the log: only a checkpoint that is beyond them leads on. */
  readonly beforeGap?: boolean;
  /** Names of checkpoints that are passed over, because indexes restored from them proved damaged. */
  readonly distrusted?: ReadonlySet<string>;
  /**
   * Hands over a local index as soon as it is open, before the log was asked, for reads of what is there: it is the receiver's
   * to close. Undefined: takes it back, because it is moved aside.
   */
  readonly onLocal: (index: IndexStore | undefined) => void;
  /** An index was moved aside; `orphans` are the transactions that only such indexes know now. */
  readonly onMovedAside: (moved: MovedAside, orphans: number) => void;
}
