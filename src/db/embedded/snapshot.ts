/** A store as of one revision: all reads come from one state that is kept. */
import type { CallOptions } from "../database.ts";
import { HarmonyError } from "../../base/index.ts";
import type { Call, Entry, Key, Range, Scan, Snapshot } from "./api.ts";
import { CALL, callOf, invalid, NO_OPTIONS, readNow } from "./arguments.ts";
import type { Link } from "./link.ts";
import { POINT } from "../point.ts";
import { StoreScan } from "./scan.ts";
import type { Space } from "./space.ts";
import type { State } from "./state.ts";

export class StoreSnapshot<V> implements Snapshot<V> {
  readonly #link: Link;
  readonly #space: Space<V, never>;
  readonly #state: State;

  constructor(link: Link, space: Space<V, never>, state: State) {
    this.#link = link;
    this.#space = space;
    this.#state = state;
  }

  get rev(): number {
    return this.#state.revision;
  }

  async get(key: Key, options: Call = NO_OPTIONS): Promise<V | undefined> {
    const kv = await this.#find(key, options);
    return kv === undefined ? undefined : this.#space.read(kv.value);
  }

  getSync(key: Key): V | undefined {
    const kv = this.#state.findNow(this.#key(key));
    return kv === undefined ? undefined : this.#space.read(kv.value);
  }

  async entry(key: Key, options: Call = NO_OPTIONS): Promise<Entry<V> | undefined> {
    const kv = await this.#find(key, options);
    return kv === undefined ? undefined : this.#space.entry(kv);
  }

  async getMany(keys: readonly Key[], options: Call = NO_OPTIONS): Promise<(V | undefined)[]> {
    if (!Array.isArray(keys)) throw invalid("keys are an array");
    const wanted = Array.from(keys as readonly Key[], (key) => this.#key(key));
    const found = await this.#state.points(wanted, callOf(options, CALL));
    return found.map((kv) => (kv === undefined ? undefined : this.#space.read(kv.value)));
  }

  async has(key: Key, options: Call = NO_OPTIONS): Promise<boolean> {
    return (await this.#find(key, options)) !== undefined;
  }

  scan(range: Range = NO_OPTIONS, options: Call = NO_OPTIONS): Scan<V> {
    return new StoreScan(
      this.#link,
      this.#space,
      readNow(() => ({
        bounds: this.#space.bounds(range),
        request: POINT,
        call: callOf(options, CALL),
        state: this.#state,
      })),
    );
  }

  close(): Promise<void> {
    this.#state.release();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #find(key: Key, options: Call): ReturnType<State["find"]> {
    const call: CallOptions = callOf(options, CALL);
    if (call.signal?.aborted === true) throw new HarmonyError("ABORTED");
    return this.#state.find(this.#key(key));
  }

  #key(key: Key): Uint8Array {
    const bytes = this.#space.key(key);
    if (bytes.length === 0) throw new HarmonyError("KEY_EMPTY");
    return bytes;
  }
}
