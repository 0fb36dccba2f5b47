/**
 * A state of the trees that is kept for somebody who reads it page by page. Held for too long it is given back, and the
 * next read of it says so: pages that no new state shares stay in the data file for as long as it is held.
 */
import { HarmonyError } from "../../base/index.ts";
import type { Version } from "../../btree/index.ts";
import type { Timer, Timers } from "../../env/index.ts";
import { LATEST, ReadView } from "../../mvcc/index.ts";
import type { CallOptions } from "../database.ts";
import type { KvDatabase } from "../kv-database.ts";
import { toKeyValue } from "../range.ts";
import type { KeyValue } from "../requests.ts";
import type { Page, Rest, State } from "./state.ts";

/** No read holds its turn for more than a few milliseconds. */
const PAGE_BYTES = 1024 * 1024;
const PAGE_KEYS = 512;
/** Keys that are read without a pause: about a millisecond. */
export const POINTS_PER_TURN = 512;

export class Pin implements State {
  readonly #database: KvDatabase;
  /** Of the state that is read. */
  readonly revision: number;
  /** LATEST of the pinned trees, or an older revision in them. */
  readonly #at: number;
  /** Of the database when it was pinned. */
  readonly #era: number;
  readonly #timers: Timers;
  readonly #timer: Timer;
  readonly #onRelease: () => void;
  #version: Version | null;
  readonly #view: ReadView;
  #lost: HarmonyError | null = null;

  constructor(
    database: KvDatabase,
    revision: number,
    isLatest: boolean,
    options: { readonly timers: Timers; readonly timeoutMs: number },
    onRelease: () => void,
  ) {
    const { timers, timeoutMs } = options;
    this.#database = database;
    this.#version = database.pin();
    this.#view = new ReadView(this.#version);
    this.#era = database.era;
    this.revision = revision;
    this.#at = isLatest ? LATEST : revision;
    this.#timers = timers;
    this.#timer = timers.after(timeoutMs, () =>
      this.release(
        new HarmonyError("COMPACTED", `read for longer than ${timeoutMs} ms (pinTimeoutMs)`),
      ),
    );
    this.#onRelease = onRelease;
  }

  /** Whether the keys can be read from the last to the first without reading them all. */
  get isLatest(): boolean {
    return this.#at === LATEST;
  }

  /** Lets go of the state; later reads say `why`. Again: nothing happens. */
  release(why: HarmonyError = new HarmonyError("CLOSED", "the snapshot is closed")): void {
    if (this.#version === null) return;
    this.#lost = why;
    this.#timer.cancel();
    this.#version.release();
    this.#version = null;
    this.#onRelease();
  }

  find(key: Uint8Array): KeyValue | undefined {
    return this.#read((view) => {
      const record = view.find(key, this.#at);
      return record === undefined ? undefined : toKeyValue(key, record, false);
    });
  }

  findNow(key: Uint8Array): KeyValue | undefined {
    return this.find(key);
  }

  async points(
    keys: readonly Uint8Array[],
    { signal }: CallOptions,
  ): Promise<readonly (KeyValue | undefined)[]> {
    const found: (KeyValue | undefined)[] = [];
    for (const key of keys) {
      if (found.length % POINTS_PER_TURN === 0 && found.length > 0)
        await new Promise<void>((resolve) => this.#timers.soon(resolve));
      if (signal?.aborted === true) throw new HarmonyError("ABORTED");
      found.push(this.find(key));
    }
    return found;
  }

  count({ from, to }: Rest): number {
    return this.#read((view) => view.count(from, upper(to), this.#at));
  }

  /** The first keys of the rest, or the last ones, from the last on. */
  page({ from, to }: Rest, reverse: boolean, keysOnly: boolean, keysMax: number): Page {
    return this.#read((view) => {
      const kvs: KeyValue[] = [];
      const most = Math.min(keysMax, PAGE_KEYS);
      let sizeBytes = 0;
      let more = false;
      const visit: Parameters<ReadView["scan"]>[3] = (key, record) => {
        if (kvs.length >= most || sizeBytes >= PAGE_BYTES) {
          more = true;
          return false;
        }
        const kv = toKeyValue(key, record, keysOnly);
        kvs.push(kv);
        sizeBytes += kv.key.length + kv.value.length;
        return true;
      };
      if (reverse) view.scanBackwards(from, upper(to), visit);
      else view.scan(from, upper(to), this.#at, visit);
      return { kvs, more };
    });
  }

  #read<T>(read: (view: ReadView) => T): T {
    if (this.#lost !== null) throw this.#lost;
    return this.#database.readNow(() => read(this.#view), this.#era);
  }
}

function upper(to: Uint8Array): Uint8Array | undefined {
  return to.length === 1 && to[0] === 0 ? undefined : to;
}
