import { type CairnClient, type Director, GiveUp, type Json } from "@cairn/client";

/** The queue of the deliveries (policies.json). */
export const QUEUE = "deliveries";

/** An entry of the queue: what to send, and where. */
export type Delivery = {
  readonly state: string;
  readonly url: string;
  readonly body: Json;
};

/** The time that a receiver may take for a response (ms). */
const PATIENCE_MS = 5_000;

/** Options for {@link startDeliveries}. */
export interface DeliveryOptions {
  readonly client: CairnClient;
  /** The name of this process, unique among those that deliver. */
  readonly name: string;
  readonly concurrency?: number;
  /** Called with a sentence for each delivery that failed, and for each error after which the director continues. */
  readonly onFailure?: (sentence: string) => void;
}

/** Starts to deliver what is in the queue. */
export function startDeliveries({
  client,
  name: as,
  concurrency = 32,
  onFailure = () => {},
}: DeliveryOptions): Director {
  return client.direct<Delivery>(QUEUE, {
    as,
    concurrency,
    handle: async ({ name, document }, signal) => await deliver(name, document, signal),
    onError: ({ message }, entry) => onFailure(entry === undefined ? message : `${entry.name}: ${message}`),
  });
}

/**
 * Sends a delivery. The receiver learns its name, because after a crash it may be sent again. If this throws, it is
 * tried again later, unless the receiver says that it is gone for good.
 */
async function deliver(name: string, { url, body }: Delivery, signal: AbortSignal): Promise<void> {
  const response = await fetch(url, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", "idempotency-key": name },
    signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]),
  });
  await response.arrayBuffer();
  if (response.status === 410) throw new GiveUp("the receiver is gone (HTTP 410)");
  if (!response.ok) throw new Error(`the receiver responded with HTTP ${response.status}`);
}
