// Releases the packages: node scripts/release.mjs [--changelog | --dry-run]. Packs them into dist/release, checks them, and
// installs them with npm, pnpm and yarn, from a registry on this machine and from their files, on the oldest Node on which
// they run. With --dry-run, it then prints what pnpm and yarn need to install the files. Otherwise it publishes them; this
// requires a clean tree at the tag of the version. With --changelog, it only joins the changes in changelog/unreleased
// into CHANGELOG.md, which precedes that tag.
import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { minVersion } from "semver";
import { fragmentProblem, joinFragments, readFragments } from "./changelog.mjs";
import { PACKAGES } from "./published-packages.mjs";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const FOLDER = join(ROOT, "dist", "release");
const CHANGELOG = join(ROOT, "CHANGELOG.md");

/**
 * How each package manager adds packages, and runs a command that they install. All three refuse a package that asks
 * for another Node.
 */
const MANAGERS = {
  npm: { add: ["npm", "install", "--engine-strict"], exec: ["npx", "--no-install"] },
  pnpm: {
    add: ["npx", "-y", "pnpm@12", "add", "--config.engine-strict=true", "--allow-build=classic-level"],
    exec: ["npx", "-y", "pnpm@12", "exec"],
  },
  yarn: {
    add: ["npx", "-y", "yarn@1", "add", "--non-interactive"],
    exec: ["npx", "-y", "yarn@1", "--silent", "run"],
  },
};

const read = (path) => JSON.parse(readFileSync(join(ROOT, path), "utf8"));

function refuse(reason) {
  console.error(reason);
  process.exit(1);
}

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: "inherit", ...options });
  if (error !== undefined) throw error;
  if (status !== 0) refuse(`${command} ${args.join(" ")} failed.`);
}

async function output([command, ...args], options) {
  try {
    const { stdout } = await promisify(execFile)(command, args, { ...options, maxBuffer: 64 << 20 });
    return stdout.trim();
  } catch (error) {
    return refuse(`${command} ${args.join(" ")} failed:\n${error.stdout}${error.stderr}`);
  }
}

/** Returns the changelog with the changes in changelog/unreleased, and these. */
function joinedChangelog(version, date) {
  const fragments = readFragments(join(ROOT, "changelog", "unreleased"));
  for (const problem of fragments.map(fragmentProblem)) if (problem !== undefined) refuse(problem);
  return { changelog: joinFragments(readFileSync(CHANGELOG, "utf8"), version, date, fragments), fragments };
}

function writeChangelog(version) {
  const { changelog, fragments } = joinedChangelog(version, new Date().toISOString().slice(0, 10));
  writeFileSync(CHANGELOG, changelog);
  for (const { file } of fragments) rmSync(file);
  console.log(`CHANGELOG.md describes ${version} (${fragments.length} changes joined)`);
}

/** The newest section must describe the version and, unless this is a dry run, have a date and contain every change. */
function checkChangelog(version, dryRun) {
  const { changelog, fragments } = joinedChangelog(version, "unreleased");
  if (!dryRun && fragments.length > 0)
    refuse("changelog/unreleased contains changes: run node scripts/release.mjs --changelog.");
  const heading = /^## .*$/m.exec(changelog)?.[0] ?? "";
  const date = dryRun ? String.raw`\d{4}-\d\d-\d\d|unreleased` : String.raw`\d{4}-\d\d-\d\d`;
  if (new RegExp(`^## ${version.replaceAll(".", String.raw`\.`)} \\((?:${date})\\)$`).test(heading)) return;
  refuse(`CHANGELOG.md must begin with "## ${version} (YYYY-MM-DD)", not with "${heading}".`);
}

async function git(...args) {
  return await output(["git", ...args], { cwd: ROOT });
}

