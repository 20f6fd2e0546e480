/** Returns the first of sorted places whose key is not before `key`, or the number of places if all keys are. */
export function lowerBound(places: number, keyAt: (place: number) => Uint8Array, key: Uint8Array): number {
  let low = 0;
  let high = places;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (Buffer.compare(keyAt(middle), key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
