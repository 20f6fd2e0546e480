import {
  CairnClient,
  CairnClientError,
  type ClientTransaction,
  type Json,
  type Position,
} from "@cairn/client";
import { useEffect, useRef, useState } from "preact/hooks";
import { whileVisible } from "./polled.ts";
import { NODE, tabToken } from "./requests.ts";

const RETRY_MS = 3_000;

/** The changes to follow. `from` is the position at which they begin; by default, the current one. */
export interface Followed {
  readonly bucket: string | undefined;
  readonly namespace: string | undefined;
  readonly from?: Position | undefined;
  /** False to follow nothing for now. */
  readonly isOn: boolean;
}

/** The state of a followed stream: the place up to which nothing was missed, and why it was interrupted. */
export interface FollowState {
  readonly place: { readonly position: Position; readonly txId: number } | undefined;
  readonly interruption: string | undefined;
}

/**
 * Follows changes while the page is visible, and calls `onTransaction` for each transaction. After an interruption, it
 * continues where it stopped.
 */
export function useFollowed(
  { bucket, namespace, from, isOn }: Followed,
  onTransaction: (transaction: ClientTransaction<Json>) => void,
): FollowState {
  const [state, setState] = useState<FollowState>({ place: undefined, interruption: undefined });
  const latest = useRef(onTransaction);
  latest.current = onTransaction;
  useEffect(() => {
    if (!isOn) return undefined;
    let place: FollowState["place"];
    let position = from;
    return whileVisible(async (signal) => {
      const client = new CairnClient({ urls: NODE.href, token: tabToken.value, readYourWrites: false });
      const query = {
        signal,
        bucket: bucket || undefined,
        namespace: namespace || undefined,
        from: position,
        onPosition: (reached: Position, txId: number) => {
          position = reached;
          place = { position, txId };
          setState({ place, interruption: undefined });
        },
        onReconnect: ({ message }: Error) => setState({ place, interruption: message }),
      };
      try {
        for await (const transaction of client.watch(query)) latest.current(transaction);
        return undefined;
      } catch (error) {
        if (signal.aborted) return undefined;
        setState({ place, interruption: error instanceof Error ? error.message : String(error) });
        // Changes that the node no longer has are left out, and the state says so until the next one arrives.
        if (error instanceof CairnClientError && error.code === "WATCH_COMPACTED") position = undefined;
        return RETRY_MS;
      }
    });
  }, [bucket, namespace, from, isOn]);
  return state;
}
