import { createHash, timingSafeEqual } from "node:crypto";
import { CairnError } from "@cairn/kv";
import { TOKEN_PATTERN, type TokenOptions } from "../../api/system.ts";
import type { RepeatedWork } from "../../concurrency/repeated-work.ts";
import type { HttpLogger } from "../answers/failed-requests.ts";
import { EVERYTHING, Permit } from "./permit.ts";
import { readSmallFile, reloadFiles } from "./reloaded-files.ts";

/** A value that a token may have. Only its digest is kept. */
interface TokenValue {
  readonly digest: Buffer;
  readonly options: TokenOptions;
}

interface Grant extends TokenValue {
  readonly permit: Permit;
}

/** The values in a token's source, and those of them that are in use; undefined if the token has never been used. */
interface TokenContents {
  readonly values: readonly TokenValue[];
  readonly used: readonly TokenValue[] | undefined;
}

export class Tokens {
  readonly #areRequired: boolean;
  #grants: readonly Grant[] = [];
  /** The token that was valid most recently. Computing a digest takes 2 us, and most requests have this token. */
  #latest: { readonly bytes: Buffer; readonly permit: Permit } | undefined;
  /** What each configured token's source contained when it was last read, and the values in use. */
  readonly #contents = new Map<TokenOptions, TokenContents>();
  readonly #reloading: RepeatedWork[] = [];

  private constructor(areRequired: boolean) {
    this.#areRequired = areRequired;
  }

  /** Reads the tokens, and their files again whenever they change. Throws `CONFIG_INVALID`. */
  static async open(options: readonly TokenOptions[] | undefined, logger: HttpLogger): Promise<Tokens> {
    const tokens = new Tokens(options !== undefined);
    if (options === undefined) return tokens;
    try {
      // Each file is read by itself, so that an unusable file does not keep the tokens in other files valid.
      for (const one of options) {
        const work = await reloadFiles({
          paths: "file" in one.source ? [one.source.file] : [],
          read: async () => await valuesOf(one),
          apply: (values) => tokens.#use(one, values),
          onRefused: (error) => logger.warn(...refusedTokens(error)),
        });
        tokens.#reloading.push(work);
      }
    } catch (error) {
      await tokens.close();
      throw error;
    }
    return tokens;
  }

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
    await Promise.all(this.#reloading.map((work) => work.stop()));
  }

  /**
   * Uses the values that a token's source contains. Throws `CONFIG_INVALID` if one of them is also a value of another
   * token; the values of the tokens concerned then remain as they were until that is no longer the case.
   */
  #use(options: TokenOptions, values: readonly TokenValue[]): void {
    this.#contents.set(options, { values, used: this.#contents.get(options)?.used });
    const { used, refused } = usableContents(this.#contents);
    for (const [one, { values: read }] of this.#contents)
      this.#contents.set(one, { values: read, used: used.get(one) });
    this.#replace([...used.values()].flat());
    if (refused !== undefined) throw refused;
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
    if (TOKEN_PATTERN.test(text.trim())) return [text.trim()];
    throw new CairnError(
      "CONFIG_INVALID",
      `The environment variable ${env}, which should contain the token ${name}, ${text.trim() === "" ? "is not set" : "contains no token"}.`,
      {
        hint: `Set ${env} to a token: visible ASCII characters without blanks, such as the output of ${GENERATE}.`,
      },
    );
  }
  // The configuration has checked the value.
  if ("text" in source) return [source.text];
  const { file } = source;
  const content = await readSmallFile(`the token ${name}`, file);
  const lines = content
    .toString("utf8")
    .split("\n")
    .map((line) => line.trim());
  const texts = lines.filter((line) => line !== "");
  if (texts.length > 0 && texts.every((text) => TOKEN_PATTERN.test(text))) return texts;
  throw new CairnError(
    "CONFIG_INVALID",
    `The file of the token ${name}, ${file}, ${texts.length === 0 ? "is empty" : "contains a line that is not a token"}.`,
    {
      hint: `Write a token on each line: visible ASCII characters without blanks, such as the output of ${GENERATE}.`,
    },
  );
}

const GENERATE = "openssl rand -hex 32";

/**
 * Returns the values to use. Two tokens must not have one value, because the rights of one of them would be ignored.
 * If they do, those that have changed keep the values that were in use before, and all others change. Each step takes
 * back at least one change, and the values before all changes are distinct.
 */
function usableContents(contents: ReadonlyMap<TokenOptions, TokenContents>): {
  readonly used: ReadonlyMap<TokenOptions, readonly TokenValue[]>;
  readonly refused: CairnError | undefined;
} {
  const used = new Map([...contents].map(([options, { values }]) => [options, values]));
  let refused: CairnError | undefined;
  for (;;) {
    const same = repeatedValue([...used.values()].flat());
    if (same === undefined) return { used, refused };
    refused ??= new CairnError(
      "CONFIG_INVALID",
      `The tokens ${same.map(nameOf).join(" and ")} have the same value.`,
      { hint: `Give each token a value of its own, such as the output of ${GENERATE}.` },
    );
    for (const options of same) {
      const before = contents.get(options)?.used;
      // No token has been used before: the server does not start.
      if (before === undefined) throw refused;
      used.set(options, before);
    }
  }
}

function repeatedValue(values: readonly TokenValue[]): readonly [TokenOptions, TokenOptions] | undefined {
  const seen = new Map<string, TokenOptions>();
  for (const { digest, options } of values) {
    const other = seen.get(digest.toString("hex"));
    if (other !== undefined) return [other, options];
    seen.set(digest.toString("hex"), options);
  }
  return undefined;
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
    "A file with tokens has changed, but cannot be used. Those of its tokens that were valid before remain valid.",
  ];
}

function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
