/** How many rounds a test makes: few in the suite, as many as `pnpm soak` was told in a soak run. */
export function soakRounds(inSuite) {
  const told = process.env["CAIRN_SOAK_ROUNDS"];
  return told === undefined ? inSuite : Number(told);
}
/** How long a test of so many rounds may take; as long as any other before the first. */
export function soakTimeout(rounds, msPerRound) {
  return 180_000 + rounds * msPerRound;
}
//# sourceMappingURL=soak-rounds.js.map
