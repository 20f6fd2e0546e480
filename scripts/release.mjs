// Releases the packages: node scripts/release.mjs [--changelog | --dry-run]. Packs them into dist/release, checks them, and
// installs them with npm, pnpm and yarn, from a registry on this machine and from their files, on the oldest Node on which
// they run. With --dry-run, it then prints what pnpm and yarn need to install the files. Otherwise it publishes them; this
// requires a clean tree at the tag of the version. With --changelog, it only joins the changes in changelog/unreleased
// into CHANGELOG.md, which precedes that tag.
import { execFile, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { minVersion } from "semver";
import { fragmentProblem, joinFragments, readFragments } from "./changelog.mjs";
import {
  installOfFiles,
  MANAGERS,
  projectOfRegistry,
  readPackages,
  serveRegistry,
} from "./packed-packages.mjs";
import { PACKAGES } from "./published-packages.mjs";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const FOLDER = join(ROOT, "dist", "release");
const CHANGELOG = join(ROOT, "CHANGELOG.md");

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

/** Calls `use` with the options of commands in a new folder that contains `files`, and how the manager runs there. */
async function inProject(manager, files, env, use) {
  const { program } = MANAGERS[manager];
  const cwd = mkdtempSync(join(tmpdir(), `cairn-${manager}-`));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(cwd, name), text);
    const options = { cwd, env };
    // The shell expands the names of files.
    await use(options, async (args) => await output(["sh", "-c", [...program, ...args].join(" ")], options));
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}

/** Installs the packages into an empty folder, imports each entry point, and runs the command. */
async function checkInstall(manager, registry, packages, env) {
  const { add, exec } = MANAGERS[manager];
  await inProject(manager, projectOfRegistry(registry.url), env, async (options, manage) => {
    const manifests = Array.from(packages.values(), ({ manifest }) => manifest);
    await manage([...add, ...packages.keys()]);
    const entries = manifests.flatMap(({ name, exports = {} }) =>
      Object.keys(exports)
        .filter((path) => path !== "./package.json")
        .map((path) => name + path.slice(1)),
    );
    const [suites, others] = [true, false].map((isSuite) =>
      entries.filter((entry) => entry.endsWith("/testing") === isSuite),
    );
    await importEach(others, options);
    // The suites also need the optional peer dependencies. Their newest versions may ask for a newer Node.
    const peers = new Set(
      manifests
        .flatMap(({ peerDependencies = {} }) => Object.keys(peerDependencies))
        .filter((name) => !name.startsWith("@cairn/")),
    );
    const { devDependencies } = read("package.json");
    await manage([...add, ...Array.from(peers, (name) => `'${name}@${devDependencies[name]}'`)]);
    await importEach(suites, options);
    const printed = await manage([...exec, "cairn", "version"]);
    if (printed !== version) throw new Error(`cairn version printed ${printed}`);
    console.log(`${manager}: ${entries.length} entry points, cairn ${printed}`);
  });
}

/** Installs the files of dist/release into an empty folder, as is then printed, and starts the command. */
async function checkFiles(manager, { needs, args }, env) {
  const files = { "package.json": '{"private": true}', ...needs };
  await inProject(manager, files, env, async (options, manage) => {
    await manage(args);
    await importEach(["@cairn/node"], options);
    console.log(
      `${manager}: cairn ${await manage([...MANAGERS[manager].exec, "cairn", "version"])} from files`,
    );
  });
}

/** Prints how each manager installs the files. */
function printInstalls(installs) {
  for (const [manager, { needs, args }] of installs) {
    const [[file, text]] = [...Object.entries(needs), []];
    const first = file === undefined ? "" : `, once ${file} contains what follows`;
    console.log(`\nWith ${manager}${first}: ${[manager, ...args].join(" ")}`);
    if (text !== undefined) console.log(text.trimEnd());
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
const packages = readPackages(FOLDER);
const installs = Object.keys(MANAGERS).map((manager) => [
  manager,
  installOfFiles(manager, FOLDER, packages, ["@cairn/cli", "@cairn/node"]),
]);
const registry = await serveRegistry(packages);
try {
  for (const [manager, install] of installs) {
    await checkInstall(manager, registry, packages, env);
    await checkFiles(manager, install, env);
  }
} finally {
  registry.close();
}
if (dryRun) {
  console.log(`${version} can be released: ${readdirSync(FOLDER).length} packages in dist/release`);
  printInstalls(installs);
} else {
  // A tag that no branch contains yet is also published.
  for (const name of PACKAGES)
    run("npx", ["-y", "pnpm@12", "publish", "--no-git-checks", join(FOLDER, `cairn-${name}-${version}.tgz`)]);
}
