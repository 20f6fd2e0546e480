import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planMerge, superseded } from "../../../src/backup/write/merge-segments.ts";
import {
  coveredRanges,
  gapsIn,
  inOrder,
  type SegmentFile,
  type TxRange,
} from "../../../src/backup/segments/segment-name.ts";

const MiB = 1024 * 1024;

function segment(first: number, last: number, bytes: number, end = "00000000"): SegmentFile {
  return { name: `${first}-${last}-${end}`, logId: "a", first, last, end, bytes, modifiedAt: 0 };
}

/** Random segments, which may overlap and have holes, and some of which differ only in their history. */
const anySegments = fc
  .array(
    fc.tuple(
      fc.integer({ min: 1, max: 300 }),
      fc.integer({ min: 0, max: 60 }),
      fc.integer({ min: 100, max: 3 * MiB }),
      fc.constantFrom("00000000", "00000000", "00000000", "11111111"),
    ),
    { maxLength: 150 },
  )
  .map((all) =>
    [
      ...new Map(
        all
          .map(([first, more, bytes, end]) => segment(first, first + more, bytes, end))
          .map((one) => [one.name, one]),
      ).values(),
    ].toSorted(inOrder),
  );

const positions = (ranges: readonly TxRange[]): number[] =>
  ranges.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, n) => first + n));

/**
 * Merges and removes segments, as a look does, until no work remains. Returns the remaining segments and the rewritten
 * bytes.
 */
function tidied(
  segments: readonly SegmentFile[],
  isUnusable: (one: SegmentFile) => boolean = () => false,
): { left: readonly SegmentFile[]; rewritten: number } {
  let left = segments;
  let rewritten = 0;
  const remove = (): void => {
    const gone = new Set(superseded(left.filter((one) => !isUnusable(one))).map((one) => one.segment.name));
    left = left.filter(({ name }) => !gone.has(name));
  };
  for (let rounds = 0; rounds < 1_000; rounds += 1) {
    remove();
    const group = planMerge(left, isUnusable);
    if (group === undefined) return { left, rewritten };
    const bytes = group.reduce((sum, one) => sum + one.bytes, 0);
    const last = Math.max(...group.map((one) => one.last));
    expect(group.length).toBeGreaterThan(1);
    expect(bytes).toBeLessThanOrEqual(8 * MiB);
    expect(coveredRanges(group)).toHaveLength(1);
    expect(group.some(isUnusable)).toBe(false);
    rewritten += bytes;
    const merged = segment(group[0]?.first ?? 0, last, bytes);
    if (left.some(({ name }) => name === merged.name)) return { left, rewritten };
    left = [...left, merged].toSorted(inOrder);
  }
  throw new Error("merging does not end");
}

describe("merges and removals", () => {
  it("never lose a position, whatever segments there are and whichever are damaged", () => {
    fc.assert(
      fc.property(anySegments, fc.integer({ min: 2, max: 9 }), (segments, nth) => {
        const isUnusable = ({ first }: SegmentFile): boolean => first % nth === 0;
        const usable = segments.filter((one) => !isUnusable(one));
        const { left } = tidied(segments, isUnusable);
        expect(positions(coveredRanges(left))).toEqual(positions(coveredRanges(segments)));
        expect(positions(coveredRanges(left.filter((one) => !isUnusable(one))))).toEqual(
          positions(coveredRanges(usable)),
        );
      }),
      { numRuns: 300 },
    );
  });

  it("lose no position even if nodes use listings of any age and remove segments in any order", () => {
    fc.assert(
      fc.property(
        anySegments,
        fc.array(fc.infiniteStream(fc.boolean()), { minLength: 1, maxLength: 4 }),
        (segments, choices) => {
          const removed = new Set<string>();
          for (const choice of choices) {
            // Each node has listed a different subset of all segments that ever existed.
            const listed = segments.filter(() => choice.next().value === true);
            for (const one of superseded(listed)) {
              // A node reads the segment that it keeps before it removes others.
              if (!removed.has(one.by.name) && one.segment.end === one.by.end) removed.add(one.segment.name);
            }
          }
          const left = segments.filter(({ name }) => !removed.has(name));
          expect(positions(coveredRanges(left))).toEqual(positions(coveredRanges(segments)));
        },
      ),
      { numRuns: 300 },
    );
  });

  it.each([
    ["1 to 4 MiB a period", 1, 4 * MiB, 1],
    ["64 to 500 KiB a period", 64 * 1024, 500 * 1024, 1.3],
    ["8 to 64 KiB a period", 8 * 1024, 64 * 1024, 2.1],
    ["600 bytes to 2 KiB a period", 600, 2048, 3.1],
  ])("rewrite each byte only a few times on average, at a load of %s", (_load, least, most, limit) => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.integer({ min: least, max: most })), (sizes) => {
        let all: readonly SegmentFile[] = [];
        let [written, rewritten] = [0, 0];
        for (let n = 1; n <= 5_000 && written < 100 * MiB; n += 1) {
          const bytes = sizes.next().value as number;
          written += bytes;
          const round = tidied([...all, segment(n, n, bytes)]);
          all = round.left;
          rewritten += round.rewritten;
        }
        expect(rewritten / written).toBeLessThanOrEqual(limit);
        expect(all.length).toBeLessThan(64 * 3 + (2 * written) / (4 * MiB));
      }),
      { numRuns: 2 },
    );
  });

  it.each([200, 10_000])("take 64 tiny segments at once, however long the backlog is: %i", (count) => {
    const backlog = Array.from({ length: count }, (_, n) => segment(n + 1, n + 1, 2048));
    expect(planMerge(backlog)).toEqual(backlog.slice(0, 64));
  });

  it("remove one of two segments that differ only in their compression, the same one at every node", () => {
    const [plain, gzip] = [
      segment(1, 5, 10),
      { ...segment(1, 5, 4), name: "1-5-00000000-10", plainBytes: 10 },
    ];
    expect(superseded([plain, gzip])).toEqual([{ segment: gzip, by: plain }]);
    expect(superseded([gzip, plain])).toEqual([{ segment: gzip, by: plain }]);
    expect(superseded([plain, { ...gzip, end: "11111111" }])).toEqual([]);
  });

  it("combine compressed segments only as far as they fit into memory uncompressed", () => {
    const compressed = Array.from({ length: 100 }, (_, n) => ({
      ...segment(n + 1, n + 1, 20 * 1024),
      plainBytes: 3 * MiB,
    }));
    expect(planMerge(compressed)).toHaveLength(2);
  });
});

describe("the next run to write", () => {
  it("is the first one that the log holds and the backup lacks, until none remains", () => {
    fc.assert(
      fc.property(
        anySegments,
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 0, max: 300 }),
        (segments, first, more) => {
          const log = { first, last: first + more - 1 };
          const before = positions(coveredRanges(segments));
          let all = segments;
          for (
            let [next] = gapsIn(coveredRanges(all), log);
            next !== undefined;
            [next] = gapsIn(coveredRanges(all), log)
          ) {
            const { first: from, last } = next;
            expect(positions([next]).some((txId) => positions(coveredRanges(all)).includes(txId))).toBe(
              false,
            );
            expect(from >= log.first && last <= log.last && from <= last).toBe(true);
            all = [...all, segment(from, last, 100)];
          }
          const expected = new Set([...before, ...positions([log])]);
          expect(positions(coveredRanges(all))).toEqual([...expected].toSorted((a, b) => a - b));
        },
      ),
      { numRuns: 200 },
    );
  });
});
