import { createHash, timingSafeEqual } from "node:crypto";
import { CairnError } from "@cairn/kv";
import { TOKEN_PATTERN, type TokenOptions } from "@cairn/engine";
import { EVERYTHING, Permit } from "./permit.ts";
import { readFileOf, type ReloadedFiles } from "./reloaded-files.ts";

/** A value that a token may have. Only its digest is kept. */
interface Grant {
  readonly digest: Buffer;
  readonly options: TokenOptions;
  readonly permit: Permit;
}

export class Tokens {
  readonly areRequired: boolean;
  #grants: readonly Grant[] = [];
  /** The token that was valid most recently. Computing a digest takes 2 us, and most requests have this token. */
  #latest: { readonly bytes: Buffer; readonly permit: Permit } | undefined;

  private constructor(areRequired: boolean) {
    this.areRequired = areRequired;
  }

  /** Reads the tokens, and their files again whenever they change. Throws `CONFIG_INVALID`. */
  static async open(options: readonly TokenOptions[] | undefined, files: ReloadedFiles): Promise<Tokens> {
    const tokens = new Tokens(options !== undefined);
    // Each file is read by itself, so that an unusable file does not keep the tokens in other files valid.
    for (const one of options ?? [])
      await files.follow(
        "file" in one.source ? [one.source.file] : [],
        REFUSED,
        async () => [...new Set(await textsOf(one))].map(digestOf),
        (digests) => tokens.#use(one, digests),
      );
    return tokens;
  }

  /**
   * Returns what `token` permits; undefined if it is not valid. Its digest is compared with that of each token, and
   * its bytes with the latest valid token, in constant time: time must not reveal how much of a token is right.
   */
  permitOf(token: string | undefined): Permit | undefined {
    if (!this.areRequired) return EVERYTHING;
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

  /**
   * Replaces the values of a token, keeping the permits of those still valid for requests in progress. Throws
   * `CONFIG_INVALID`, changing nothing, if another token has one of the values: the rights of one would be ignored.
   */
  #use(options: TokenOptions, digests: readonly Buffer[]): void {
    const others = this.#grants.filter((grant) => grant.options !== options);
    const same = others.find(({ digest }) => digests.some((one) => one.equals(digest)));
    if (same !== undefined) {
      throw new CairnError(
        "CONFIG_INVALID",
        `The tokens ${nameOf(same.options)} and ${nameOf(options)} have the same value.`,
        `Give each token a value of its own, such as the output of ${GENERATE}.`,
      );
    }
    const before = this.#grants.filter((grant) => grant.options === options);
    const now = digests.map(
      (digest) =>
        before.find((grant) => grant.digest.equals(digest)) ?? {
          digest,
          options,
          permit: new Permit(options),
        },
    );
    this.#grants = [...others, ...now];
    for (const grant of before) if (!now.includes(grant)) grant.permit.revoke();
  }
}

const REFUSED =
  "A file with tokens has changed, but cannot be used. Those of its tokens that were valid before remain valid.";

async function textsOf({ name, source }: TokenOptions): Promise<readonly string[]> {
  // The configuration has checked the value.
  if ("text" in source) return source.text === undefined ? [] : [source.text];
  const { file } = source;
  const content = await readFileOf(`the token ${name}`, file);
  const lines = content
    .toString("utf8")
    .split("\n")
    .map((line) => line.trim());
  const texts = lines.filter((line) => line !== "");
  if (texts.length > 0 && texts.every((text) => TOKEN_PATTERN.test(text))) return texts;
  throw new CairnError(
    "CONFIG_INVALID",
    `The file of the token ${name}, ${file}, ${texts.length === 0 ? "is empty" : "contains a line that is not a token"}.`,
    `Write a token on each line: visible ASCII characters without blanks, such as the output of ${GENERATE}.`,
  );
}

const GENERATE = "openssl rand -hex 32";

function nameOf({ name }: TokenOptions): string {
  return name ?? "auth-token";
}

function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
