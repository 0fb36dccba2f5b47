/**
 * Optimistic transactions: `run` reads one state and gathers its changes; they are committed by one conditional
 * transaction, which holds if nothing that counts has changed since that state. Otherwise all of it begins anew.
 *
 * What counts, for "serializable": every key that was read has the revision at which it was read (0: is not there), and
 * no key of a scanned range is newer than the state. Together they say that the ranges are unchanged: a key that went
 * is missed by its revision, a key that came is newer. So the transaction could have run whole at the moment of its
 * commit. One that only reads is consistent as it is and commits nothing. For "snapshot": every key that is written
 * has the revision that it has in the state.
 */
import { compareBytes, EMPTY_BYTES, HarmonyError, text } from "../../base/index.ts";
import type { CallOptions } from "../database.ts";
import type { Compare, KeyValue } from "../requests.ts";
import type { Key, Range, TransactOptions, Tx, TxItem } from "./api.ts";
import { CALL, callOf, countOf, invalid, names, type Names, NO_OPTIONS } from "./arguments.ts";
import { type Change, changeOf, operationsOf } from "./batch.ts";
import { KeyMap } from "./key-map.ts";
import { ANY_KEY, type Link } from "./link.ts";
import { POINT } from "../point.ts";
import { type Space, successor } from "./space.ts";
import type { Rest, State } from "./state.ts";

const OPTIONS: Names = names(CALL, "retries", "isolation");
const RETRIES_DEFAULT = 20;
const BACKOFF_MS_MAX = 64;

export async function transact<V, I, T>(
  link: Link,
  space: Space<V, I>,
  run: (tx: Tx<V, I>) => Promise<T> | T,
  options: TransactOptions,
): Promise<T> {
  const call = callOf(options, OPTIONS);
  const retries = countOf(options.retries, "retries") ?? RETRIES_DEFAULT;
  const { isolation = "serializable" } = options;
  if (isolation !== "serializable" && isolation !== "snapshot")
    throw invalid('isolation is "serializable" or "snapshot"');
  if (typeof run !== "function") throw invalid("transact takes a function");
  const deadline = new Deadline(link, call);
  for (let tries = 0; ; tries++) {
    const tx = new Transaction(link, space, deadline);
    try {
      const result = await deadline.bound(async () => run(tx));
      tx.end();
      if (await tx.commit(isolation)) return result;
    } finally {
      tx.end();
      tx.release();
    }
    if (tries >= retries) throw new HarmonyError("CONFLICT", `tried ${tries + 1} times`);
    // Those who met here should not meet again.
    const mostMs = Math.min(BACKOFF_MS_MAX, 2 ** tries);
    await deadline.pause((link.env.entropy.u32() / 2 ** 32) * mostMs);
  }
}

/** The time that all tries have together. */
class Deadline {
  readonly #link: Link;
  readonly #call: CallOptions;
  readonly #atMs: number;

  constructor(link: Link, call: CallOptions) {
    this.#link = link;
    this.#call = call;
    this.#atMs = link.env.clock.monotonicMs() + (call.timeoutMs ?? Number.POSITIVE_INFINITY);
  }

  /** For the next step: what is left of the time. */
  get call(): CallOptions {
    const { signal, timeoutMs } = this.#call;
    return timeoutMs === undefined ? this.#call : { signal, timeoutMs: this.#leftMs };
  }

  get #leftMs(): number {
    return Math.max(0, this.#atMs - this.#link.env.clock.monotonicMs());
  }

  /** What `work` comes to, if it comes in time. */
  bound<T>(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#link
        .pause(this.#leftMs, this.#call.signal, (wake) => {
          void work().then(resolve, reject).finally(wake);
        })
        // Where the work was over first, this says nothing any more.
        .then(() => reject(new HarmonyError("TIMEOUT")), reject);
    });
  }

  async pause(ms: number): Promise<void> {
    await this.#link.pause(Math.min(ms, this.#leftMs), this.#call.signal);
    if (this.#leftMs === 0) throw new HarmonyError("TIMEOUT");
  }
}

class Transaction<V, I> implements Tx<V, I> {
  readonly #link: Link;
  readonly #space: Space<V, I>;
  readonly #deadline: Deadline;
  readonly #changes = new KeyMap<Change>();
  /** The revisions of what was read. */
  readonly #read = new KeyMap<number>();
  readonly #scanned: Rest[] = [];
  #reading: Promise<State> | null = null;
  #isOver = false;

  constructor(link: Link, space: Space<V, I>, deadline: Deadline) {
    this.#link = link;
    this.#space = space;
    this.#deadline = deadline;
  }

  async get(key: Key): Promise<V | undefined> {
    const value = await this.#value(this.#space.key(key));
    return value === null ? undefined : this.#space.read(value);
  }

