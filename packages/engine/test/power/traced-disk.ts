import { bytesOf, type SystemCall } from "./system-calls.ts";

/** The size of a file system's writes in bytes. */
const PAGE = 4_096;

type Change = { readonly offset: number; readonly data: Buffer } | { readonly size: number };

/** A file: the changes of its content, and the number of changes that were flushed. */
export class TracedFile {
  readonly changes: Change[] = [];
  synced = 0;
  #pages: { readonly key: string; readonly pages: [from: number, versions: Buffer[]][] } = {
    key: "",
    pages: [],
  };
  #known: { readonly count: number; readonly content: Buffer } = { count: 0, content: Buffer.alloc(0) };

  /** The flushed part of its content. */
  get base(): Buffer {
    if (this.#known.count !== this.synced)
      this.#known = { count: this.synced, content: this.#after(this.synced) };
    return this.#known.content;
  }

  /** The pages that changed since the last flush, by their offsets, each with all its versions since then. */
  get pages(): readonly [from: number, versions: Buffer[]][] {
    const key = `${this.synced} ${this.changes.length}`;
    if (this.#pages.key !== key)
      this.#pages = { key, pages: pagesOf(this.base, this.changes.slice(this.synced)) };
    return this.#pages.pages;
  }

  /** The file's content as running programs see it. */
  get seen(): Buffer {
    return this.#after(this.changes.length);
  }

  /** Returns its size after this many changes. */
  sizeAfter(count: number): number {
    let size = 0;
    for (const change of this.changes.slice(0, count)) {
      size = "size" in change ? change.size : Math.max(size, change.offset + change.data.length);
    }
    return size;
  }

  #after(count: number): Buffer {
    const sizes = this.changes.slice(0, count).map((_, index) => this.sizeAfter(index + 1));
    const content = Buffer.alloc(Math.max(0, ...sizes));
    for (const change of this.changes.slice(0, count)) {
      if ("data" in change) change.data.copy(content, change.offset);
      else content.fill(0, change.size);
    }
    return content.subarray(0, this.sizeAfter(count));
  }
}

/** A folder. Its names are in {@link TracedDisk.names}. */
export class TracedFolder {
  readonly isFolder = true;
}

type Entry = TracedFile | TracedFolder;

/** Names that one call changed together. */
interface NameChange {
  readonly set: readonly {
    readonly folder: TracedFolder;
    readonly name: string;
    readonly entry: Entry | undefined;
  }[];
  /**
   * Whether some file systems may apply these changes before earlier ones. They may for creations and renames, but
   * never for removals.
   */
  readonly mayComeEarly: boolean;
  durable: boolean;
}

/** The unflushed changes that a state contains. */
export interface Choices {
  /**
   * Returns how many changes of names the state contains, counted from the first. Of the later changes, it contains
   * those for which `name` returns true.
   */
  names(count: number): number;
  name(): boolean;
  /** Returns which version of a page the state has, from the flushed one (0) to the newest (`count`). */
  page(count: number): number;
  /** Returns which size of a file the state has, from the flushed one (0) to the newest (`count`). */
  size(count: number): number;
}

/** Files and folders by their paths below the root. The content of a folder is undefined. */
export type DiskState = ReadonlyMap<string, Buffer | undefined>;

/** A folder's files as system calls change them, and the states that they may have after a power loss. */
export class TracedDisk {
  readonly #root: string;
  readonly #rootFolder = new TracedFolder();
  readonly #names: NameChange[] = [];
  /** The names as running programs see them. */
  readonly #seen = new Map<TracedFolder, Map<string, Entry>>();
  readonly #open = new Map<number, { entry: Entry; offset: number; append: boolean }>();
  readonly #told: string[] = [];

  /** `root` is an existing, empty folder. */
  constructor(root: string) {
    this.#root = root;
    this.#seen.set(this.#rootFolder, new Map());
  }

  /** The program's reports so far on its standard output. */
  get told(): readonly string[] {
    return this.#told;
  }

  /** Returns whether the call flushes something. */
  static flushes({ name }: SystemCall): boolean {
    return name === "fsync" || name === "fdatasync";
  }

