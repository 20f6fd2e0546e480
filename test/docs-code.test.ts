import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, it } from "vitest";
import { fencedBlocks } from "@cairn/test-support/readme-blocks";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** What the blocks that import nothing refer to. */
const AROUND = `
import type { CairnClient, CairnNode, QueueEntry } from "@cairn/node";
declare const cairn: CairnClient;
declare const node: CairnNode;
declare const signal: AbortSignal;
declare const me: string;
declare function reconcile(...given: readonly unknown[]): void;
declare function deliver(...given: readonly unknown[]): Promise<void>;
`;

/** The module of the user's own that the blocks about conformance suites test. */
const OWN_MODULES = `
import { type CheckpointStore, filesystemStore } from "@cairn/checkpoint";
import { memoryProvider } from "@cairn/kv";
export const MyStore = function (path: string): CheckpointStore {
  return filesystemStore({ path });
} as unknown as new (path: string) => CheckpointStore;
export const myProvider = memoryProvider;
`;
const OWN_INDEX = `
import type { OwnIndexModule } from "@cairn/node";
export declare const create: OwnIndexModule;
`;
const PLACES = `
export declare function newPlace(): string;
export declare function unplug(place: string): Promise<void>;
`;

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "cairn-docs-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function pages(): Promise<string[]> {
  const docs = (await readdir(path.join(ROOT, "docs"))).filter((name) => name.endsWith(".md"));
  const packages = await readdir(path.join(ROOT, "packages"));
  return [
    "README.md",
    ...docs.map((name) => `docs/${name}`),
    ...packages.map((name) => `packages/${name}/README.md`),
  ];
}

it("every block of TypeScript in the documentation compiles", async () => {
  const modules = path.join(folder, "node_modules");
  await mkdir(path.join(modules, "@cairn"), { recursive: true });
  for (const name of await readdir(path.join(ROOT, "packages")))
    await symlink(path.join(ROOT, "packages", name), path.join(modules, "@cairn", name));
  for (const name of ["@types", "vitest", "pino"])
    await symlink(path.join(ROOT, "node_modules", name), path.join(modules, name));
  await mkdir(path.join(folder, "test"));
  await mkdir(path.join(folder, "src"));
  await writeFile(path.join(folder, "src/my-store.ts"), OWN_MODULES);
  await writeFile(path.join(folder, "src/near.ts"), OWN_INDEX);
  await writeFile(path.join(folder, "test/places.ts"), PLACES);
  let count = 0;
  for (const page of await pages()) {
    for (const { language, text } of await fencedBlocks(path.join(ROOT, page))) {
      if (language !== "ts") continue;
      count += 1;
      const head = /^import /m.test(text) ? "" : AROUND;
      const file = path.join(folder, "test", `${page.replaceAll("/", "-")}-${count}.ts`);
      await writeFile(file, `${head}${text}\nexport {};\n`);
    }
  }
  expect(count).toBeGreaterThan(10);
  const compilerOptions = {
    target: "es2023",
    lib: ["es2023", "es2024.string", "esnext.disposable", "dom"],
    module: "nodenext",
    types: ["node"],
    strict: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    skipLibCheck: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
  };
  await writeFile(path.join(folder, "package.json"), '{"type": "module"}');
  await writeFile(
    path.join(folder, "tsconfig.json"),
    JSON.stringify({ compilerOptions, include: ["**/*.ts"], exclude: ["node_modules"] }),
  );
  const tsc = path.join(ROOT, "node_modules/typescript/lib/tsc.js");
  const problems = await promisify(execFile)(process.execPath, [tsc, "-p", folder]).then(
    () => "",
    (error: { stdout?: string }) => String(error.stdout),
  );
  expect(problems).toBe("");
});
