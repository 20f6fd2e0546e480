/** What {@link inTime} answers instead of something that takes too long. */
export const LATE = Symbol("late");

/** What `answer` gives, or {@link LATE} after `ms`; then it is no longer waited for, and its result or error is discarded. */
export async function inTime<T>(answer: Promise<T>, ms: number): Promise<T | typeof LATE> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<typeof LATE>((resolve) => {
    timer = setTimeout(resolve, ms, LATE);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
