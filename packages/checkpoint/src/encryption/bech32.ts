/** The characters of Bech32 (BIP 173), by the 5 bits for which they stand. */
export const CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
export const CHECKSUM_LENGTH = 6;
const GROUP_BITS = 5;

/**
 * Decodes Bech32 text with the given prefix in lower case; undefined if the text is anything else. Texts in upper case
 * are valid, as in BIP 173, and so are those longer than its 90 characters.
 */
export function decodeBech32(prefix: string, text: string): Uint8Array | undefined {
  const lower = text.toLowerCase();
  if (text !== lower && text !== text.toUpperCase()) return undefined;
  if (!lower.startsWith(`${prefix}1`)) return undefined;
  const groups = Array.from(lower.slice(prefix.length + 1), (character) => CHARACTERS.indexOf(character));
  if (groups.length < CHECKSUM_LENGTH || groups.includes(-1)) return undefined;
  if (polymod([...expandPrefix(prefix), ...groups]) !== 1) return undefined;
  const bytes = regroup(groups.slice(0, -CHECKSUM_LENGTH));
  return bytes === undefined ? undefined : Uint8Array.from(bytes);
}

/** Returns the values with which the checksum of a text with this prefix begins. */
export function expandPrefix(prefix: string): number[] {
  const codes = [...prefix].map((character) => character.charCodeAt(0));
  return [...codes.map((code) => code >>> 5), 0, ...codes.map((code) => code & 31)];
}

/** Returns the state of the checksum after `values`. */
export function polymod(values: readonly number[]): number {
  let state = 1;
  for (const value of values) {
    const top = state >>> 25;
    state = ((state & 0x1ffffff) << 5) ^ value;
    for (const [bit, term] of GENERATOR.entries()) if (((top >>> bit) & 1) === 1) state ^= term;
  }
  return state;
}

/** Joins groups of 5 bits to bytes. Returns undefined if bits are left over that are not padding. */
function regroup(groups: Iterable<number>): number[] | undefined {
  const bytes: number[] = [];
  let [held, bits] = [0, 0];
  for (const group of groups) {
    held = (held << GROUP_BITS) | group;
    bits += GROUP_BITS;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push(held >>> bits);
    held &= (1 << bits) - 1;
  }
  return bits < GROUP_BITS && held === 0 ? bytes : undefined;
}
