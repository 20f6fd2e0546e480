import { CairnError, errorMessage, isCairnError } from "@cairn/kv";

export function beingBuilt(name: string, documents: number, cause?: CairnError): CairnError {
  return new CairnError(
    "NOT_READY",
    `The index ${name} is being opened or built: it has ${documents.toLocaleString("en")} documents so far.`,
    {
      hint: "Try again later. cairn status shows how far it is. The node's documents can be read meanwhile.",
      cause,
    },
  );
}

/** Indexes are built from copies of LevelDB. */
export function notLevel(format: string): CairnError {
  return new CairnError(
    "CONFIG_INVALID",
    `Indexes of one's own are built from copies of LevelDB, and the kv-store is ${format}.`,
    "Configure cairn.leveldb/->kv-store, or remove cairn/indexes.",
  );
}

export function ownIndexFailed(name: string, error: unknown): CairnError {
  // What is unexpected is a fault of the module, which Cairn's authors do not know.
  const isHelpful = isCairnError(error) && error.code !== "INTERNAL" && error.hint !== undefined;
  const hint = isHelpful ? `${error.hint} ` : "";
  const message = errorMessage(error);
  const end = /[.!?]$/.test(message) ? "" : ".";
  return new CairnError("OWN_INDEX_FAILED", `The index ${name} failed: ${message}${end}`, {
    hint: `${hint}Correct its module, its configuration or the document that the message names. The node tries again by itself, at most an hour later, and when it is started again. An earlier version of the index is kept until the new one is complete: its version in the configuration brings it back.`,
    cause: error,
  });
}

/** Returns the error for an answer whose position is none that the index was given. `why` is a sentence. */
export function wrongPosition(name: string, why: string, cause?: unknown): CairnError {
  return new CairnError("OWN_INDEX_FAILED", `The index ${name} could not answer: ${why}`, {
    hint: "Correct the module of the index: an answer has the position that the last complete batch had.",
    cause,
  });
}

/** Returns the error for the files of an index that are, or should be, in a checkpoint. `what` is a clause. */
export function ownFilesUnusable(what: string, error: unknown): CairnError {
  return new CairnError("OWN_INDEX_FAILED", `${what} (${errorMessage(error)}).`, {
    hint: "Correct its module, or what the message names. Until then, the index may be built anew wherever the checkpoint is restored.",
    cause: error,
  });
}

export function ownIndexDiffers(
  what: string,
  found: {
    readonly checkpoint: string;
    readonly node: string;
    readonly restored: string;
    readonly built: string;
  },
): CairnError {
  const { checkpoint, node, restored, built } = found;
  return new CairnError(
    "OWN_INDEX_FAILED",
    `${what} In ${checkpoint}, which the node ${node} saved, it has the digest ${restored}; built from the same documents, it has ${built}.`,
    "Correct its module, so that equal documents make equal content, and raise its version: each node then builds it anew.",
  );
}
