/** Returns a promise and the function that resolves it (`Promise.withResolvers` in newer versions of Node). */
export function resolvable(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve: (() => void) | undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve: () => resolve?.() };
}
