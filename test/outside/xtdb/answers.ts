import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

/** XTDB's answers about one id. */
export interface Entity {
  readonly text: string;
  /** The document that is current from each transaction that changes it; undefined for none. */
  readonly visible: readonly { readonly tx: number; readonly document: number | undefined }[];
  /** Why documents of this id are reported instead of exported. */
  readonly refused: "key" | "function" | undefined;
}

/** XTDB's answers, as seed.clj writes them. */
export interface Answers {
  /** The documents by their number; null if the document has no counterpart in JSON. */
  readonly documents: readonly unknown[];
  readonly entities: readonly Entity[];
  /** Some transactions, and the documents that `entity` returned as of them, by the index of the id. */
  readonly samples: readonly { readonly tx: number; readonly found: Readonly<Record<string, number>> }[];
  /** The operations with valid times of their own, as in the report. */
  readonly reported: readonly string[];
  /** The transactions that evict, and the hash of the id. */
  readonly evicted: readonly { readonly tx: number; readonly hash: string }[];
}

/** A version of an entity: the start of its valid time, its transaction, and its document's number or null. */
type Version = readonly [validTime: number, tx: number, document: number | null];
type Transaction = { readonly tx: number; readonly time: number };

/** Reads the output of seed.clj. */
export async function readAnswers(file: string): Promise<Answers> {
  const lines = new Map<string, unknown[][]>();
  for await (const line of createInterface({ input: createReadStream(file) })) {
    const [kind, ...fields] = JSON.parse(line) as [string, ...unknown[]];
    lines.set(kind, [...(lines.get(kind) ?? []), fields]);
  }
  const of = <T extends unknown[]>(kind: string): T[] => (lines.get(kind) ?? []) as T[];
  const transactions = of<[number, number]>("tx").map(([tx, time]) => ({ tx, time }));
  const histories = of<[number, string, string, Version[]]>("history");
  const strings = new Set(
    histories
      .filter(([, , kind, versions]) => kind === "string" && versions.length > 0)
      .map(([, text]) => text),
  );
  return {
    documents: of<[number, string | null]>("document").map(([, text]) => JSON.parse(text ?? "null")),
    entities: histories.map(([, text, kind, versions]) => {
      const hasKey =
        kind !== "map" && text.length > 0 && text.length <= 1024 && (kind === "string" || !strings.has(text));
      const isFunction = versions.some(([, , document]) => document === -1);
      const refused = isFunction ? "function" : hasKey ? undefined : "key";
      return { text, visible: visibleVersions(versions, transactions), refused };
    }),
    samples: of<[number, Record<string, number>]>("entities").map(([tx, found]) => ({ tx, found })),
    reported: of<[number, string, string, string]>("reported").map((fields) => fields.join(" ")),
    evicted: of<[number, string]>("evicted").map(([tx, hash]) => ({ tx, hash })),
  };
}

/** Derives from all versions of an entity which one was visible at the time of each transaction, as of it. */
function visibleVersions(
  versions: readonly Version[],
  transactions: readonly Transaction[],
): Entity["visible"] {
  const changes: { tx: number; document: number | undefined }[] = [];
  let current: number | undefined;
  for (const { tx, time } of transactions) {
    let visible: Version | undefined;
    for (const version of versions) {
      if (version[0] > time || version[1] > tx) continue;
      const [validTime = -Infinity, since = -1] = visible ?? [];
      if (version[0] > validTime || (version[0] === validTime && version[1] > since)) visible = version;
    }
    const document = visible?.[2] ?? undefined;
    // The end of a valid time starts a version of the earlier document, with that document's transaction.
    if (document !== current) changes.push({ tx, document });
    current = document;
  }
  return changes;
}
