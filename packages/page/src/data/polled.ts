import { useEffect, useState } from "preact/hooks";
import { ask, RequestFailed, tabToken } from "./requests.ts";

/** The newest answer to a request that is sent again and again. */
export interface Polled<T> {
  readonly value: T | undefined;
  /** The time at which `value` arrived. */
  readonly at: number | undefined;
  /** The reason why the last request failed, and the time since which requests fail. */
  readonly failure: { readonly error: RequestFailed; readonly since: number } | undefined;
}

/** A request, and whether its answer has the form that the page expects. */
export interface PolledRequest<T> {
  readonly path: string;
  readonly form: "map" | "list";
  /** The pause between an answer and the next request, which may depend on the answer. */
  readonly everyMs: (value: T | undefined) => number;
}

const NOTHING = { value: undefined, at: undefined, failure: undefined };

/** Requests an address again and again while the page is visible. A later answer replaces the earlier one. */
export function usePolled<T>(request: PolledRequest<T>): Polled<T> {
  const [polled, setPolled] = useState<Polled<T>>(NOTHING);
  useEffect(() => poll(request, setPolled), [request.path]);
  return polled;
}

function poll<T>({ path, form, everyMs }: PolledRequest<T>, show: (next: Polled<T>) => void): () => void {
  let polled: Polled<T> = NOTHING;
  let round: AbortController | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const begin = (): void => {
    stop();
    if (document.hidden) return;
    round = new AbortController();
    void once(round.signal);
  };
  const stop = (): void => {
    clearTimeout(timer);
    round?.abort();
  };
  const once = async (signal: AbortSignal): Promise<void> => {
    try {
      const { body } = await ask(path, signal);
      if (!hasForm(body, form)) throw new RequestFailed(`The response to ${path} cannot be understood.`, {});
      polled = { value: body as T, at: Date.now(), failure: undefined };
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof RequestFailed)) throw error;
      polled = { ...polled, failure: { error, since: polled.failure?.since ?? polled.at ?? Date.now() } };
    }
    if (signal.aborted) return;
    show(polled);
    timer = setTimeout(begin, everyMs(polled.value));
  };
  begin();
  const stopListening = tabToken.listen(() => {
    if (!tabToken.isMissing) begin();
  });
  document.addEventListener("visibilitychange", begin);
  return () => {
    document.removeEventListener("visibilitychange", begin);
    stopListening();
    stop();
  };
}

function hasForm(body: unknown, form: "map" | "list"): boolean {
  return form === "list"
    ? Array.isArray(body)
    : typeof body === "object" && body !== null && !Array.isArray(body);
}
