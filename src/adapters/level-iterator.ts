/** Iterators of a level: one pinned state, read in order from a place that `seek` may change. */
import type { AbstractLevel as Level } from "abstract-level";
import type { Entry, Snapshot } from "../index.ts";
import { translated } from "./level-errors.ts";
import { type KeyRange, type LevelKeys, restFrom } from "./level-keys.ts";
import { AbstractIterator } from "./level-peer.ts";

/** What abstract-level asks an iterator for. */
export interface LevelRange extends KeyRange {
  /** -1: all of them. */
  readonly limit?: number | undefined;
  readonly keys?: boolean | undefined;
  readonly values?: boolean | undefined;
}

/** What is read, and whether nobody else reads it. */
export interface Reading {
  readonly state: Snapshot<Uint8Array>;
  readonly isOwn: boolean;
}

type Pair = [Uint8Array | undefined, Uint8Array | undefined];
type Entries = AsyncGenerator<Entry, void, undefined>;

export class LevelIterator<K, V> extends AbstractIterator<Level<Uint8Array, K, V>, K, V> {
  readonly #reading: Reading;
  readonly #range: LevelRange;
  readonly #keys: LevelKeys;
  /** Null before the first read, and after `seek`. */
  #entries: Entries | null = null;
  /** What is left to read when a read begins; null after a `seek` to where nothing is. */
  #from: KeyRange | null;

  constructor(
    level: Level<Uint8Array, K, V>,
    options: LevelRange,
    reading: Reading,
    keys: LevelKeys,
  ) {
    super(level, options as never);
    this.#reading = reading;
    this.#range = options;
    this.#from = options;
    this.#keys = keys;
  }

  /** @internal */
  async _next(): Promise<Pair | undefined> {
    return (await this._nextv(1))[0];
  }

  /** @internal */
  async _nextv(size: number): Promise<Pair[]> {
    const pairs: Pair[] = [];
    this.#entries ??= this.#open();
    const entries = this.#entries;
    if (entries === null) return pairs;
    const { keys = true, values = true } = this.#range;
    while (pairs.length < size) {
      const { done, value: entry } = await translated(() => entries.next());
      if (done === true) break;
      pairs.push([
        keys ? this.#keys.outer(entry.rawKey) : undefined,
        values ? entry.value : undefined,
      ]);
    }
    return pairs;
  }

  /** @internal The limit stays with abstract-level, which counts across seeks. */
  _seek(target: Uint8Array): void {
    this.#leave();
    this.#from = restFrom(this.#range, target);
  }

  /** @internal */
  async _close(): Promise<void> {
    this.#leave();
    if (this.#reading.isOwn) await this.#reading.state.close();
  }

  #open(): Entries | null {
    if (this.#from === null) return null;
    const range = { ...this.#keys.bounds(this.#from), reverse: this.#range.reverse === true };
    return this.#reading.state.scan(range)[Symbol.asyncIterator]();
  }

  /** Nothing that leaves a scan early can fail: the state is held by the snapshot. */
  #leave(): void {
    void this.#entries?.return();
    this.#entries = null;
  }
}
