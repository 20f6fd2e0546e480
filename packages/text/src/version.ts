/** Cairn's version: that of the repository's package.json (test/release-number.test.ts). */
export const VERSION = "0.2.0";
