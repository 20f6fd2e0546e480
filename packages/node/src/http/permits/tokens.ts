import { createHash, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { CairnError } from "@cairn/kv";
import type { TokenOptions } from "../../api/system.ts";
import type { RepeatedWork } from "../../concurrency/repeated-work.ts";
import type { HttpLogger } from "../answers/failed-requests.ts";
import { EVERYTHING, Permit } from "./permit.ts";
import { reloadFiles } from "./reloaded-files.ts";

/** A value that a token may have. Only its digest is kept. */
interface TokenValue {
  readonly digest: Buffer;
  readonly options: TokenOptions;
}

/** A token's value, and what it permits. */
interface Grant extends TokenValue {
  readonly permit: Permit;
}

/** The characters of which a token in the header Authorization consists. */
const TOKEN = /^[\u0021-\u007E]+$/;

/** The tokens of a server. */
export class Tokens {
  readonly #areRequired: boolean;
  #grants: readonly Grant[] = [];
  /** The token that was valid most recently. Computing a digest takes 2 us, and most requests have this token. */
  #latest: { readonly bytes: Buffer; readonly permit: Permit } | undefined;
  #reloading: RepeatedWork | undefined;

  private constructor(areRequired: boolean) {
    this.#areRequired = areRequired;
  }

  /** Reads the tokens, and their files again whenever they change. Throws `CONFIG_INVALID`. */
  static async open(options: readonly TokenOptions[] | undefined, logger: HttpLogger): Promise<Tokens> {
    const tokens = new Tokens(options !== undefined);
    if (options === undefined) return tokens;
    tokens.#reloading = await reloadFiles({
      paths: options.flatMap(({ source }) => ("file" in source ? [source.file] : [])),
      read: async () => distinct((await Promise.all(options.map(valuesOf))).flat()),
      apply: (values) => tokens.#replace(values),
      onRefused: (error) => logger.warn(...refusedTokens(error)),
    });
    return tokens;
  }

  /** Returns whether requests need a token. */
  get areRequired(): boolean {
    return this.#areRequired;
  }

  /**
   * Returns what `token` permits; undefined if it is not valid. Digests of equal length are compared, in constant time
   * and with every token, so the time does not depend on how much of a token is right. The comparison with the token
   * that was valid most recently also takes constant time.
   */
  permitOf(token: string | undefined): Permit | undefined {
    if (!this.#areRequired) return EVERYTHING;
    if (token === undefined) return undefined;
    const bytes = Buffer.from(token, "latin1");
    const latest = this.#latest;
    const isComparable = latest?.bytes.length === bytes.length && !latest.permit.isRevoked;
    if (isComparable && timingSafeEqual(bytes, latest.bytes)) return latest.permit;
    const given = digestOf(token);
    let found: Permit | undefined;
    for (const { digest, permit } of this.#grants) if (timingSafeEqual(given, digest)) found = permit;
    if (found !== undefined) this.#latest = { bytes, permit: found };
    return found;
  }

  async close(): Promise<void> {
    await this.#reloading?.stop();
  }

  /** Keeps the permits of values that are still valid, because requests in progress have them. */
  #replace(values: readonly TokenValue[]): void {
    const before = this.#grants;
    this.#grants = values.map((value) => {
      const known = before.find(
        ({ digest, options }) => options === value.options && digest.equals(value.digest),
      );
      return known ?? { ...value, permit: new Permit(value.options) };
    });
    for (const grant of before) if (!this.#grants.includes(grant)) grant.permit.revoke();
  }
}

async function valuesOf(options: TokenOptions): Promise<readonly TokenValue[]> {
  const texts = await textsOf(options);
  return texts.map((text) => ({ digest: digestOf(text), options }));
}

async function textsOf({ name, source }: TokenOptions): Promise<readonly string[]> {
  if ("env" in source) {
    const { env, text = "" } = source;
    if (TOKEN.test(text.trim())) return [text.trim()];
    throw new CairnError(
      "CONFIG_INVALID",
      `The environment variable ${env}, which should contain the token ${name}, ${text.trim() === "" ? "is not set" : "contains no token"}.`,
      {
        hint: `Set ${env} to a token: visible ASCII characters without blanks, such as the output of ${GENERATE}.`,
      },
    );
  }
  // The configuration rejects an empty value.
  if ("text" in source) return [source.text];
  const { file } = source;
  const lines = (await contentOf(file, name)).split("\n").map((line) => line.trim());
  const texts = lines.filter((line) => line !== "");
  if (texts.length > 0 && texts.every((text) => TOKEN.test(text))) return texts;
  throw new CairnError(
    "CONFIG_INVALID",
    `The file of the token ${name}, ${file}, ${texts.length === 0 ? "is empty" : "contains a line that is not a token"}.`,
    {
      hint: `Write a token on each line: visible ASCII characters without blanks, such as the output of ${GENERATE}.`,
    },
  );
}

const GENERATE = "openssl rand -hex 32";

async function contentOf(file: string, name: string | undefined): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new CairnError("CONFIG_INVALID", `The file of the token ${name}, ${file}, cannot be read.`, {
      hint: "Check the path and the permissions of the file.",
      cause: error,
    });
  }
}

/** Rejects two tokens with one value, because the rights of one of them would be ignored. */
function distinct(values: readonly TokenValue[]): readonly TokenValue[] {
  const seen = new Map<string, TokenOptions>();
  for (const { digest, options } of values) {
    const other = seen.get(digest.toString("hex"));
    if (other !== undefined) {
      throw new CairnError(
        "CONFIG_INVALID",
        `The tokens ${nameOf(other)} and ${nameOf(options)} have the same value.`,
        { hint: `Give each token a value of its own, such as the output of ${GENERATE}.` },
      );
    }
    seen.set(digest.toString("hex"), options);
  }
  return values;
}

function nameOf({ name }: TokenOptions): string {
  return name ?? "auth-token";
}

function refusedTokens(error: unknown): [object, string] {
  if (!(error instanceof CairnError)) throw error;
  return [
    {
      code: error.code,
      message: error.message,
      hint: `${error.hint ?? ""} It is read again when it changes.`.trim(),
    },
    "A file with tokens has changed, but cannot be used. The tokens that were valid before remain valid.",
  ];
}

function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
