export interface DifferenceLine {
  readonly kind: "same" | "added" | "removed";
  readonly text: string;
}

/** The largest table of lines that is compared. Larger texts are shown as removed and added as a whole. */
const MAX_CELLS = 1_000_000;

/** Returns the lines of both texts, with as many as possible in common. */
export function lineDifference(before: string, after: string): readonly DifferenceLine[] {
  const old = before === "" ? [] : before.split("\n");
  const now = after === "" ? [] : after.split("\n");
  if (old.length * now.length > MAX_CELLS) return [...marked("removed", old), ...marked("added", now)];
  const common = commonLengths(old, now);
  const lines: DifferenceLine[] = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      lines.push(...marked("same", [old[i] ?? ""]));
      [i, j] = [i + 1, j + 1];
    } else if (j >= now.length || (i < old.length && at(common, i + 1, j) >= at(common, i, j + 1))) {
      lines.push(...marked("removed", [old[i] ?? ""]));
      i += 1;
    } else {
      lines.push(...marked("added", [now[j] ?? ""]));
      j += 1;
    }
  }
  return lines;
}

/** Returns the number of lines that the rest of `old` after i and of `now` after j have in common, for each i and j. */
function commonLengths(old: readonly string[], now: readonly string[]): readonly Uint32Array[] {
  const table = Array.from({ length: old.length + 1 }, () => new Uint32Array(now.length + 1));
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = now.length - 1; j >= 0; j -= 1) {
      const row = table[i];
      if (row === undefined) continue;
      row[j] =
        old[i] === now[j] ? at(table, i + 1, j + 1) + 1 : Math.max(at(table, i + 1, j), row[j + 1] ?? 0);
    }
  }
  return table;
}

const at = (table: readonly Uint32Array[], i: number, j: number): number => table[i]?.[j] ?? 0;

function marked(kind: DifferenceLine["kind"], lines: readonly string[]): DifferenceLine[] {
  return lines.map((text) => ({ kind, text }));
}
