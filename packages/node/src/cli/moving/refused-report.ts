import { type FileHandle, open } from "node:fs/promises";
import { resolve } from "node:path";
import { systemErrorCode } from "@cairn/kv";
import { UsageError } from "../terminal/report-error.ts";
import type { ImportRecord, ImportRefusal } from "./import-record.ts";

/** A file that names each record that was not imported. It is created for the first such record. */
export class RefusedReport {
  readonly path: string;
  readonly #file: string;
  #handle: Promise<FileHandle> | undefined;
  #refused = 0;

  constructor(path: string, cwd: string) {
    this.path = path;
    this.#file = resolve(cwd, path);
  }

  get refused(): number {
    return this.#refused;
  }

  async add({ sourceKey: key }: ImportRecord, { code, message }: ImportRefusal): Promise<void> {
    // Records are refused both while they are read and while they are sent.
    this.#handle ??= this.#create();
    this.#refused += 1;
    const handle = await this.#handle;
    await handle.appendFile(`${JSON.stringify({ key, code, message })}\n`);
  }

  async close(): Promise<void> {
    // A report that could not be created has already ended the import.
    await (await this.#handle?.catch(() => undefined))?.close();
  }

  /** Never overwrites a file, because the name may be that of the source. */
  async #create(): Promise<FileHandle> {
    try {
      return await open(this.#file, "wx");
    } catch (error) {
      const problem = systemErrorCode(error) === "EEXIST" ? "exists already" : "cannot be written";
      throw new UsageError(`The report ${this.path} ${problem}.`, "Name another file with --report.");
    }
  }
}

/** Returns the name of a report that does not exist yet. */
export function defaultReport(now: Date): string {
  return `cairn-import-refused-${now.toISOString().replaceAll(":", "-")}.ndjson`;
}
