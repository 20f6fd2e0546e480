// Makes the fixture of a release from this build: node test/dist/releases/make.js. It never changes afterwards.
import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { ROOT } from "@cairn/test-support/cairn-process";
import { makeFixture } from "./release-fixture.ts";

const { version } = JSON.parse(await readFile(path.join(ROOT, "package.json"), "utf8")) as {
  version: string;
};
const fixture = path.join(ROOT, "test/fixtures/releases", version);
if (existsSync(fixture)) throw new Error(`${fixture} exists, and the fixture of a release never changes.`);
// The index records the place of its store, which must not be that of this checkout.
const folder = await mkdtemp(path.join(tmpdir(), "cairn-"));
await makeFixture(folder);
await cp(folder, fixture, { recursive: true });
await rm(folder, { recursive: true });
