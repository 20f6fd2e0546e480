import type { BucketPlace, BucketServer } from "./bucket.ts";

/** The objects of T4's newest checkpoint, with their sizes. */
interface T4Checkpoint {
  readonly tables: ReadonlyMap<string, number>;
  readonly others: ReadonlyMap<string, number>;
}

/** Returns the newest checkpoint at a location. */
export async function newestT4Checkpoint(server: BucketServer, place: BucketPlace): Promise<T4Checkpoint> {
  const read = async (name: string): Promise<unknown> =>
    JSON.parse(Buffer.from(await server.read(place, name)).toString("utf8"));
  const { checkpoint_key: index } = (await read("manifest/latest")) as { readonly checkpoint_key: string };
  const { sst_files: tables } = (await read(index)) as { readonly sst_files: readonly string[] };
  const folder = index.slice(0, index.lastIndexOf("/") + 1);
  const objects = [...(await server.objects(place))];
  return {
    tables: new Map(objects.filter(([name]) => tables.includes(name))),
    others: new Map(objects.filter(([name]) => name.startsWith(folder))),
  };
}
