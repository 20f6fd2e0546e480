// Puts the modules of each package together, into dist/bundle/: a process loads a handful of files instead of some three hundred, which
// takes two thirds of the time. Other packages stay what they are, also Cairn's own: each class is there once, whoever imports it.
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

/** What is loaded from outside: what `exports` and `bin` name, and the threads, which lie beside the module that starts them. */
const ENTRIES = {
  kv: ["index", "tables", "threads", "check-worker"],
  checkpoint: ["index", "pack-worker", "read-worker", "unpack-worker", "write-worker"],
  node: ["index", "client/index", "cli/main"],
};

async function bundle(name, entries) {
  const at = (path) => fileURLToPath(new URL(`../packages/${name}/${path}`, import.meta.url));
  const build = await rolldown({
    cwd: at("."),
    input: {
      ...Object.fromEntries(entries.map((entry) => [entry, at(`src/${entry}.ts`)])),
      "testing/index": at("testing/index.ts"),
    },
    platform: "node",
    // All that is not a path is a package's name, or Node's.
    external: /^[^./]/,
  });
  const { output } = await build.generate({
    dir: at("dist/bundle"),
    sourcemap: true,
    // In one folder with the threads' modules.
    chunkFileNames: "[name]-[hash].js",
  });
  await build.close();
  await replace(
    at("dist/bundle"),
    new Map(output.map((file) => [file.fileName, file.type === "chunk" ? file.code : file.source])),
  );
}

/** Makes `files` all that lies in `dir`. Processes may be running from it: what is the same stays, and no file is ever half there. */
async function replace(dir, files) {
  for (const [name, content] of files) {
    const path = join(dir, name);
    const before = await readFile(path, "utf8").catch(() => undefined);
    if (before === content) continue;
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.new-${process.pid}`, content);
    await rename(`${path}.new-${process.pid}`, path);
  }
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    // Else a module that is gone would be packed. Another build's unfinished ones are its own.
    if (entry.isFile() && !files.has(relative(dir, path)) && !/\.new-\d+$/.test(path))
      await rm(path, { force: true });
  }
}

await Promise.all(Object.entries(ENTRIES).map(([name, entries]) => bundle(name, entries)));
