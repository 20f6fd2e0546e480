import { CairnError, systemErrorOf, systemRefused } from "@cairn/kv";

/** Any thrown value as an error that users can be shown. */
export function asCairnError(error: unknown): CairnError {
  if (error instanceof CairnError) return error;
  const system = systemErrorOf(error);
  if (system !== undefined) return systemRefused("What the node needs", system, error);
  const message = error instanceof Error ? error.message : String(error);
  return new CairnError("INTERNAL", `The node met an error that it does not know: ${message}.`, {
    hint: "Please report it with the node's log. The data in the log is not affected.",
    cause: error,
  });
}
