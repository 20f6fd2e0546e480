/** Returns the UTF-8 bytes of a string as a Latin-1 string. Paths are bytes, but strings are easier to compare and to use as keys. */
function bytes(text: string): string {
  return Buffer.from(text).toString("latin1");
}

/** Directories for generated files, as Latin-1 strings of their bytes. */
export const DIRECTORIES: readonly string[] = [
  "",
  "src/",
  "src/deep/er/",
  "docs/",
  "with space/",
  "-dash/",
  "per%cent/",
  bytes("verzeichnis-ü/"),
  bytes("目录/"),
  "bytes-\xe9\xff/",
  "a.b/",
  "a/",
];

/** File names that naive readers handle wrongly, as Latin-1 strings of their bytes. */
export const ODD_NAMES: readonly string[] = [
  "space in name.txt",
  " leading and trailing ",
  'quo"te',
  "back\\slash",
  "new\nline",
  "\n",
  "tab\there",
  "carriage\rreturn\r",
  "ends in newline\n",
  "\x01control\x7f",
  "-rf",
  "--",
  ":(glob)x",
  ":100644 100644 fake M",
  "*",
  "?",
  "[a-z]",
  "~",
  "..dots",
  "...",
  "100%",
  "%",
  "%41",
  "%25",
  "%2525",
  "%80",
  "%FF",
  "%ff",
  "%%FF",
  "%~",
  `x%~${"0".repeat(64)}`,
  "\xff",
  "\xff\xfe",
  "%\xff",
  "cut\xc3",
  "overlong\xc0\xaf",
  "surrogate\xed\xa0\x80",
  "beyond\xf4\x90\x80\x80",
  "latin-1 \xe9t\xe9",
  "newline and bytes\n\xff\n",
  bytes("précomposé"),
  bytes("décomposé".normalize("NFD")),
  bytes("emoji 🗻"),
  bytes("replacement \ufffd"),
  bytes("\ufeffbom"),
  bytes("separators \u2028\u2029"),
  bytes("漢字.txt"),
  "da39a3ee5e6b4b0d3255bfef95601890afd80709",
  "{}",
  "'; rm x",
  "$HOME",
];

// Two paths begin with this string, which is longer than a name may be.
const LONG = `${"long/".repeat(190)}${"x".repeat(90)}`;

/** Paths around and beyond the maximum length of a name, as Latin-1 strings of their bytes. */
export const LONG_PATHS: readonly string[] = [
  `${LONG}-one`,
  `${LONG}-two`,
  `edge/${"e".repeat(1019)}`,
  `edge/${"e".repeat(1020)}`,
  `multi/${bytes("é").repeat(600)}`,
  `multi/${bytes("🗻").repeat(300)}`,
  `escapes/${"\xff".repeat(400)}`,
  `percent/${"%25".repeat(300)}`,
];
