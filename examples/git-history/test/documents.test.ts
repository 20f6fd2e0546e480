import { describe, expect, it } from "vitest";
import { commitDocument, fileDocument } from "../src/documents.ts";

function documentOf(date: string, message = "Subject\n\nText") {
  const person = { name: "Ada", email: "a@b", date };
  const header = { oid: "1", tree: "2", author: person, committer: person, message, messageCut: false };
  return commitDocument(header, { number: 7, parents: ["3"], changes: 4 });
}

describe("the document of a commit", () => {
  it("contains the time in UTC, and the zone", () => {
    expect(documentOf("1700000000 -0730").author).toEqual({
      name: "Ada",
      email: "a@b",
      time: "2023-11-14T22:13:20.000Z",
      zone: "-0730",
    });
  });

  it.each(["", "never", "99999999999999999999 +0000"])("contains no time if the date is %j", (date) => {
    expect(documentOf(date).author.time).toBeNull();
  });

  it.each([
    ["Subject\n\nText", "Subject"],
    ["\n \n  Indented\r\nmore", "Indented\r"],
    ["", ""],
    [`${"🗻".repeat(600)}`, "🗻".repeat(500)],
  ])("contains the beginning of the first line of %j as its subject", (message, subject) => {
    expect(documentOf("0 +0000", message).subject).toBe(subject);
  });
});

describe("the document of a path", () => {
  it.each([
    ["100644", "file"],
    ["100755", "executable"],
    ["120000", "symlink"],
    ["160000", "submodule"],
  ])("contains for mode %s the type %s", (mode, type) => {
    expect(fileDocument({ name: "a" }, mode, "1")).toEqual({ mode, type, blob: "1" });
  });

  it("contains the whole name if that was shortened", () => {
    expect(fileDocument({ name: "a%~0", full: "abc" }, "100644", "1")).toMatchObject({ path: "abc" });
  });
});
