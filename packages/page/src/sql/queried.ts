import { CairnClientError, type ClientRows } from "@cairn/client";
import { LIMITS } from "@cairn/client/protocol";
import { useEffect, useRef, useState } from "preact/hooks";
import { bodyOf } from "../data/polled.ts";
import { ask } from "../data/requests.ts";

const MAX_ROWS = 500;
/** Longer than a query may wait for a process and run. */
const ANSWER_MS = LIMITS.waitMs + LIMITS.queryMs;

export type Queried = ClientRows | CairnClientError | "running" | "cancelled";

interface Query {
  readonly index: string;
  readonly sql: string;
  /** The address of the view that shows the result. */
  readonly place: string;
}

/** Runs one query at a time, and returns what became of it if the view is at its place. */
export function useQueried(place: string) {
  const [queried, setQueried] = useState<{ readonly place: string; readonly result: Queried }>();
  const running = useRef<AbortController | undefined>(undefined);
  const cancel = (): void => {
    running.current?.abort();
    setQueried({ place, result: "cancelled" });
  };
  const run = async (query: Query): Promise<void> => {
    running.current?.abort();
    const { signal } = (running.current = new AbortController());
    setQueried({ place: query.place, result: "running" });
    const result = await resultOf(query, signal);
    if (!signal.aborted) setQueried({ place: query.place, result });
  };
  useEffect(() => () => running.current?.abort(), []);
  return { result: queried?.place === place ? queried.result : undefined, run, cancel };
}

async function resultOf({ index, sql }: Query, signal: AbortSignal): Promise<Queried> {
  try {
    const body = JSON.stringify({ sql, limit: MAX_ROWS });
    const path = `api/v1/sql/${encodeURIComponent(index)}`;
    return bodyOf(await ask(path, signal, { body, answerMs: ANSWER_MS }), "map");
  } catch (error) {
    if (signal.aborted) return "cancelled";
    if (error instanceof CairnClientError) return error;
    throw error;
  }
}
