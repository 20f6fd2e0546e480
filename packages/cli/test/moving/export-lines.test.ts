import { Readable } from "node:stream";
import { isCairnError } from "@cairn/kv";
import fc from "fast-check";
import { expect, test } from "vitest";
import { checkedExport, ExportWriter } from "../../src/requests/export-lines.ts";
import { readLines } from "../../src/requests/ndjson-chunks.ts";

function exportOf(documents: readonly unknown[]): string {
  const writer = new ExportWriter();
  const first = writer.first({ format: 1, txId: 7, bucket: null });
  const lines = documents.map((document, at) => writer.line("pods", `default/${at}`, document));
  return `${first}${lines.join("")}${writer.last()}`;
}

/** Passes bytes on in pieces that end at `cuts`. Returns the lines with their numbers. */
async function check(bytes: Buffer, cuts: readonly number[]): Promise<(readonly [number, string])[]> {
  const ends = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].toSorted(
    (a, b) => a - b,
  );
  const pieces = ends.slice(1).map((end, at) => bytes.subarray(ends[at], end));
  const checked: (readonly [number, string])[] = [];
  for await (const lines of checkedExport(readLines(Readable.from(pieces))))
    checked.push(...lines.map(({ number, bytes: line }) => [number, line.toString()] as const));
  return checked;
}

/** Returns the lines of a text that are not blank. */
function numbered(text: string): (readonly [number, string])[] {
  return text
    .split("\n")
    .map((line, at) => [at + 1, line.replace(/\r$/, "")] as const)
    .filter(([, line]) => !/^[ \t]*$/.test(line));
}

const documents = fc.array(fc.jsonValue(), { maxLength: 8 });
const cuts = fc.array(fc.nat(2_000), { maxLength: 20 });

test("the lines between the first and the last line of an export keep their numbers, in whatever pieces they arrive", async () => {
  await fc.assert(
    fc.asyncProperty(documents, cuts, async (values, at) => {
      const text = exportOf(values);
      expect(await check(Buffer.from(text), at)).toEqual(numbered(text).slice(1, -1));
    }),
    { numRuns: 300 },
  );
});

test("an export is recognized behind a byte order mark and with other line ends", async () => {
  const marked = Buffer.from(`\uFEFF${exportOf([{ a: "ü" }, 2]).replaceAll("\n", "\r\n")}`);
  for (let cut = 0; cut < marked.length; cut += 1) expect(await check(marked, [cut])).toHaveLength(2);
  await expect(check(marked.subarray(0, -40), [])).rejects.toMatchObject({ code: "EXPORT_DAMAGED" });
});

test("blank lines anywhere in an export change nothing, and its lines keep their numbers", async () => {
  const text = exportOf([{ a: "ü" }, 2]);
  const lines = text.trimEnd().split("\n");
  for (const blank of ["", " ", "\r", "\n\r\n"])
    for (let at = 0; at <= lines.length; at += 1) {
      const longer = [...lines.slice(0, at), blank, ...lines.slice(at), ""].join("\n");
      expect(await check(Buffer.from(longer), [longer.length / 2])).toEqual(numbered(longer).slice(1, -1));
      const cut = Buffer.from(longer.trimEnd().slice(0, -40));
      await expect(check(cut, [])).rejects.toMatchObject({ code: "EXPORT_DAMAGED" });
    }
  expect(await check(Buffer.from("\n".repeat(3_000)), [1_500])).toEqual([]);
});

test("an export behind which other lines follow is refused, with the number of its last line", async () => {
  const text = exportOf([1, 2]);
  for (const more of [text, '{"ops":[]}', "x"])
    await expect(check(Buffer.from(`${text}\n${more}\n`), [20])).rejects.toMatchObject({
      code: "EXPORT_DAMAGED",
      message: "The export ends in line 4, but other lines follow.",
    });
});

test("an export that ends early is refused, wherever it ends", async () => {
  const bytes = Buffer.from(exportOf([{ a: "ü" }, [1, 2], "text"]));
  // Without its line feed, the last line is still complete. An end within the name of the first member says nothing yet.
  for (let end = '{"cairn-export":'.length; end < bytes.length - 1; end += 1) {
    const error: unknown = await check(bytes.subarray(0, end), []).catch((caught: unknown) => caught);
    expect([end, isCairnError(error, "EXPORT_DAMAGED")]).toEqual([end, true]);
  }
  await check(bytes.subarray(0, -1), []);
});

test("an export in which a byte was changed is refused or not an export any more", async () => {
  const text = exportOf([{ a: 1 }, { b: 2 }]);
  await fc.assert(
    fc.asyncProperty(fc.nat(Buffer.byteLength(text) - 2), async (at) => {
      const bytes = Buffer.from(text);
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      const isFirstLine = at < text.indexOf("\n");
      const outcome = await check(bytes, []).then(
        () => "accepted",
        (error: unknown) => (isCairnError(error, "EXPORT_DAMAGED") ? "refused" : "failed"),
      );
      // The first line is not part of the digest. The node refuses it if it is not recognized as one.
      if (!isFirstLine) expect([at, outcome]).toEqual([at, "refused"]);
    }),
    { numRuns: 200 },
  );
});

test("an export of a later format is refused", async () => {
  const later = exportOf([1]).replace('"format":1', '"format":2');
  await expect(check(Buffer.from(later), [])).rejects.toMatchObject({ code: "EXPORT_DAMAGED" });
});

test("the lines of any other input are unchanged", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.string(), fc.constant('{"cairn-exp'), fc.constant('1\n{"cairn-export":1}\n')),
      cuts,
      async (text, at) => {
        expect(await check(Buffer.from(text), at)).toEqual(numbered(Buffer.from(text).toString()));
      },
    ),
  );
});
