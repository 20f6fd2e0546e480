import { Readable } from "node:stream";
import { isCairnError } from "@cairn/kv";
import fc from "fast-check";
import { expect, test } from "vitest";
import { checkedExport, ExportWriter } from "../../src/requests/export-lines.ts";

function exportOf(documents: readonly unknown[]): string {
  const writer = new ExportWriter();
  const first = writer.first({ format: 1, txId: 7, bucket: null });
  const lines = documents.map((document, at) => writer.line("pods", `default/${at}`, document));
  return `${first}${lines.join("")}${writer.last()}`;
}

/** Passes bytes on in pieces that end at `cuts`. */
async function check(bytes: Buffer, cuts: readonly number[]): Promise<string> {
  const ends = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].toSorted(
    (a, b) => a - b,
  );
  const pieces = ends.slice(1).map((end, at) => bytes.subarray(ends[at], end));
  const checked: Buffer[] = [];
  for await (const piece of checkedExport(Readable.from(pieces))) checked.push(piece);
  return Buffer.concat(checked).toString();
}

const documents = fc.array(fc.jsonValue(), { maxLength: 8 });
const cuts = fc.array(fc.nat(2_000), { maxLength: 20 });

test("the lines between the first and the last line of an export keep their numbers, in whatever pieces they arrive", async () => {
  await fc.assert(
    fc.asyncProperty(documents, cuts, async (values, at) => {
      const text = exportOf(values);
      const lines = text.split("\n");
      expect(await check(Buffer.from(text), at)).toBe(["", ...lines.slice(1, -2), ""].join("\n"));
    }),
    { numRuns: 300 },
  );
});

test("an export is recognized behind a byte order mark and with other line ends", async () => {
  const marked = Buffer.from(`\uFEFF${exportOf([{ a: "ü" }, 2]).replaceAll("\n", "\r\n")}`);
  for (let cut = 0; cut < marked.length; cut += 1)
    expect((await check(marked, [cut])).split("\r\n")).toHaveLength(3);
  await expect(check(marked.subarray(0, -40), [])).rejects.toMatchObject({ code: "EXPORT_DAMAGED" });
});

test("an export is recognized behind blank lines, and its lines keep their numbers", async () => {
  const text = `\n\r\n${exportOf([{ a: "ü" }, 2])}`;
  for (let cut = 0; cut < text.length; cut += 1)
    expect(await check(Buffer.from(text), [cut])).toBe(
      ["", "", "", ...text.split("\n").slice(3, -2), ""].join("\n"),
    );
  await expect(check(Buffer.from(text.slice(0, -40)), [])).rejects.toMatchObject({ code: "EXPORT_DAMAGED" });
  const blank = "\n".repeat(3_000);
  expect(await check(Buffer.from(blank), [1_500])).toBe(blank);
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

test("any other input is unchanged", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.string(), fc.constant('{"cairn-exp'), fc.constant('1\n{"cairn-export":1}\n')),
      cuts,
      async (text, at) => {
        expect(await check(Buffer.from(text), at)).toBe(text);
      },
    ),
  );
});
