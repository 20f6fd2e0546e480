import { afterEach, beforeEach } from "vitest";
import type { FeedBounds, WatchFeed } from "../../src/watch/watch-feed.ts";
import type { WatchQuery } from "../../src/watch/watch-event.ts";
import { watch } from "../../src/watch/watch-session.ts";
import type { PageMemory } from "../../src/watch/page-memory.ts";
import { ScriptedSource, scriptedFeed } from "./scripted-source.ts";
import { WatchReader } from "@cairn/test-support/nodes/watch-reader";

/** A feed of a scripted source, and its watchers. */
export class FedWatchers {
  source = new ScriptedSource();
  #fed = scriptedFeed(this.source);

  get feed(): WatchFeed {
    return this.#fed.feed;
  }

  /** The codes of errors with which the feed could not read. */
  get errors(): readonly string[] {
    return this.#fed.errors;
  }

  /** The watchers that joined, left, or were cut off. */
  get listened(): readonly string[] {
    return this.#fed.told;
  }

  /** Starts again with a new source and feed, with bounds that a test can reach. */
  begin(bounds: Partial<FeedBounds> = {}, pages?: PageMemory): void {
    this.source = new ScriptedSource(pages);
    this.#fed = scriptedFeed(this.source, bounds);
  }

  append(...what: Parameters<ScriptedSource["append"]>): void {
    this.#fed.append(...what);
  }

  open(query: WatchQuery = {}): WatchReader {
    return new WatchReader((asked) => watch(asked, () => this.feed), query);
  }
}

/** Registers hooks that give each test of the file a new feed. */
export function fedWatchers(): FedWatchers {
  const watchers = new FedWatchers();
  beforeEach(() => watchers.begin());
  afterEach(() => watchers.feed.end({ reason: "stopping", message: "The test is over." }));
  return watchers;
}
