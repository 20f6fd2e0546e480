// Checks that a name means one thing: no two source files of the packages export the same name, and the name of a
// constant that counts in powers of 1,024 contains its unit. Also refuses AbortSignal.timeout where timeoutSignal is
// needed. Prints each problem, and exits with 1 if there are any.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const DECLARATION =
  /^export (?:declare )?(?:abstract )?(?:async )?(?:function\*?|class|interface|type|const|enum) (\w+)/gm;
const BYTES_CONSTANT = /^(?:export )?const ([A-Z][A-Z0-9_]*) = [\d_ *]*\b1_?024 \* 1_?024\b/gm;
/** A unit of bytes in a constant's name. */
const BYTES_UNIT = /(?:^|_)(?:BYTES|KIB|MIB|GIB)(?:_|$)/;

process.chdir(fileURLToPath(new URL("..", import.meta.url)));

const problems = [];
const declared = new Map();

function check(file, source) {
  if (!/^packages\/(?:kv|checkpoint|page)/.test(file) && /\bAbortSignal\.timeout\(/.test(source))
    problems.push(`${file} calls AbortSignal.timeout, which may never abort: call timeoutSignal instead.`);
  for (const name of new Set([...source.matchAll(DECLARATION)].map(([, exported]) => exported))) {
    const first = declared.get(name);
    if (first === undefined) declared.set(name, file);
    else
      problems.push(`${file} exports ${name}, as ${first} does. Give one of them another name, or share it.`);
  }
  for (const [, name] of source.matchAll(BYTES_CONSTANT)) {
    if (!BYTES_UNIT.test(name))
      problems.push(`${file}: ${name} is a number of bytes; end its name in _BYTES.`);
  }
}

for (const name of readdirSync("packages")) {
  const root = join("packages", name, "src");
  const entries = readdirSync(root, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter(({ name: file }) => /\.tsx?$/.test(file))) {
    const file = join(entry.parentPath, entry.name);
    check(file, readFileSync(file, "utf8"));
  }
}
for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;
