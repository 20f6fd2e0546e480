const CHARACTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
const CHECKSUM_LENGTH = 6;
const GROUP_BITS = 5;

/** Encodes bytes in Bech32 (BIP 173), in lower case. */
export function encodeBech32(prefix: string, bytes: Uint8Array): string {
  const groups = regroup(bytes, 8, GROUP_BITS, true);
  if (groups === undefined) throw new Error("bytes can always be divided into padded groups");
  const state = polymod([...expandPrefix(prefix), ...groups, ...Array<number>(CHECKSUM_LENGTH).fill(0)]) ^ 1;
  const checksum = Array.from(
    { length: CHECKSUM_LENGTH },
    (_, at) => (state >>> (GROUP_BITS * (CHECKSUM_LENGTH - 1 - at))) & 31,
  );
  return `${prefix}1${[...groups, ...checksum].map((group) => CHARACTERS[group]).join("")}`;
}

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
  const bytes = regroup(groups.slice(0, -CHECKSUM_LENGTH), GROUP_BITS, 8, false);
  return bytes === undefined ? undefined : Uint8Array.from(bytes);
}

function expandPrefix(prefix: string): number[] {
  const codes = [...prefix].map((character) => character.charCodeAt(0));
  return [...codes.map((code) => code >>> 5), 0, ...codes.map((code) => code & 31)];
}

function polymod(values: readonly number[]): number {
  let state = 1;
  for (const value of values) {
    const top = state >>> 25;
    state = ((state & 0x1ffffff) << 5) ^ value;
    for (const [bit, term] of GENERATOR.entries()) if (((top >>> bit) & 1) === 1) state ^= term;
  }
  return state;
}

/** Divides bits into groups of another size. Returns undefined if bits are left over that are not padding. */
function regroup(
  from: Iterable<number>,
  fromBits: number,
  toBits: number,
  padded: boolean,
): number[] | undefined {
  const groups: number[] = [];
  let [held, bits] = [0, 0];
  for (const value of from) {
    held = (held << fromBits) | value;
    bits += fromBits;
    while (bits >= toBits) {
      bits -= toBits;
      groups.push((held >>> bits) & ((1 << toBits) - 1));
      held &= (1 << bits) - 1;
    }
  }
  if (padded) return bits === 0 ? groups : [...groups, (held << (toBits - bits)) & ((1 << toBits) - 1)];
  return bits < fromBits && held === 0 ? groups : undefined;
}
