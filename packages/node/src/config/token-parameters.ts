import { ALL_RIGHTS, NODE_RIGHTS, type Right, type TokenOptions } from "../api/system.ts";
import { BUCKET_PATTERN } from "../text/document-key.ts";
import { ownMember } from "../text/own-member.ts";
import { omitUndefined } from "./source/omit-undefined.ts";
import { mapByName, mapOf } from "./types/map-type.ts";
import { optional, required } from "./types/parameter.ts";
import type { ValueType } from "./types/reading.ts";
import { choice, listOf, path, text, textLike } from "./types/value-types.ts";

const SOURCE = "Set file to a file that contains the token, or env to the environment variable that does.";

const parameters = {
  file: optional(
    path(),
    "A file with the token. It may have several lines, each of which is a valid token, so that an old and a new token overlap. The file is read again when it changes.",
  ),
  env: optional(text(), "The environment variable with the token, instead of a file."),
  rights: required(listOf(choice<Right>(ALL_RIGHTS)), "What the token permits ([http.md](http.md#rights))."),
  buckets: optional(
    listOf(textLike(new RegExp(BUCKET_PATTERN), "the name of a bucket")),
    "The only buckets that requests with the token may name. `observe` and `operate` cannot be limited to buckets.",
    "all",
  ),
};

function token(name: string): ValueType<TokenOptions> {
  const plain = mapOf(
    `The token ${name}`,
    parameters,
    ({ file, env, rights, buckets }, fail): TokenOptions | undefined => {
      if (file === undefined ? env === undefined : env !== undefined)
        return fail(`The token ${name} must have either file or env.`, SOURCE);
      const whole = rights.find((right) => NODE_RIGHTS.includes(right));
      if (buckets !== undefined && whole !== undefined) {
        return fail(
          `The token ${name} has the right ${whole}, which concerns the whole node, and buckets.`,
          `Remove buckets, or remove ${whole} from the rights and configure another token with it.`,
        );
      }
      // The variable is looked up below, where the environment is known.
      const source = file === undefined ? { env: env ?? "", text: undefined } : { file };
      return { name, source, rights, ...omitUndefined({ buckets }) };
    },
    { oneOf: [{ required: ["file"] }, { required: ["env"] }] },
  );
  return {
    ...plain,
    read(node, at, reading) {
      const read = plain.read(node, at, reading);
      if (read === undefined || !("env" in read.source)) return read;
      const { env } = read.source;
      return { ...read, source: { env, text: ownMember(reading.env, env) } };
    },
  };
}

/** The type of `tokens`. A name is written into the log with each transaction, so it must have no blanks. */
export const tokensType = mapByName(
  /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
  "a name of letters, digits, dots, hyphens and underscores, 64 at most",
  token,
);
