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

/**
 * Changes a store in a way in which Cairn never changes it. Returns a description for the investigation of a failed
 * seed.
 */
export type Damage = (damaged: Damaged) => Promise<string>;

/** The kinds of damage. Those that are more demanding for a reader appear more than once. */
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
