/**
 * Tells who waits for a lock that its key has been deleted: by the holder, by its time, by anybody. It watches the key,
 * so no release goes unseen, and nothing is looked at while nothing happens.
 */
import { EMPTY_BYTES } from "../../base/index.ts";
import type { HarmonyError } from "../../base/index.ts";
import type { Watch } from "../watch/index.ts";
import type { Link } from "./link.ts";

/** Deletions that are taken at a time; what they say does not matter. */
const TAKE_BYTES: number = 64 * 1024;

export class Releases {
  readonly #link: Link;
  readonly #key: Uint8Array;
  readonly #onRelease: () => void;
  #watch: Watch;
  /** There may have been a release that nobody has looked at: at the beginning nothing is known. */
  #isFresh = true;
  #failed: HarmonyError | null = null;

  constructor(link: Link, key: Uint8Array, onRelease: () => void) {
    this.#link = link;
    this.#key = key;
    this.#onRelease = onRelease;
    this.#watch = this.#open();
  }

  /** Whether the lock may have become free since the last call. Throws why that can no longer be known. */
  take(): boolean {
    if (this.#failed !== null) throw this.#failed;
    const isFresh = this.#isFresh;
    this.#isFresh = false;
    return isFresh;
  }

  cancel(): void {
    this.#watch.cancel();
  }

  #open(): Watch {
    const request = {
      key: this.#key,
      rangeEnd: EMPTY_BYTES,
      startRevision: 0,
      prevKv: false,
      noPut: true,
      noDelete: false,
    };
    return this.#link.watch(request, () => this.#news());
  }

  #news(): void {
    for (let news = this.#watch.take(TAKE_BYTES); news !== null;) {
      this.#isFresh = true;
      if (news.kind === "failed") this.#failed = news.error;
      // Without history only what is remembered can be caught up with: it goes on from here, and the key is looked at.
      if (news.kind === "compacted") this.#watch = this.#open();
      news = this.#watch.take(TAKE_BYTES);
    }
    if (this.#isFresh) this.#onRelease();
  }
}
