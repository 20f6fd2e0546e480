/** Returns the known name that a mistyped one most likely means; undefined if none is similar enough. */
export function nearestName(name: string, known: Iterable<string>): string | undefined {
  const names = [...known];
  // The wrong case is the most frequent mistake, and known names never differ only in case.
  const wanted = name.toLowerCase();
  // At most a third of the letters may differ. Beyond that, a suggestion would be a mere guess.
  const limit = wanted.length === 1 ? 0 : Math.max(1, Math.floor(wanted.length / 3));
  let nearest: string | undefined;
  let smallest = limit + 1;
  for (const candidate of names) {
    const distance = editDistance(wanted, candidate.toLowerCase(), smallest);
    if (distance < smallest) {
      smallest = distance;
      nearest = candidate;
    }
  }
  return nearest ?? soleCompletion(wanted, names);
}

/** Users also abbreviate names (such as `index` for `indexes`). Undefined if several names begin so. */
function soleCompletion(wanted: string, known: readonly string[]): string | undefined {
  const completed = known.filter((candidate) => candidate.toLowerCase().startsWith(wanted));
  return wanted.length >= MIN_PREFIX_LENGTH && completed.length === 1 ? completed[0] : undefined;
}

/** The minimum length of a prefix that is completed. Shorter prefixes match too many names by chance. */
const MIN_PREFIX_LENGTH = 3;

/** Returns the number of insertions, deletions, replacements and swaps of neighbours between two strings, at most `bound`. */
export function editDistance(from: string, to: string, bound: number): number {
  if (Math.abs(from.length - to.length) >= bound) return bound;
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= to.length; column += 1) {
      const same = from[row - 1] === to[column - 1];
      let least = Math.min(
        (previous[column] ?? bound) + 1,
        (current[column - 1] ?? bound) + 1,
        (previous[column - 1] ?? bound) + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]) {
        least = Math.min(least, (beforePrevious[column - 2] ?? bound) + 1);
      }
      current.push(least);
    }
    beforePrevious = previous;
    previous = current;
  }
  return Math.min(previous[to.length] ?? bound, bound);
}

/** Returns a suggestion as a sentence. A name that ends with a question mark is quoted. */
export function didYouMean(name: string): string {
  return `Did you mean ${name.endsWith("?") ? JSON.stringify(name) : name}?`;
}
