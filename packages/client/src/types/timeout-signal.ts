/**
 * Returns a signal that aborts after `ms`, and does not keep the process running. In contrast to `AbortSignal.timeout`,
 * it also does so if only `AbortSignal.any` refers to it: Node 20 collects such a signal, and then it never aborts.
 */
export function timeoutSignal(ms: number): AbortSignal {
  const controller = new AbortController();
  const end = (): void => controller.abort(new DOMException("The time limit was exceeded.", "TimeoutError"));
  const timer: { unref?: () => void } | number = setTimeout(end, ms);
  if (typeof timer === "object") timer.unref?.();
  return controller.signal;
}