async function checkTree(version) {
  if ((await git("status", "--porcelain")) !== "")
    refuse("The tree contains changes that are not committed.");
  const tags = (await git("tag", "--points-at", "HEAD")).split("\n");
  if (!tags.includes(`v${version}`)) refuse(`The current commit does not have the tag v${version}.`);
}

/** Serves the tarballs as a registry does, so that the packages find one another as they will once published. */
async function serveTarballs(tarballs, manifests) {
  const server = createServer((request, response) => {
    const name = decodeURIComponent(request.url).replace(/^\/(?:@cairn\/)?/, "");
    const tarball = tarballs.get(name.replace(/\.tgz$/, ""));
    if (tarball === undefined) return response.writeHead(404).end();
    if (name.endsWith(".tgz")) return response.end(tarball);
    const manifest = manifests.get(name);
    const dist = {
      tarball: `http://${request.headers.host}/${name}.tgz`,
      shasum: createHash("sha1").update(tarball).digest("hex"),
      integrity: `sha512-${createHash("sha512").update(tarball).digest("base64")}`,
    };
    response.setHeader("content-type", "application/json");
    return response.end(
      JSON.stringify({
        name: manifest.name,
        "dist-tags": { latest: manifest.version },
        versions: { [manifest.version]: { ...manifest, dist } },
        time: { [manifest.version]: "2020-01-01T00:00:00.000Z" },
      }),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

/** Returns an environment whose Node is the oldest on which the packages run. It comes as an npm package. */
function oldestNode() {
  const version = String(minVersion(read("package.json").engines.node));
  const prefix = join(tmpdir(), `cairn-node-${version}`);
  mkdirSync(prefix, { recursive: true });
  const args = [
    "install",
    "--prefix",
    prefix,
    "--prefer-offline",
    "--no-audit",
    "--no-fund",
    `node@${version}`,
  ];
  run("npm", args, { stdio: ["ignore", "ignore", "inherit"] });
  const bin = join(prefix, "node_modules", "node", "bin");
  return { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH ?? ""}` };
}

/** Installs the packages into an empty folder, imports each entry point, and runs the command. */
async function checkInstall(manager, registry, manifests, env) {
  const { add, exec } = MANAGERS[manager];
  const cwd = mkdtempSync(join(tmpdir(), `cairn-${manager}-`));
  try {
    writeFileSync(join(cwd, "package.json"), '{"name": "empty", "private": true, "type": "module"}');
    writeFileSync(join(cwd, ".npmrc"), `@cairn:registry=${registry}\n`);
    const names = [...manifests.values()].map(({ name }) => name);
    await output([...add, ...names], { cwd, env });
    const entries = [...manifests.values()].flatMap(({ name, exports = {} }) =>
      Object.keys(exports)
        .filter((path) => path !== "./package.json")
        .map((path) => name + path.slice(1)),
    );
    const [suites, others] = [true, false].map((isSuite) =>
      entries.filter((entry) => entry.endsWith("/testing") === isSuite),
    );
    await importEach(others, { cwd, env });
    // The suites also need the optional peer dependencies. Their newest versions may ask for a newer Node.
    const peers = new Set(
      [...manifests.values()]
        .flatMap(({ peerDependencies = {} }) => Object.keys(peerDependencies))
        .filter((name) => !name.startsWith("@cairn/")),
    );
    const { devDependencies } = read("package.json");
    await output([...add, ...[...peers].map((name) => `${name}@${devDependencies[name]}`)], { cwd, env });
    await importEach(suites, { cwd, env });
    const version = await output([...exec, "cairn", "version"], { cwd, env });
    if (version !== manifests.get("node").version) throw new Error(`cairn version printed ${version}`);
    console.log(`${manager}: ${entries.length} entry points, cairn ${version}`);
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}

/**
 * Returns what a project contains to install the files of dist/release. npm needs nothing if it is given all of them, but
 * pnpm and yarn look for the dependencies of a file in the registry.
 */
function projectOf(manager, files) {
  const project = { name: "empty", private: true, type: "module" };
  const places = Object.fromEntries([...files].map(([name, file]) => [name, `file:${file}`]));
  const lines = Object.entries(places).map(
    (entry) => `  ${entry.map((word) => JSON.stringify(word)).join(": ")}\n`,
  );
  return {
    "package.json": JSON.stringify(
      manager === "yarn" ? { ...project, resolutions: places } : project,
      null,
      2,
    ),
    ...(manager === "pnpm" && { "pnpm-workspace.yaml": `overrides:\n${lines.join("")}` }),
  };
}

/** Installs the files of dist/release into an empty folder without a registry that has them, and starts the command. */
async function checkFiles(manager, files, env) {
  const { add, exec } = MANAGERS[manager];
  const cwd = mkdtempSync(join(tmpdir(), `cairn-${manager}-`));
  try {
    for (const [name, text] of Object.entries(projectOf(manager, files)))
      writeFileSync(join(cwd, name), text);
    await output([...add, ...files.values()], { cwd, env });
    await importEach(["@cairn/node", "@cairn/log-nats", "@cairn/checkpoint-s3"], { cwd, env });
    const version = await output([...exec, "cairn", "version"], { cwd, env });
    console.log(`${manager}: cairn ${version} from files`);
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}

async function importEach(entries, options) {
  const program = entries.map((entry) => `await import(${JSON.stringify(entry)});`).join("\n");
  await output(["node", "--input-type=module", "--eval", program], options);
}

const dryRun = process.argv.includes("--dry-run");
const { version } = read("package.json");
if (process.argv.includes("--changelog")) {
  writeChangelog(version);
  process.exit();
}
for (const name of PACKAGES) {
  if (read(`packages/${name}/package.json`).version !== version)
    refuse(`packages/${name} does not have the version ${version}.`);
}
checkChangelog(version, dryRun);
if (!dryRun) await checkTree(version);
rmSync(FOLDER, { recursive: true, force: true });
run(process.execPath, ["scripts/check-packages.mjs", FOLDER]);
const env = oldestNode();
const tarballs = new Map(
  PACKAGES.map((name) => [name, readFileSync(join(FOLDER, `cairn-${name}-${version}.tgz`))]),
);
const manifests = new Map(
  await Promise.all(
    PACKAGES.map(async (name) => {
      const tar = ["tar", "-xzOf", join(FOLDER, `cairn-${name}-${version}.tgz`), "package/package.json"];
      return [name, JSON.parse(await output(tar, { cwd: ROOT }))];
    }),
  ),
);
const files = new Map(
  [...manifests].map(([name, manifest]) => [manifest.name, join(FOLDER, `cairn-${name}-${version}.tgz`)]),
);
const server = await serveTarballs(tarballs, manifests);
try {
  const registry = `http://127.0.0.1:${server.address().port}/`;
  for (const manager of Object.keys(MANAGERS)) {
    await checkInstall(manager, registry, manifests, env);
    await checkFiles(manager, files, env);
  }
} finally {
  server.close();
  server.closeAllConnections();
}
if (dryRun) {
  console.log(`${version} can be released: ${readdirSync(FOLDER).length} packages in dist/release`);
  console.log(`
npm installs these files if it is given all of them: npm install ${join(FOLDER, "*.tgz")}
With pnpm, add this to pnpm-workspace.yaml, and then the packages by their names: pnpm add @cairn/node
${projectOf("pnpm", files)["pnpm-workspace.yaml"]}
With yarn, add the resolutions to package.json, and then the packages by their files: yarn add ${files.get("@cairn/node")}
${projectOf("yarn", files)["package.json"]}`);
} else {
  // A tag that no branch contains yet is also published.
  for (const name of PACKAGES)
    run("npx", ["-y", "pnpm@12", "publish", "--no-git-checks", join(FOLDER, `cairn-${name}-${version}.tgz`)]);
}
