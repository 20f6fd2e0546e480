import { LIMITS } from "@cairn/client/protocol";

/** The size of a page in bytes that is aimed at. Larger pages would not be faster. */
const PAGE_BYTES = 4 * 1024 * 1024;
const FIRST_ITEMS = 50;
/** A page has at most this many times the items of the one before, because the next items may be larger. */
const MOST_GROWTH = 4;

/** Chooses how many items to request, so that a page fits into memory whatever the size of its items. */
export class PageSize {
  items = FIRST_ITEMS;

  received(items: number, bytes: number): void {
    if (items === 0 || bytes === 0) return;
    const fitting = Math.floor((items * PAGE_BYTES) / bytes);
    this.items = Math.max(1, Math.min(fitting, this.items * MOST_GROWTH, LIMITS.pageItems));
  }

  /** Records that a page was too large to be received. */
  exceeded(): void {
    this.items = Math.max(1, Math.floor(this.items / 8));
  }
}
