import type { SeededRandom } from "./seeded-random.ts";

/** A set of paths with their contents, from which a random one can be picked. */
export class KnownPaths {
  readonly #paths: string[] = [];
  readonly #places = new Map<string, number>();
  readonly #contents = new Map<string, string>();

  /** Adds a path or changes its content, which is undefined for a submodule. */
  set(path: string, content: string | undefined): void {
    if (!this.#places.has(path)) {
      this.#places.set(path, this.#paths.length);
      this.#paths.push(path);
    }
    if (content === undefined) this.#contents.delete(path);
    else this.#contents.set(path, content);
  }

  contentOf(path: string): string | undefined {
    return this.#contents.get(path);
  }

  delete(path: string): void {
    const place = this.#places.get(path);
    if (place === undefined) return;
    this.#contents.delete(path);
    this.#places.delete(path);
    const last = this.#paths.pop();
    if (last === undefined || last === path) return;
    // The last path fills the gap, so that deleting does not move all later ones.
    this.#paths[place] = last;
    this.#places.set(last, place);
  }

  /** Returns a random path; undefined if the set is empty. */
  pick(random: SeededRandom): string | undefined {
    return this.#paths.length === 0 ? undefined : random.pick(this.#paths);
  }
}
