import { expect, it, vi } from "vitest";
import { CairnError, isCairnError } from "../../src/errors/errors.ts";

it.each([
  ["redis://app:p@ss:w/rd#1@h:6379", "redis://h:6379"],
  ["s3://KEY:SECRET@bucket and more", "s3://bucket and more"],
  ["nats://TOKEN@h:1, nats://h:2", "nats://h:1, nats://h:2"],
  ["s3://bucket/pre@fix", "s3://bucket/pre@fix"],
  ["http://h:9000/b@c", "http://h:9000/b@c"],
  ["file:///home/me@work/x", "file:///home/me@work/x"],
])("the message of an error with %s is %s", (text, shown) => {
  expect(new CairnError("INTERNAL", text).message).toBe(shown);
});

it("an error of another copy of the class, as a user's own module may have, is one", async () => {
  vi.resetModules();
  const copy: typeof import("../../src/errors/errors.ts") = await import("../../src/errors/errors.ts");
  class Narrower extends CairnError {}
  const error = new copy.CairnError("CONFLICT", "It is already there.");
  expect(copy.CairnError).not.toBe(CairnError);
  expect(isCairnError(error, "CONFLICT")).toBe(true);
  expect(copy.isCairnError(new Narrower("CONFLICT", "So is this."), "CONFLICT")).toBe(true);
  expect(error).not.toBeInstanceOf(Narrower);
  expect(new Error("CONFLICT")).not.toBeInstanceOf(CairnError);
});