  /**
   * Applies the call, and returns whether it changed anything. `begunBefore` is the {@link mark} at the call's
   * beginning.
   */
  apply(call: SystemCall, begunBefore: (file: TracedFile | undefined) => number): boolean {
    const { name, args, result } = call;
    const fd = Number(args[0]);
    switch (name) {
      case "openat":
        return this.#opened(pathOf(args[1]), args[2] ?? "", result);
      case "open":
        return this.#opened(pathOf(args[0]), args[1] ?? "", result);
      case "close":
        this.#open.delete(fd);
        return false;
      case "write":
        if (fd === 1) return this.#told.push(...bytesOf(args[1]).toString().split("\n").filter(Boolean)) > 0;
        return this.#write(fd, bytesOf(args[1]).subarray(0, result));
      case "pwrite64":
        return this.#write(fd, bytesOf(args[1]).subarray(0, result), Number(args.at(-1)));
      case "lseek": {
        const open = this.#open.get(fd);
        if (open !== undefined) open.offset = result;
        return false;
      }
      case "ftruncate":
        return this.#change(fd, { size: Number(args[1]) });
      case "copy_file_range":
        return this.#copy(fd, args[1], Number(args[2]), args[3], result);
      case "sendfile":
        return this.#copy(Number(args[1]), args[2], fd, "NULL", result);
      case "fsync":
      case "fdatasync":
        return this.#flush(fd, begunBefore);
      case "rename":
        return this.#rename(pathOf(args[0]), pathOf(args[1]));
      case "renameat":
      case "renameat2":
        return this.#rename(pathOf(args[1]), pathOf(args[3]));
      case "link":
        return this.#link(pathOf(args[0]), pathOf(args[1]));
      case "linkat":
        return this.#link(pathOf(args[1]), pathOf(args[3]));
      case "unlink":
      case "rmdir":
        return this.#remove(pathOf(args[0]));
      case "unlinkat":
        return this.#remove(pathOf(args[1]));
      case "mkdir":
        return this.#make(pathOf(args[0]), new TracedFolder());
      case "mkdirat":
        return this.#make(pathOf(args[1]), new TracedFolder());
      default:
        // The call would make changes unknown to this model.
        if (this.#open.has(fd)) throw new Error(`the model does not know ${name}`);
        return false;
    }
  }

  /** Returns the current numbers of changes of a file and of names, which a flush that begins now covers. */
  mark(): (file: TracedFile | undefined) => number {
    const names = this.#names.length;
    const counts = new Map<TracedFile, number>();
    for (const { entry } of this.#open.values()) {
      if (entry instanceof TracedFile) counts.set(entry, entry.changes.length);
    }
    return (file) => (file === undefined ? names : (counts.get(file) ?? 0));
  }

  /** Returns a state that a power loss at this instant may leave. */
  state(choices: Choices): DiskState {
    const folders = new Map<TracedFolder, Map<string, Entry>>();
    const count = choices.names(this.#names.length);
    for (const [index, { set, durable, mayComeEarly }] of this.#names.entries()) {
      if (!durable && index >= count && !(mayComeEarly && choices.name())) continue;
      for (const { folder, name, entry } of set) {
        const names = folders.get(folder) ?? new Map<string, Entry>();
        folders.set(folder, names);
        if (entry === undefined) names.delete(name);
        else names.set(name, entry);
      }
    }
    const state = new Map<string, Buffer | undefined>();
    const contents = new Map<TracedFile, Buffer>();
    const walk = (folder: TracedFolder, path: string): void => {
      for (const [name, entry] of folders.get(folder) ?? []) {
        if (entry instanceof TracedFile) {
          // All names of a file have the same content.
          const content = contents.get(entry) ?? contentOf(entry, choices);
          contents.set(entry, content);
          state.set(path + name, content);
        } else {
          state.set(path + name, undefined);
          walk(entry, `${path}${name}/`);
        }
      }
    };
    walk(this.#rootFolder, "");
    return state;
  }

  /** Returns the folder that contains a path, and the name in it; undefined if the path is not below the root. */
  #place(path: string): { folder: TracedFolder; name: string; entry: Entry | undefined } | undefined {
    if (!path.startsWith(`${this.#root}/`)) return undefined;
    const names = path.slice(this.#root.length + 1).split("/");
    const name = names.pop() ?? "";
    let folder: TracedFolder = this.#rootFolder;
    for (const part of names) {
      const next = this.#seen.get(folder)?.get(part);
      if (next === undefined || next instanceof TracedFile) return undefined;
      folder = next;
    }
    return { folder, name, entry: this.#seen.get(folder)?.get(name) };
  }

  #rename(from: string, to: string): boolean {
    const source = this.#place(from);
    const target = this.#place(to);
    if (source?.entry === undefined || target === undefined) return false;
    return this.#nameChange(true, { ...source, entry: undefined }, { ...target, entry: source.entry });
  }

  #link(from: string, to: string): boolean {
    const entry = this.#place(from)?.entry;
    return entry === undefined ? false : this.#make(to, entry);
  }

  #make(path: string, entry: Entry): boolean {
    const place = this.#place(path);
    if (place === undefined) return false;
    if (!(entry instanceof TracedFile)) this.#seen.set(entry, new Map());
    return this.#nameChange(true, { ...place, entry });
  }

  #remove(path: string): boolean {
    const place = this.#place(path);
    return place?.entry === undefined ? false : this.#nameChange(false, { ...place, entry: undefined });
  }

