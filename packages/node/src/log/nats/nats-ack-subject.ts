/** The information in the reply subject of a message from a consumer. */
interface AckInfo {
  readonly position: number;
  /** The number of this delivery by the consumer, starting with 1. */
  readonly delivery: number;
  /** The time at which the stream stored the message, in milliseconds. */
  readonly time: number;
  /** The part of `time` below a millisecond. */
  readonly nanoseconds: number;
}

const PREFIX = "$JS.ACK.";

/**
 * Parses the reply subject of a delivered message. Returns undefined for anything else, such as a status from the
 * server. The subject has the form `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer
 * seq>.<time>.<pending>` or, since 2.8.0, `$JS.ACK.<domain>.<account>.<stream>.…`, with or without a random token at
 * its end (ADR-15).
 */
export function parseAckSubject(reply: string | undefined): AckInfo | undefined {
  if (reply === undefined || !reply.startsWith(PREFIX)) return undefined;
  let end = reply.length;
  if (tokens(reply) > 11) end = reply.lastIndexOf(".", end - 1);
  // The subject is parsed from the end, because its beginning has two forms, and this code runs for every message.
  const pendingDot = reply.lastIndexOf(".", end - 1);
  const timeDot = reply.lastIndexOf(".", pendingDot - 1);
  const deliveryDot = reply.lastIndexOf(".", timeDot - 1);
  const positionDot = reply.lastIndexOf(".", deliveryDot - 1);
  return {
    position: Number(reply.slice(positionDot + 1, deliveryDot)),
    delivery: Number(reply.slice(deliveryDot + 1, timeDot)),
    // A JavaScript number cannot hold all digits of the time.
    time: Number(reply.slice(timeDot + 1, pendingDot - 6)),
    nanoseconds: Number(reply.slice(pendingDot - 6, pendingDot)),
  };
}

function tokens(subject: string): number {
  let count = 1;
  for (let dot = subject.indexOf("."); dot >= 0; dot = subject.indexOf(".", dot + 1)) count += 1;
  return count;
}
