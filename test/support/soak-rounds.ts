/** Returns the number of rounds of a test: `inSuite` or, in a soak run, the number that was given to `pnpm soak`. */
export function soakRounds(inSuite: number): number {
  const requested = process.env["CAIRN_SOAK_ROUNDS"];
  return requested === undefined ? inSuite : Number(requested);
}

/** Returns the timeout (ms) of a test of `rounds`: the suite's default plus `msPerRound` for each. */
export function soakTimeout(rounds: number, msPerRound: number): number {
  return 180_000 + rounds * msPerRound;
}
