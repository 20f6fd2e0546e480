// Checks the sources against the READMEs of the packages, whose tables list the rooms of each package from the ground up,
// each with its budget of lines. Prints each import that goes up, or past the interface of another package, each unlisted
// or missing room, each room above its budget, and each folder with too many files. Exits with 1 if there are any. With
// --write, it first sets all budgets to the present sizes, rounded up to the next ten.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";

const MAX_FILES_PER_FOLDER = 20;
/** A row of the tables of rooms: its name, and its budget of lines. */
const ROW = /^\| `([^`]+)` \| ([\d,]*) \|/gm;
/** An import of another package of Cairn: its name, and a path in it. */
const OTHER_PACKAGE = /(?:\bfrom\s*|\bimport\s*\(?\s*)"@cairn\/([\w-]+)(\/[^"]*)?"/g;
const IMPORT = /(?:\bfrom\s*|\bimport\s*\(?\s*)"(\.{1,2}\/[^"]+)"/g;

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const problems = [];

/** Returns the rooms of a package with their budgets, in the order of its table. */
function readTable(name) {
  const rows = readFileSync(join(name, "README.md"), "utf8").matchAll(ROW);
  return [...rows].map(([, room, lines]) => ({ room, budget: Number(lines.replace(",", "")) }));
}

/** Returns the lines of the sources directly in a folder, as `wc -l` counts them. */
function linesIn(folder) {
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => /\.tsx?$/.test(file)) : [];
  const lines = files.map((file) => readFileSync(join(folder, file), "utf8").split("\n").length - 1);
  return lines.reduce((total, count) => total + count, 0);
}

/** Sets the budgets of a package's rooms to their sizes. */
function writeBudgets(name) {
  const budget = (room) => (Math.ceil(linesIn(join(name, "src", room)) / 10) * 10).toLocaleString("en");
  const page = readFileSync(join(name, "README.md"), "utf8");
  writeFileSync(
    `${name}/README.md`,
    page.replaceAll(ROW, (_, room) => `| \`${room}\` | ${budget(room)} |`),
  );
}

function checkBudget(name, folder, budget) {
  const lines = linesIn(folder);
  if (lines > budget)
    problems.push(
      `${folder} has ${lines} lines, but its budget in ${name}/README.md is ${budget}: remove lines, or raise it and say in the ` +
        "commit what was removed elsewhere.",
    );
}

/** Returns the TypeScript files below a folder, as paths relative to the repository. */
function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
}

function checkSizes(files) {
  const sizes = new Map();
  for (const file of files) sizes.set(dirname(file), (sizes.get(dirname(file)) ?? 0) + 1);
  for (const [folder, size] of sizes) {
    if (size > MAX_FILES_PER_FOLDER)
      problems.push(`${folder} has ${size} files; a folder may have at most ${MAX_FILES_PER_FOLDER}.`);
  }
}

function checkRooms(name, budgets) {
  const root = `${name}/src`;
  const rooms = budgets.map(({ room }) => room);
  for (const { room, budget } of budgets) checkBudget(name, join(root, room), budget);
  const files = filesBelow(root);
  const roomOf = (file) => relative(root, dirname(file)) || ".";
  const existing = new Set(files.map(roomOf));
  for (const room of existing)
    if (!rooms.includes(room)) problems.push(`${root}/${room} is not in the table of ${name}/README.md.`);
  for (const room of rooms)
    if (!existing.has(room)) problems.push(`${name} has no room ${room}, which its table lists.`);
  if (new Set(rooms).size !== rooms.length) problems.push(`${name} has a room twice in its table.`);
  for (const file of files) {
    for (const [, specifier] of readFileSync(file, "utf8").matchAll(IMPORT)) {
      const target = normalize(join(dirname(file), specifier));
      if (!target.startsWith(`${root}/`)) {
        problems.push(`${file} imports ${target}, outside its package's sources.`);
      } else if (rooms.indexOf(roomOf(target)) > rooms.indexOf(roomOf(file))) {
        problems.push(
          `${file} imports ${target}, but ${roomOf(target)} is below ${roomOf(file)} in the table of ${name}.`,
        );
      }
    }
  }
}

/** Checks that the sources of a package import only what others export, from packages that it declares. */
function checkInterfaces(name) {
  const manifest = JSON.parse(readFileSync(`${name}/package.json`, "utf8"));
  const declared = { ...manifest.dependencies, ...manifest.peerDependencies };
  for (const file of filesBelow(`${name}/src`)) {
    for (const [, other, path = ""] of readFileSync(file, "utf8").matchAll(OTHER_PACKAGE)) {
      if (declared[`@cairn/${other}`] === undefined)
        problems.push(`${file} imports @cairn/${other}, on which ${name} does not depend.`);
      if (/^\/(?:src|test|testing)\b/.test(path))
        problems.push(
          `${file} imports @cairn/${other}${path}, which is not part of that package's interface.`,
        );
    }
  }
}

const packages = readdirSync("packages").map((name) => `packages/${name}`);
for (const name of packages) {
  if (process.argv.includes("--write")) writeBudgets(name);
  checkRooms(name, readTable(name));
  checkInterfaces(name);
}
checkSizes(
  [
    ...packages.flatMap((name) => ["src", "test", "testing"].map((part) => `${name}/${part}`)),
    "test/support",
  ].flatMap(filesBelow),
);
for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;
