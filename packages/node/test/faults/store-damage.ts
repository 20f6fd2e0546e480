import {
  changeTime,
  cut,
  extend,
  flipBytes,
  flipContent,
  foreign,
  link,
  remove,
  renameFile,
  swap,
} from "./damaged-files.ts";
import type { Damaged } from "./damaged-folder.ts";
import {
  forge,
  mangleLease,
  mangleMarks,
  mangleReservations,
  pretendNewer,
  spoilManifest,
} from "./damaged-records.ts";

/** Does something to a store that no Cairn would do; answers what, for whoever reads of a seed that failed. */
export type Damage = (damaged: Damaged) => Promise<string>;

/** The kinds of damage; what is harder on a reader stands more than once. */
export const DAMAGES: readonly [Damage, ...Damage[]] = [
  flipBytes,
  flipBytes,
  flipContent,
  flipContent,
  flipContent,
  cut,
  extend,
  swap,
  renameFile,
  remove,
  pretendNewer,
  foreign,
  foreign,
  link,
  link,
  spoilManifest,
  spoilManifest,
  forge,
  forge,
  mangleLease,
  mangleLease,
  mangleReservations,
  mangleMarks,
  changeTime,
];
