// Packs the packages as they would be published, into the given folder or a temporary one, and prints their problems:
// publint's findings, files that do not belong there, source maps whose sources are missing, and dependencies at any
// depth that ask for a newer Node than the packages do, or that are deprecated.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, posix, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { minVersion, satisfies } from "semver";
import { PACKAGES } from "./published-packages.mjs";

const EVERY_PACKAGE = ["package.json", "README.md", "LICENSE"];
const BELONGS =
  /^(?:package\.json|README\.md|LICENSE|(?:src|testing)\/.*\.ts|dist\/(?:src|testing)\/.*\.d\.ts(?:\.map)?|dist\/bundle\/(?:licenses\.txt|page\/index\.html|page\/.*\.css|.*\.js(?:\.map)?))$/;

async function pack(name, destination) {
  const args = ["-y", "pnpm@12", "pack", "--json", "--pack-destination", destination];
  const { stdout } = await promisify(execFile)("npx", args, { cwd: `packages/${name}` });
  return resolve(`packages/${name}`, JSON.parse(stdout.slice(stdout.indexOf("{"))).filename);
}

/** Returns the files of a tarball by their names in the package. */
function filesOf(tarball) {
  const bytes = gunzipSync(readFileSync(tarball));
  const files = new Map();
  for (let at = 0; bytes[at] !== 0;) {
    const text = (from, to) => bytes.toString("utf8", at + from, at + to).replace(/\0.*$/s, "");
    const size = Number.parseInt(text(124, 136), 8);
    const name = posix.join(text(345, 500), text(0, 100)).replace(/^package\//, "");
    files.set(name, {
      mode: Number.parseInt(text(100, 108), 8),
      content: bytes.subarray(at + 512, at + 512 + size),
    });
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return files;
}

function problemsOf(files) {
  const problems = EVERY_PACKAGE.filter((name) => !files.has(name)).map((name) => `${name} is missing`);
  for (const [name, { content }] of files) {
    if (!BELONGS.test(name)) problems.push(`${name} does not belong in the package`);
    if (!name.endsWith(".map")) continue;
    for (const source of JSON.parse(content.toString()).sources) {
      const path = posix.join(posix.dirname(name), source);
      if (!files.has(path)) problems.push(`${name} maps to ${path}, which is missing`);
    }
  }
  const manifest = JSON.parse(files.get("package.json").content.toString());
  // The condition is only for this repository: it leads to TypeScript files, which Node does not run in node_modules.
  if (JSON.stringify(manifest.exports).includes("cairn-source"))
    problems.push("exports has the condition cairn-source");
  for (const [name, path] of Object.entries(manifest.bin ?? {})) {
    const file = files.get(posix.normalize(path));
    if (!file?.content.toString().startsWith("#!/usr/bin/env node\n"))
      problems.push(`the command ${name} does not begin with #!/usr/bin/env node`);
  }
  return problems;
}

async function check(name, destination) {
  const tarball = await pack(name, destination);
  const files = filesOf(tarball);
  const manifest = JSON.parse(files.get("package.json").content.toString());
  const bytes = readFileSync(tarball);
  const { messages } = await publint({
    strict: true,
    pack: {
      tarball: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength),
    },
  });
  const problems = [
    ...problemsOf(files),
    ...messages.map((message) => formatMessage(message, manifest, { color: false })),
  ];
  console.log(`${manifest.name} ${manifest.version}: ${files.size} files, ${bytes.length} bytes`);
  for (const problem of problems) console.error(`${manifest.name}: ${problem}`);
  return { tarball, problems: problems.length };
}

/** Other package managers take the newest version, but npm prefers one that suits the Node on which it runs. */
const ON_ANY_NODE =
  "--import=data:text/javascript,Object.defineProperty(process,`version`,{value:`v99.0.0`})";

/**
 * Resolves the dependencies of the tarballs as for a user: at the newest versions that the ranges allow,
 * without this repository's lockfile and overrides. Returns how many do not suit.
 */
async function checkDependencies(tarballs) {
  const folder = mkdtempSync(`${tmpdir()}/cairn-dependencies-`);
  try {
    writeFileSync(join(folder, "package.json"), '{"private": true}');
    const args = [
      "install",
      "--package-lock-only",
      "--prefer-offline",
      "--no-audit",
      "--no-fund",
      ...tarballs,
    ];
    await promisify(execFile)("npm", args, {
      cwd: folder,
      env: { ...process.env, NODE_OPTIONS: ON_ANY_NODE },
    });
    const { packages } = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8"));
    const floor = minVersion(JSON.parse(readFileSync("package.json", "utf8")).engines.node);
    const problems = Object.entries(packages).flatMap(([path, { version, engines, deprecated }]) => {
      const name = `${path.replace(/^.*node_modules\//, "")} ${version}`;
      const isNewer = engines?.node !== undefined && !satisfies(floor, engines.node);
      return [
        ...(isNewer ? [`${name} asks for Node ${engines.node}, but the packages run on ${floor}`] : []),
        ...(deprecated === undefined ? [] : [`${name} is deprecated: ${deprecated}`]),
      ];
    });
    console.log(`${Object.keys(packages).length - 1} packages are installed together`);
    for (const problem of problems) console.error(problem);
    return problems.length;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const given = process.argv[2];
const destination = given === undefined ? mkdtempSync(`${tmpdir()}/cairn-packages-`) : resolve(given);
mkdirSync(destination, { recursive: true });
process.chdir(fileURLToPath(new URL("..", import.meta.url)));
try {
  const checked = await Promise.all(PACKAGES.map((name) => check(name, destination)));
  const unsuited = await checkDependencies(checked.map(({ tarball }) => tarball));
  process.exitCode = unsuited === 0 && checked.every(({ problems }) => problems === 0) ? 0 : 1;
} finally {
  if (given === undefined) rmSync(destination, { recursive: true });
}
