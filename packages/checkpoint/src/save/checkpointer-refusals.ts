import { CairnError } from "@cairn/kv";

/** A stopped checkpointer saves no more. */
export function stopped(): CairnError {
  return new CairnError("NOT_READY", "The node is stopping and saves no more checkpoints.", {
    hint: "Set checkpoint-on-close? to save one whenever a node stops.",
  });
}

/** One round at a time. */
export function alreadyRunning(): CairnError {
  return new CairnError("CHECKPOINT_RUNNING", "A checkpoint is being saved already.", {
    hint: "Wait until it ended; the status tells how far it is.",
  });
}

/** Why a round is aborted by a stop that has waited for it for `timeoutMs`. */
export function outlasted(timeoutMs: number): CairnError {
  return new CairnError(
    "NOT_READY",
    `The node stopped before the checkpoint was saved, after waiting ${timeoutMs} ms.`,
    {
      hint: "Nothing was published; the next node that looks saves one.",
    },
  );
}
