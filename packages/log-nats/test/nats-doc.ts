import { readFileSync } from "node:fs";
import { join } from "node:path";

const DOC = readFileSync(join(import.meta.dirname, "../../../docs/nats.md"), "utf8");

/** A row of the table of permissions in docs/nats.md. */
export interface Right {
  readonly who: string;
  readonly may: "publish" | "subscribe";
  readonly subject: string;
}

/** Returns the permissions that users of a log on the stream `cairn` need, from docs/nats.md. */
export function documentedRights(): Right[] {
  return rows("Permissions").map(([who = "", may, subject = ""]) => {
    if (may !== "publish" && may !== "subscribe") throw new Error(`docs/nats.md: what is ${may}?`);
    return { who, may, subject: unquoted(subject).replace("<stream>", "cairn") };
  });
}

/** Returns the settings of a stream in docs/nats.md: the value that Cairn sets, and the effect of a different value. */
export function documentedSettings(): { setting: string; made: string; otherwise: string }[] {
  return rows("The stream's settings").map(([setting = "", made = "", otherwise = ""]) => ({
    setting: unquoted(setting),
    made: unquoted(made),
    otherwise,
  }));
}

function rows(heading: string): string[][] {
  const from = DOC.indexOf(`\n## ${heading}\n`);
  const section = DOC.slice(from, DOC.indexOf("\n## ", from + 1));
  const lines = section.split("\n").filter((line) => line.startsWith("| "));
  return lines.slice(1).map((line) => line.slice(2, -2).split(" | "));
}

function unquoted(cell: string): string {
  return cell.replace(/^`(.*)`$/, "$1");
}