  async has(key: Key): Promise<boolean> {
    return (await this.#value(this.#space.key(key))) !== null;
  }

  async scan(range: Range = NO_OPTIONS): Promise<TxItem<V>[]> {
    this.#assertOpen();
    const {
      from,
      to,
      limit = Number.POSITIVE_INFINITY,
      reverse,
      isEmpty,
    } = this.#space.bounds(range);
    if (isEmpty) return [];
    const state = await this.#state();
    const own = this.#changes.within(from, to);
    if (reverse) own.reverse();
    const found: { readonly key: Uint8Array; readonly value: Uint8Array }[] = [];
    let nextOwn = 0;
    /** The transaction's own keys that stand before `key`; all of them without one. */
    const takeOwn = (key?: Uint8Array): void => {
      for (; nextOwn < own.length && found.length < limit; nextOwn++) {
        const change = own[nextOwn] as (typeof own)[number];
        const order = key === undefined ? -1 : compareBytes(change.key, key);
        if (reverse ? order < 0 && key !== undefined : order > 0) return;
        if (order !== 0 && change.value.value !== null)
          found.push({ key: change.key, value: change.value.value });
        else if (order === 0) return;
      }
    };
    let rest: Rest = { from, to };
    let isCut = false;
    for (let more = true; more && !isCut;) {
      this.#assertOpen();
      const page = await state.page(rest, reverse, false, Number.POSITIVE_INFINITY);
      for (const kv of page.kvs) {
        takeOwn(kv.key);
        if (found.length >= limit) {
          isCut = true;
          break;
        }
        rest = reverse ? { from, to: kv.key } : { from: successor(kv.key), to };
        this.#read.set(kv.key, kv.modRevision);
        const change = this.#changes.get(kv.key);
        if (change !== undefined) nextOwn++;
        const value = change === undefined ? kv.value : change.value;
        if (value !== null) found.push({ key: kv.key, value });
      }
      more = page.more;
      if (more && !isCut) await this.#link.breathe();
    }
    if (!isCut) takeOwn();
    const last = found[found.length - 1];
    // Behind the last one that was asked for nothing was looked at.
    if (!isCut || last === undefined) this.#scanned.push({ from, to });
    else this.#scanned.push(reverse ? { from: last.key, to } : { from, to: successor(last.key) });
    return found.map(({ key, value }) => {
      const rawKey = this.#space.outer(key).slice();
      return { key: text(rawKey), rawKey, value: this.#space.read(value.slice()) };
    });
  }

  put(key: Key, value: I, options: { readonly lease?: bigint | undefined } = NO_OPTIONS): void {
    this.#assertOpen();
    if (this.#space.ttlMs !== undefined)
      throw invalid("in a scope with ttlMs a transaction cannot put: its keys would not end");
    this.#changes.set(this.#space.key(key), changeOf(this.#space, value, options));
  }

  del(key: Key): void {
    this.#assertOpen();
    this.#changes.set(this.#space.key(key), { value: null, lease: undefined });
  }

  /** Nothing is read or written any more. */
  end(): void {
    this.#isOver = true;
  }

  /** False: something that counts has changed. */
  async commit(isolation: "serializable" | "snapshot"): Promise<boolean> {
    if (this.#changes.size === 0) return true;
    const compare = isolation === "serializable" ? await this.#unchanged() : await this.#own();
    const { succeeded } = await this.#link.write(
      { kind: "txn", compare, success: operationsOf(this.#changes), failure: [] },
      this.#deadline.call,
    );
    return succeeded;
  }

  /** Gives the state back. */
  release(): void {
    // A state that comes only now is let go of, too; one that never comes has failed whoever asked for it.
    this.#reading?.then(
      (state) => state.release(),
      () => {},
    );
    this.#reading = null;
  }

  async #unchanged(): Promise<Compare[]> {
    const compares = Array.from(this.#read.items, ({ key, value }) => isAt(key, value));
    if (this.#scanned.length === 0) return compares;
    const { revision } = await this.#state();
    for (const { from, to } of this.#scanned) {
      compares.push({
        key: from,
        rangeEnd: to,
        result: "less",
        operand: { target: "mod", number: revision + 1 },
      });
    }
    return compares;
  }

  /** Blind writes have no state that they could conflict with. */
  async #own(): Promise<Compare[]> {
    if (this.#reading === null) return [];
    const state = await this.#reading;
    const keys = Array.from(this.#changes.items, ({ key }) => key);
    const found = await state.points(keys, this.#deadline.call);
    return keys.map((key, i) => isAt(key, found[i]?.modRevision ?? 0));
  }

  async #value(key: Uint8Array): Promise<Uint8Array | null> {
    this.#assertOpen();
    if (key.length === 0) throw new HarmonyError("KEY_EMPTY");
    const change = this.#changes.get(key);
    if (change !== undefined) return change.value?.slice() ?? null;
    const state = await this.#state();
    this.#assertOpen();
    const kv: KeyValue | undefined = await state.find(key);
    this.#read.set(key, kv?.modRevision ?? 0);
    return kv?.value ?? null;
  }

  /** Of the first read. */
  #state(): Promise<State> {
    this.#reading ??= this.#link
      .open({ ...POINT, key: ANY_KEY }, this.#deadline.call, true)
      .then(({ state }) => {
        if (state === null) throw this.#link.ended ?? new HarmonyError("CLOSED");
        return state;
      });
    return this.#reading;
  }

  #assertOpen(): void {
    if (this.#isOver) throw invalid("the transaction is over");
  }
}

function isAt(key: Uint8Array, revision: number): Compare {
  return {
    key,
    rangeEnd: EMPTY_BYTES,
    result: "equal",
    operand: { target: "mod", number: revision },
  };
}
