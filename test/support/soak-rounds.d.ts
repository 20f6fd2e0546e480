/** How many rounds a test makes: few in the suite, as many as `pnpm soak` was told in a soak run. */
export declare function soakRounds(inSuite: number): number;
/** How long a test of so many rounds may take; as long as any other before the first. */
export declare function soakTimeout(rounds: number, msPerRound: number): number;
//# sourceMappingURL=soak-rounds.d.ts.map
