import { CairnError, coalesced, resolvable } from "@cairn/kv";
import type { IndexState } from "../index/rows/index-state.ts";
import { checkAnchor } from "../log/anchor.ts";
import { lastKnown, type LogIdentity, readLogIdentity } from "../log/log-identity.ts";
import type { LogMessage, TxLog } from "../log/tx-log.ts";
import { messageChecksum } from "../transactions/message-frame.ts";

/*
 * A shared log can be replaced or rolled back while a node runs, and the node would then add its transactions to a
 * different history. Two things prove that a message that the log has stored is part of the node's own: the node's
 * unbroken reading brings the message at the position that the log assigned (`SentMessages`), or a comparison of the log
 * with the last message that the node has read (`sameHistory`).
 */

export interface SentMessage {
  readonly payload: Uint8Array;
  /** Resolves when the reading has brought the message, or was interrupted before. */
  readonly answered: ReturnType<typeof resolvable>;
  /** Where the reading that was in progress when the message was sent brought it; undefined after an interruption. */
  position: number | undefined;
}

/**
 * The messages that a node has sent, and where its reading of the log brings them. Only a reading that began with the
 * node's last message proves anything: what it brings follows that message in the log from which it reads. No two
 * messages are equal, and all bytes are compared, so no other message is mistaken for one of these.
 */
export class SentMessages {
  /** By their checksums. If two are equal, only the later one is recognized. */
  readonly #sent = new Map<number, SentMessage>();
  #isReading = false;

  /** Call it before a message is sent, and {@link remove} in the end. Undefined if no reading could prove anything. */
  add(payload: Uint8Array): SentMessage | undefined {
    if (!this.#isReading) return undefined;
    const sent = { payload, answered: resolvable(), position: undefined };
    this.#sent.set(messageChecksum(payload), sent);
    return sent;
  }

  remove(payload: Uint8Array): void {
    const checksum = messageChecksum(payload);
    if (this.#sent.get(checksum)?.payload === payload) this.#sent.delete(checksum);
  }

  /** A reading has begun with the node's last message, or with the log if the node had none. */
  anchored(): void {
    this.#isReading = true;
  }

  read(messages: readonly LogMessage[]): void {
    if (this.#sent.size === 0) return;
    for (const { position, payload } of messages) {
      const sent = this.#sent.get(messageChecksum(payload));
      if (sent === undefined || Buffer.compare(sent.payload, payload) !== 0) continue;
      sent.position = position;
      sent.answered.resolve();
    }
  }

  /** The reading has ended or is in doubt. Until the next one begins, the log may become a different one. */
  interrupted(): void {
    this.#isReading = false;
    for (const sent of this.#sent.values()) {
      sent.position = undefined;
      sent.answered.resolve();
    }
    this.#sent.clear();
  }
}

/**
 * Returns a function to be called after the log has stored a transaction. It verifies that the log is still the one
 * that the node knows. If a call returns, everything that the log stored before the call belongs to the
 * node's history, and it returns the log's id; undefined while the node knows no log. Otherwise the call throws
 * `LOG_REGRESSED`, also if the log has been trimmed beyond what the node has read, because it may then be a different
 * one. Concurrent calls share one request.
 */
export function sameHistory(
  known: () =>
    | { readonly log: TxLog; readonly identity: LogIdentity; readonly state: IndexState }
    | undefined,
): () => Promise<string | undefined> {
  return coalesced(async () => {
    const now = known();
    if (now === undefined) return undefined;
    const { log, identity, state } = now;
    const anchor = lastKnown(identity, state);
    const problem = anchor === undefined ? undefined : await checkAnchor(log, anchor);
    const isSame =
      anchor === undefined ? (await readLogIdentity(log))?.id === identity.id : problem === undefined;
    if (isSame) return identity.id;
    const reason =
      problem?.code === "LOG_TRIMMED"
        ? "no longer holds the message by which this node would recognize it"
        : "it is no longer the log that this node was following";
    throw unconfirmed(log, reason, problem);
  });
}

export function unconfirmed({ name }: TxLog, reason: string, cause?: CairnError): CairnError {
  const why = cause === undefined ? reason : `${reason}: ${cause.message}`;
  return new CairnError("LOG_REGRESSED", `The log "${name}" stored the transaction, but ${why}`, {
    hint: "Wait until the node, which is comparing its log again, is ready. Then check whether the transaction exists before you send it again.",
    cause,
  });
}
