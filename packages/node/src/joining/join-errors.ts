import { CairnError } from "@cairn/kv";
import type { IndexState } from "../index-store/index-state.ts";
import type { LogIdentity } from "./log-identity.ts";

/** The log is empty where there was more. `evidence` says how that is known. */
export function emptyLog(logName: string, evidence: string): CairnError {
  return new CairnError("LOG_DIFFERENT", `The log "${logName}" is empty, but ${evidence}.`, {
    hint:
      "Check the log's address and name. To begin a new log on purpose run `cairn log create`; " +
      'to let this node begin anew set "on-log-mismatch": {"different": "rebuild"}. Nothing was deleted.',
  });
}

/** The local index was built from another log. */
export function foreignIndex(identity: LogIdentity, state: IndexState): CairnError {
  return new CairnError(
    "LOG_DIFFERENT",
    `The local index was built from log ${state.log.id}, but "${identity.name}" is log ${identity.id}.`,
    {
      hint:
        "Check the log's address and name. If the log was replaced on purpose, move the index away or set " +
        '"on-log-mismatch": {"different": "rebuild"}. Nothing was deleted.',
    },
  );
}

/** The log's beginning is gone and no checkpoint holds it. */
export function nothingToRestore({ name, bounds }: LogIdentity, skipped: number): CairnError {
  const missing = `transactions before message ${bounds.first}`;
  return new CairnError(
    "LOG_TRIMMED",
    `The log "${name}" no longer holds the ${missing}, and no usable checkpoint does.`,
    {
      hint:
        skipped > 0
          ? `${skipped} checkpoints were found and not usable: /status says why under join.skipped.`
          : "Configure the checkpoint store that holds this log's checkpoints, or restore the log.",
    },
  );
}
