import type { Logger } from "pino";
import { isCairnError } from "@cairn/kv";
import type { Policies } from "@cairn/client";
import type { NodeApi } from "../api/node-api.ts";

/** Submits them if the log has none and accepts transactions; one of several nodes wins. Differences are logged. */
export async function proposePolicies(
  node: Pick<NodeApi, "submit" | "await" | "policies">,
  proposed: Policies,
  logger: Logger,
  { isReadOnly }: { readonly isReadOnly: boolean },
): Promise<void> {
  try {
    const { revision, file } = await node.policies();
    if (revision !== null) {
      if (file === "different") logger.warn({ revision }, DIFFERENT);
      return;
    }
    if (isReadOnly) {
      logger.info(
        "the log has no policies, but this node only reads the log, so it does not propose those of its configuration",
      );
      return;
    }
    const submitted = await node.submit({ ops: [["configure", proposed, null]] });
    const { txId, committed } = await node.await(submitted);
    if (committed) logger.info({ txId }, "the log had no policies, so those of the configuration were set");
    else if ((await node.policies()).file === "different") logger.warn({ txId }, DIFFERENT);
  } catch (error) {
    if (isCairnError(error, "NOT_READY")) return;
    logger.warn(
      { err: error },
      "the policies of the configuration could not be proposed; the node will try again when it next starts",
    );
  }
}

const DIFFERENT =
  "cairn/policies in the configuration differs from the policies of the log, which take precedence";
