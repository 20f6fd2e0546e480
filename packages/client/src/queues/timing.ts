/** The longest time for which a timer can run. A longer one would run out at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** Resolves after `ms`, or when the signal is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, Math.min(ms, MAX_TIMER_MS));
    signal.addEventListener("abort", end, { once: true });
  });
}

/** Something that waiters await until it is notified. */
export class Bell {
  #ring: () => void = () => {};
  #rung: Promise<void> = Promise.resolve();

  constructor() {
    this.#renew();
  }

  ring(): void {
    this.#ring();
    this.#renew();
  }

  get next(): Promise<void> {
    return this.#rung;
  }

  #renew(): void {
    this.#rung = new Promise((resolve) => (this.#ring = resolve));
  }
}
