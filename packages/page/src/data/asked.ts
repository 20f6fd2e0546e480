import { useEffect, useState } from "preact/hooks";
import type { Polled } from "./polled.ts";
import { type Answered, ask, RequestFailed, tabToken } from "./requests.ts";

/** An answer that is asked for once, and again when `version` changes. The earlier answer is shown until then. */
export function useAsked<T>(
  path: string | undefined,
  read: (answered: Answered) => T,
  version: unknown = 0,
): Polled<T> & { readonly path: string | undefined } {
  const [asked, setAsked] = useState<Polled<T> & { path: string | undefined }>({
    ...NOTHING,
    path: undefined,
  });
  useEffect(() => {
    if (path === undefined) return undefined;
    const stop = new AbortController();
    const once = async (): Promise<void> => {
      try {
        const value = read(await ask(path, stop.signal));
        if (!stop.signal.aborted) setAsked({ value, at: Date.now(), failure: undefined, path });
      } catch (error) {
        if (stop.signal.aborted) return;
        const failed =
          error instanceof RequestFailed
            ? error
            : new RequestFailed("The response cannot be understood.", {});
        setAsked((before) => {
          const kept = before.path === path ? before : { ...NOTHING, path };
          return { ...kept, failure: { error: failed, since: kept.failure?.since ?? Date.now() } };
        });
      }
    };
    void once();
    const stopListening = tabToken.listen(() => {
      if (!tabToken.isMissing) void once();
    });
    return () => {
      stopListening();
      stop.abort();
    };
  }, [path, version]);
  return asked.path === path ? asked : { ...NOTHING, path };
}

const NOTHING = { value: undefined, at: undefined, failure: undefined };

/** Returns the body of a response that must be a list. */
export function listIn<T>({ body }: Answered): readonly T[] {
  if (!Array.isArray(body))
    throw new RequestFailed("The response cannot be understood: it is not a list.", {});
  return body as T[];
}
