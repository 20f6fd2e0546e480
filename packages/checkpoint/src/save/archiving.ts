import { captureDirectory, captureTo } from "./capture-directory.ts";
import { packDirectory } from "../archive/pack/pack.ts";

/** How an index becomes the archive that is uploaded. A seam: a simulation of many nodes has no disk to copy to. */
export interface Archiving {
  readonly directory: typeof captureDirectory;
  readonly capture: typeof captureTo;
  readonly pack: typeof packDirectory;
}

/** By a copy on this machine's disk, packed as it is read. */
export const archivingOnDisk: Archiving = {
  directory: captureDirectory,
  capture: captureTo,
  pack: packDirectory,
};
