/** The files of a closed LevelDB database that are somewhere else, such as in an archive, and are read in ranges. */
export interface RangedFiles {
  /** A noun phrase for messages: the place that contains the files. */
  readonly place: string;
  readonly sizes: ReadonlyMap<string, number>;
  /** Returns the content of a small file, or of a write-ahead log. */
  whole(name: string): Promise<Buffer>;
  /** Returns the bytes of a file from `start` up to but not including `end`. */
  read(name: string, start: number, end: number): Promise<Buffer>;
}
