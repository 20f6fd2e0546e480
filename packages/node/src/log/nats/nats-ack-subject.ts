/** What the reply subject of a message from a consumer says. */
export interface AckInfo {
  readonly position: number;
  /** Counts this consumer's deliveries from 1. */
  readonly delivery: number;
  /** When the stream stored it, in milliseconds. */
  readonly time: number;
  /** What of that is less than a millisecond. */
  readonly nanoseconds: number;
}

const PREFIX = "$JS.ACK.";

/**
 * Reads the reply subject of a delivered message; undefined when it is none (a status of the server). Two forms:
 * `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`, and since 2.8.0 also
 * `$JS.ACK.<domain>.<account>.<stream>.…`, the same with or without a random token at its end (ADR-15).
 */
export function parseAckSubject(reply: string | undefined): AckInfo | undefined {
  if (reply === undefined || !reply.startsWith(PREFIX)) return undefined;
  let end = reply.length;
  if (tokens(reply) > 11) end = reply.lastIndexOf(".", end - 1);
  // From the end: what stands before has two forms, and this runs for every message.
  const pendingDot = reply.lastIndexOf(".", end - 1);
  const timeDot = reply.lastIndexOf(".", pendingDot - 1);
  const deliveryDot = reply.lastIndexOf(".", timeDot - 1);
  const positionDot = reply.lastIndexOf(".", deliveryDot - 1);
  return {
    position: Number(reply.slice(positionDot + 1, deliveryDot)),
    delivery: Number(reply.slice(deliveryDot + 1, timeDot)),
    // All its digits do not fit a number.
    time: Number(reply.slice(timeDot + 1, pendingDot - 6)),
    nanoseconds: Number(reply.slice(pendingDot - 6, pendingDot)),
  };
}

function tokens(subject: string): number {
  let count = 1;
  for (let dot = subject.indexOf("."); dot >= 0; dot = subject.indexOf(".", dot + 1)) count += 1;
  return count;
}
