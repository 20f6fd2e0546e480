/** The results of one run of a contestant by metric (`s`, `records/s`, `peak MB`, …), whose name contains the unit. */
export type Figures = Readonly<Record<string, number>>;
