/**
 * The results of one run of a contestant by metric (`s`, `records/s`, `peak MB`, …). The name of a metric contains its
 * unit.
 */
export type Figures = Readonly<Record<string, number>>;
