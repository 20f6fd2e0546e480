/** What one run of a contestant measured, by metric (`s`, `records/s`, `peak MB`, …); the name is also the unit. */
export type Figures = Readonly<Record<string, number>>;
