import { KnownPaths } from "./known-paths.ts";
import { DIRECTORIES, LONG_PATHS, ODD_NAMES } from "./odd-paths.ts";
import { SeededRandom } from "./seeded-random.ts";

/** Options for {@link repositoryScript}. */
export interface ScriptOptions {
  /** The number of commits in the first-parent history. Merged branches have additional commits. */
  readonly commits: number;
  readonly seed: number;
  /** The number of files in the first commit. */
  readonly files: number;
  readonly branch: string;
  /** The length of an object id: 40, or 64 with SHA-256. */
  readonly oidLength: number;
}

const FIRST_SECOND = 1_600_000_000;
const ZONES = ["+0000", "+0200", "-0730", "+1345"];
const PEOPLE = [
  "Ada <ada@example.org>",
  "<nameless@example.org>",
  "Zoë Ångström <z@example.org>",
  "O'Neil, J. <>",
];
const MODES = ["100644", "100644", "100644", "100755", "120000", "160000"];

/**
 * Yields the input of `git fast-import` for a repository with all kinds of commits. The same options result in the same script, and so in
 * the same object ids. Chunks are Latin-1 strings of the bytes.
 */
export function* repositoryScript(options: ScriptOptions): Generator<string, void, undefined> {
  const script = new Script(options);
  yield* script.firstCommit();
  for (let number = 2; number <= options.commits; number += 1) yield script.commit(number);
  yield "done\n";
}

/**
 * `#paths` may be wrong after a directory has become a file. That is harmless, because fast-import silently deletes
 * missing paths and turns files into directories.
 */
class Script {
  readonly #options: ScriptOptions;
  readonly #random: SeededRandom;
  readonly #paths = new KnownPaths();
  #mark = 0;
  #serial = 0;

  constructor(options: ScriptOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
  }

  *firstCommit(): Generator<string, void, undefined> {
    yield this.#head(this.#options.branch, "The first commit");
    for (let number = 0; number < this.#options.files; number += 1) {
      yield this.#put(`many/${number % 100}/file-${number}`, "100644");
    }
    yield "\n";
  }

  commit(number: number): string {
    const { branch } = this.#options;
    const random = this.#random;
    const dice = random.next();
    if (dice < 0.03) return `${this.#head(branch, "")}\n`;
    if (dice < 0.1 && number > 3) return this.#merge(random.chance(0.2) ? 2 + random.below(5) : 1);
    const changes = dice < 0.105 ? 200 : 1 + random.below(5);
    return `${this.#head(branch, this.#message(number))}${this.#changes(changes)}\n`;
  }

  #merge(parents: number): string {
    const before = this.#mark;
    let sides = "";
    let merged = "";
    let changes = "";
    for (let side = 0; side < parents; side += 1) {
      // A few merges are of unrelated history: without "from", a side branch begins empty.
      const from = this.#random.chance(0.1) ? "" : `from :${1 + this.#random.below(before)}\n`;
      const theirs = this.#changes(1 + this.#random.below(3));
      sides += `reset refs/heads/side\n\n${this.#head("side", `Side ${side}`, from)}${theirs}\n`;
      merged += `merge :${this.#mark}\n`;
      // A merge that keeps nothing from the other side is identical to its first parent.
      if (this.#random.chance(0.8)) changes += theirs;
    }
    const from = `from :${before}\n`;
    return `${sides}${this.#head(this.#options.branch, "Merge", `${from}${merged}`)}${changes}\n`;
  }

  #head(branch: string, message: string, ancestry = ""): string {
    this.#mark += 1;
    const random = this.#random;
    // Authors' clocks differ, so time does not always increase along a history.
    const seconds = FIRST_SECOND + this.#mark * 60 - (random.chance(0.1) ? 86_400 : 0);
    const when = `${seconds} ${random.pick(ZONES)}`;
    const encoding = message.includes("\xe9") && random.chance(0.5) ? "encoding ISO-8859-1\n" : "";
    return (
      `commit refs/heads/${branch}\nmark :${this.#mark}\n` +
      `author ${utf8(random.pick(PEOPLE))} ${when}\ncommitter ${utf8(random.pick(PEOPLE))} ${when}\n` +
      `${encoding}data ${message.length}\n${message}\n${ancestry}`
    );
  }

  #message(number: number): string {
    const kind = this.#random.below(8);
    if (kind === 0) return `Caf\xe9 in Latin-1, commit ${number}\n`;
    if (kind === 1)
      return utf8(`Ein größerer Schritt ${number} 🗻\n\n:100644 000000 looks like a change\n\nEnd\n`);
    if (kind === 2) return `\n\n  Commit ${number} "quoted" \\ \t tab\r\n\n\n`;
    return `Commit ${number}`;
  }

  #changes(count: number): string {
    let changes = "";
    for (let done = 0; done < count; done += 1) changes += this.#change();
    return changes;
  }

  #change(): string {
    const random = this.#random;
    const dice = random.next();
    const path = this.#paths.pick(random);
    if (path === undefined || dice < 0.4) return this.#put(this.#newPath(), random.pick(MODES));
    if (dice < 0.45) return this.#put(path, random.pick(MODES), this.#paths.contentOf(path));
    if (dice < 0.6) return this.#put(path, random.pick(MODES));
    if (dice < 0.75) return this.#delete(path);
    if (dice < 0.87) return this.#rename(path);
    if (dice < 0.96) return this.#put(`${path}/${random.pick(ODD_NAMES)}`, "100644");
    const slash = path.lastIndexOf("/");
    return slash === -1 ? this.#delete(path) : this.#put(path.slice(0, slash), "100644");
  }

  #newPath(): string {
    const random = this.#random;
    if (random.chance(0.05)) return random.pick(LONG_PATHS);
    const directory = random.pick(DIRECTORIES);
    if (random.chance(0.4)) return `${directory}${random.pick(ODD_NAMES)}`;
    this.#serial += 1;
    return `${directory}file-${this.#serial}.txt`;
  }

  #rename(path: string): string {
    const content = this.#paths.contentOf(path);
    return this.#delete(path) + this.#put(this.#newPath(), "100644", content);
  }

  #delete(path: string): string {
    this.#paths.delete(path);
    return `D ${quote(path)}\n`;
  }

  #put(path: string, mode: string, content?: string): string {
    if (mode === "160000") {
      this.#paths.set(path, undefined);
      const oid = this.#random
        .below(2 ** 32)
        .toString(16)
        .padStart(8, "0");
      return `M 160000 ${oid.repeat(this.#options.oidLength / 8)} ${quote(path)}\n`;
    }
    // There are few different contents, so that some changes affect only the mode and some files are equal.
    const data = content ?? `content ${this.#random.below(50)}`;
    this.#paths.set(path, data);
    return `M ${mode} inline ${quote(path)}\ndata ${data.length}\n${data}\n`;
  }
}

function utf8(text: string): string {
  return Buffer.from(text).toString("latin1");
}

function quote(path: string): string {
  const escaped = path.replace(
    /[^ !#-[\]-~]/g,
    (byte) => `\\${byte.charCodeAt(0).toString(8).padStart(3, "0")}`,
  );
  return `"${escaped}"`;
}
