import type { Text } from "./texts.ts";

/** What a node is expected to do: to return this body, or to refuse the text with a message that contains this. */
export type Expected = { readonly body: string } | { readonly refusal: RegExp };

const NOT_JSON = /not (?:valid (?:JSON|UTF-8)|text in UTF-8)|has no body/;

/** What docs/http.md refuses although it is JSON, or is left to implementations. Everything else of that is stored. */
const REFUSED: readonly { readonly refusal: RegExp; readonly names: readonly string[] }[] = [
  {
    // "A number that would change its value is rejected, and so is every whole number beyond 2^53 − 1."
    refusal: /The number .* (?:would become|is larger than any number)|the integer .* beyond 2\^53 - 1/,
    names: [
      "y_number",
      "y_number_real_capital_e",
      "y_number_real_exponent",
      "y_number_real_fraction_exponent",
      "y_object_extreme_numbers",
      "i_number_double_huge_neg_exp",
      "i_number_huge_exp",
      "i_number_neg_int_huge_exp",
      "i_number_pos_double_huge_exp",
      "i_number_real_neg_overflow",
      "i_number_real_pos_overflow",
      "i_number_real_underflow",
      "i_number_too_big_neg_int",
      "i_number_too_big_pos_int",
      "i_number_very_big_negative_int",
    ],
  },
  {
    // "An object with a repeated name is rejected, because one of the two values would be lost."
    refusal: /an object with a repeated name/,
    names: ["y_object_duplicated_key", "y_object_duplicated_key_and_value"],
  },
  {
    // "Bytes that are not UTF-8 are rejected."
    refusal: /not (?:valid|text in) UTF-8/,
    names: [
      "i_string_UTF-16LE_with_BOM",
      "i_string_UTF-8_invalid_sequence",
      "i_string_UTF8_surrogate_U+D800",
      "i_string_invalid_utf-8",
      "i_string_iso_latin_1",
      "i_string_lone_utf8_continuation_byte",
      "i_string_not_in_unicode_range",
      "i_string_overlong_sequence_2_bytes",
      "i_string_overlong_sequence_6_bytes",
      "i_string_overlong_sequence_6_bytes_null",
      "i_string_truncated-utf-8",
      "i_string_utf16BE_no_BOM",
      "i_string_utf16LE_no_BOM",
    ],
  },
];

/** A stored text is returned as JavaScript writes its value: numbers, escapes and white space are not kept as sent. */
export function expectedOf({ name, bytes }: Text): Expected {
  if (name.startsWith("n_")) return { refusal: NOT_JSON };
  const refused = REFUSED.find(({ names }) => names.includes(name));
  if (refused !== undefined) return refused;
  return { body: `${JSON.stringify(JSON.parse(bytes.toString().replace(/^\ufeff/, "")))}\n` };
}
