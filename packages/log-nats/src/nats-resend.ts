import { type CancelTimer, startTimer, backoffMs } from "@cairn/kv";

const BACKOFF = { firstMs: 50, maxMs: 2_000 };

interface ResendActions {
  readonly isPossible: () => boolean;
  /** Checks whether messages should still be sent. If it returns false, there is another lookup after the backoff. */
  readonly look: () => Promise<boolean>;
  readonly send: () => void;
}

/** Schedules the resending of unacknowledged messages after an exponential backoff and a lookup of the stream. */
export function natsResend({ isPossible, look, send }: ResendActions) {
  /** The number of backoffs since the last acknowledgement. */
  let backoffs = 0;
  let cancel: CancelTimer | undefined;
  /** The lookup in progress. */
  let looking: symbol | undefined;
  let closed = false;

  const lookAndSend = async (): Promise<void> => {
    const own = Symbol("look");
    looking = own;
    const shouldSend = await look();
    if (looking !== own || closed) return;
    looking = undefined;
    if (shouldSend) send();
    else resend.soon();
  };
  const resend = {
    /** Schedules an attempt after the backoff, unless an attempt is already scheduled. */
    soon(): void {
      if (cancel !== undefined || looking !== undefined || closed) return;
      cancel = startTimer(backoffMs(backoffs, BACKOFF), resend.now);
      backoffs += 1;
    },
    now(): void {
      cancel?.();
      cancel = undefined;
      if (!closed && isPossible()) void lookAndSend();
    },
    succeeded(): void {
      backoffs = 0;
    },
    /** Discards the result of the lookup in progress. */
    interrupt(): void {
      looking = undefined;
    },
    close(): void {
      closed = true;
      cancel?.();
    },
  };
  return resend;
}
