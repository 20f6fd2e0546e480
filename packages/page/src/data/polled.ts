import { CairnClientError } from "@cairn/client";
import type { JsonAnswer } from "@cairn/client/protocol";
import { useEffect, useState } from "preact/hooks";
import { ask, tabToken } from "./requests.ts";

export interface Polled<T> {
  readonly value: T | undefined;
  readonly at: number | undefined;
  /** The reason why the last request failed, and the time since which requests fail. */
  readonly failure: { readonly error: CairnClientError; readonly since: number } | undefined;
}

/** A request, and whether its answer has the form that the page expects. */
export interface PolledRequest<T> {
  readonly path: string;
  readonly form: "map" | "list";
  /** The pause between an answer and the next request, which may depend on the answer. */
  readonly everyMs: (value: T | undefined) => number;
}

/** Requests an address again and again while the page is visible. */
export function usePolled<T>({ path, form, everyMs }: PolledRequest<T>): Polled<T> {
  return useAnswers(path, (answer) => bodyOf<T>(answer, form), everyMs);
}

/** Requests an address, and again when `version` changes. */
export function useAsked<T>(path: string, read: (answer: JsonAnswer) => T, version?: unknown): Polled<T> {
  return useAnswers(path, read, () => undefined, version);
}

/** Shows the newest answer until a later one comes, and none of another address. */
function useAnswers<T>(
  path: string,
  read: (answer: JsonAnswer) => T,
  pauseMs: (value: T | undefined) => number | undefined,
  version?: unknown,
): Polled<T> {
  const [answer, setAnswer] = useState<Polled<T> & { readonly path: string }>({ ...NOTHING, path });
  useEffect(() => {
    let { value, at, failure }: Polled<T> = answer.path === path ? answer : NOTHING;
    return whileVisible(async (signal) => {
      try {
        value = read(await ask(path, signal));
        [at, failure] = [Date.now(), undefined];
      } catch (thrown) {
        if (signal.aborted) return undefined;
        const error = thrown instanceof CairnClientError ? thrown : notUnderstood();
        failure = { error, since: failure?.since ?? at ?? Date.now() };
      }
      if (!signal.aborted) setAnswer({ value, at, failure, path });
      return pauseMs(value);
    });
  }, [path, version]);
  return answer.path === path ? answer : NOTHING;
}

const NOTHING = { value: undefined, at: undefined, failure: undefined };

/**
 * Does something while the page is visible: now, when it becomes visible, when the token changes, and after the pause
 * that the work returns (ms). Returns a function that ends this.
 */
export function whileVisible(work: (signal: AbortSignal) => Promise<number | undefined>): () => void {
  let round: AbortController | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stop = (): void => {
    clearTimeout(timer);
    round?.abort();
  };
  const begin = (): void => {
    stop();
    if (document.hidden || tabToken.isMissing) return;
    round = new AbortController();
    void once(round.signal);
  };
  const once = async (signal: AbortSignal): Promise<void> => {
    const pauseMs = await work(signal);
    if (!signal.aborted && pauseMs !== undefined) timer = setTimeout(begin, pauseMs);
  };
  begin();
  const stopListening = tabToken.listen(begin);
  document.addEventListener("visibilitychange", begin);
  return () => {
    document.removeEventListener("visibilitychange", begin);
    stopListening();
    stop();
  };
}

/** Returns the body of an answer, which must be a list or a map. */
export function bodyOf<T>({ body }: JsonAnswer, form: "map" | "list"): T {
  const found = Array.isArray(body) ? "list" : typeof body === "object" && body !== null ? "map" : undefined;
  if (found === form) return body as T;
  throw notUnderstood(`: it is not a ${form}`);
}

function notUnderstood(why = ""): CairnClientError {
  return new CairnClientError("UNREACHABLE", `The response cannot be understood${why}.`);
}