  #nameChange(mayComeEarly: boolean, ...set: NameChange["set"]): true {
    for (const { folder, name, entry } of set) {
      const names = this.#seen.get(folder);
      if (entry === undefined) names?.delete(name);
      else names?.set(name, entry);
    }
    this.#names.push({ set, mayComeEarly, durable: false });
    return true;
  }

  #opened(path: string, flags: string, fd: number): boolean {
    this.#open.delete(fd);
    if (path === this.#root) this.#open.set(fd, { entry: this.#rootFolder, offset: 0, append: false });
    const place = this.#place(path);
    if (place === undefined) return false;
    const isNew = place.entry === undefined;
    const entry = place.entry ?? new TracedFile();
    if (isNew && !flags.includes("O_CREAT")) return false;
    if (isNew) this.#make(path, entry);
    this.#open.set(fd, { entry, offset: 0, append: flags.includes("O_APPEND") });
    if (isNew || !flags.includes("O_TRUNC")) return isNew;
    return this.#change(fd, { size: 0 });
  }

  #write(fd: number, data: Buffer, at?: number): boolean {
    const open = this.#open.get(fd);
    if (open === undefined || !(open.entry instanceof TracedFile)) return false;
    const size = open.append ? open.entry.seen.length : open.offset;
    const offset = at ?? size;
    if (at === undefined) open.offset = offset + data.length;
    return this.#change(fd, { offset, data });
  }

  #copy(
    from: number,
    fromOffset: string | undefined,
    to: number,
    toOffset: string | undefined,
    bytes: number,
  ): boolean {
    const source = this.#open.get(from);
    const target = this.#open.get(to);
    if (source === undefined || target === undefined || !(source.entry instanceof TracedFile)) return false;
    // strace prints the offset after the call in brackets.
    const at = fromOffset === "NULL" ? source.offset : Number(/\d+/.exec(fromOffset ?? "")?.[0]);
    const data = source.entry.seen.subarray(at, at + bytes);
    if (fromOffset === "NULL") source.offset += bytes;
    return this.#write(to, data, toOffset === "NULL" ? undefined : Number(/\d+/.exec(toOffset ?? "")?.[0]));
  }

  #change(fd: number, change: Change): boolean {
    const entry = this.#open.get(fd)?.entry;
    if (!(entry instanceof TracedFile)) return false;
    entry.changes.push(change);
    return true;
  }

  #flush(fd: number, covers: (file: TracedFile | undefined) => number): boolean {
    const entry = this.#open.get(fd)?.entry;
    if (entry === undefined) return false;
    if (entry instanceof TracedFile) {
      entry.synced = Math.max(entry.synced, covers(entry));
    } else {
      for (const change of this.#names.slice(0, covers(undefined))) {
        if (change.set.some(({ folder }) => folder === entry)) change.durable = true;
      }
    }
    return true;
  }
}

function contentOf(file: TracedFile, choices: Choices): Buffer {
  const { base } = file;
  const changes = file.changes.slice(file.synced);
  if (changes.length === 0) return base;
  const content = Buffer.alloc(file.sizeAfter(file.synced + choices.size(changes.length)));
  base.copy(content);
  for (const [from, versions] of file.pages) versions[choices.page(versions.length - 1)]?.copy(content, from);
  return content;
}

/** Returns the pages that changes touch, and their versions. */
function pagesOf(base: Buffer, changes: readonly Change[]): [from: number, versions: Buffer[]][] {
  const touched = new Set<number>();
  for (const change of changes) {
    const [from, to] =
      "size" in change ? [change.size, base.length] : [change.offset, change.offset + change.data.length];
    for (let page = Math.floor(from / PAGE); page * PAGE < to; page += 1) touched.add(page * PAGE);
  }
  return [...touched].toSorted((a, b) => a - b).map((from) => [from, versionsOf(base, changes, from)]);
}

/** Returns the versions of a page since the last flush, oldest first. */
function versionsOf(base: Buffer, changes: readonly Change[], from: number): Buffer[] {
  const first = Buffer.alloc(PAGE);
  base.subarray(from, from + PAGE).copy(first);
  const versions = [first];
  for (const change of changes) {
    const page = Buffer.from(versions.at(-1) ?? first);
    if ("size" in change) page.fill(0, Math.min(PAGE, Math.max(0, change.size - from)));
    else if (change.offset < from + PAGE && change.offset + change.data.length > from) {
      change.data.copy(page, Math.max(0, change.offset - from), Math.max(0, from - change.offset));
    } else continue;
    versions.push(page);
  }
  return versions;
}

function pathOf(printed: string | undefined): string {
  return bytesOf(printed).toString();
}
