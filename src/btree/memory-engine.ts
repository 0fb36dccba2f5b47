/**
 * The obviously correct engine: each tree is a sorted array. It is the oracle of `BTreeEngine` in the shared suite
 * and in the simulator, and the store of databases that keep nothing.
 */
import { assert, assertSafe, compareBytes } from "../base/index.ts";
import type { Io } from "../env/index.ts";
import {
  type CheckpointMeta,
  type Cursor,
  type Engine,
  type EngineStats,
  KEY_SIZE_MAX,
  PAYLOAD_SIZE_MAX,
  type ReadTree,
  type Tree,
  TREE_SLOTS,
  type TreeId,
  VALUE_SIZE_MAX,
  type Version,
} from "./engine.ts";

/** Keys in strictly ascending order and the value of each, at the same place. */
interface Entries {
  keys: Uint8Array[];
  values: Uint8Array[];
}

/** The place of the first key >= `key`; the number of keys when there is none. */
function lowerBound(keys: readonly Uint8Array[], key: Uint8Array): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(keys[middle] as Uint8Array, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

class MemoryCursor implements Cursor {
  readonly #tree: MemoryTree;
  #changes: number;
  #at = -1;

  constructor(tree: MemoryTree) {
    this.#tree = tree;
    this.#changes = tree.changes;
  }

  #place(at: number): boolean {
    assert(this.#tree.changes >= 0, "a version is read before its release");
    this.#changes = this.#tree.changes;
    this.#at = at < this.#tree.entries.keys.length ? at : -1;
    return this.#at >= 0;
  }

  #assertCurrent(): void {
    assert(this.#changes === this.#tree.changes, "a cursor is placed again after the tree changed");
  }

  seek(key: Uint8Array): boolean {
    return this.#place(lowerBound(this.#tree.entries.keys, key));
  }

  seekBefore(key: Uint8Array): boolean {
    return this.#place(lowerBound(this.#tree.entries.keys, key) - 1);
  }

  first(): boolean {
    return this.#place(0);
  }

  last(): boolean {
    return this.#place(this.#tree.entries.keys.length - 1);
  }

  next(): boolean {
    if (this.#at < 0) return false;
    this.#assertCurrent();
    return this.#place(this.#at + 1);
  }

  previous(): boolean {
    if (this.#at < 0) return false;
    this.#assertCurrent();
    return this.#place(this.#at - 1);
  }

  get valid(): boolean {
    return this.#at >= 0 && this.#changes === this.#tree.changes;
  }

  get key(): Uint8Array {
    assert(this.#at >= 0, "only a valid cursor has a key");
    this.#assertCurrent();
    return this.#tree.entries.keys[this.#at] as Uint8Array;
  }

  get value(): Uint8Array {
    assert(this.#at >= 0, "only a valid cursor has a value");
    this.#assertCurrent();
    return this.#tree.entries.values[this.#at] as Uint8Array;
  }
}

class MemoryTree implements Tree {
  entries: Entries;
  /** A pinned version holds `entries` too: the next write copies them first. */
  shared = false;
  /** Grows with each change, so that a cursor left over from before is noticed; -1 after the release of a version. */
  changes = 0;

  constructor(entries: Entries = { keys: [], values: [] }) {
    this.entries = entries;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    assert(this.changes >= 0, "a version is read before its release");
    const at = lowerBound(this.entries.keys, key);
    const found = this.entries.keys[at];
    return found !== undefined && compareBytes(found, key) === 0
      ? this.entries.values[at]
      : undefined;
  }

  getForPut(key: Uint8Array): Uint8Array | undefined {
    return this.get(key);
  }

  cursor(): Cursor {
    return new MemoryCursor(this);
  }

  countRange(from: Uint8Array, to: Uint8Array | undefined): number {
    const { keys } = this.entries;
    const end = to === undefined ? keys.length : lowerBound(keys, to);
    return Math.max(0, end - lowerBound(keys, from));
  }

  get count(): number {
    return this.entries.keys.length;
  }

  put(key: Uint8Array, value: Uint8Array): boolean {
    assert(key.length <= KEY_SIZE_MAX, "a key has at most KEY_SIZE_MAX bytes");
    assert(value.length <= VALUE_SIZE_MAX, "a value has at most VALUE_SIZE_MAX bytes");
    this.#own();
    const { keys, values } = this.entries;
    const at = lowerBound(keys, key);
    const found = keys[at];
    if (found !== undefined && compareBytes(found, key) === 0) {
      values[at] = value.slice();
      return false;
    }
    keys.splice(at, 0, key.slice());
    values.splice(at, 0, value.slice());
    return true;
  }

  delete(key: Uint8Array): boolean {
    const at = lowerBound(this.entries.keys, key);
    const found = this.entries.keys[at];
    if (found === undefined || compareBytes(found, key) !== 0) return false;
    this.#own();
    this.entries.keys.splice(at, 1);
    this.entries.values.splice(at, 1);
    return true;
  }

  deleteRange(from: Uint8Array, to: Uint8Array | undefined): number {
    const { keys } = this.entries;
    const start = lowerBound(keys, from);
    const count = Math.max(0, (to === undefined ? keys.length : lowerBound(keys, to)) - start);
    if (count === 0) return 0;
    this.#own();
    this.entries.keys.splice(start, count);
    this.entries.values.splice(start, count);
    return count;
  }

  #own(): void {
    this.changes++;
    if (!this.shared) return;
    this.entries = { keys: this.entries.keys.slice(), values: this.entries.values.slice() };
    this.shared = false;
  }
}

class MemoryVersion implements Version {
  readonly #trees: readonly MemoryTree[];
  #released = false;

  constructor(trees: readonly MemoryTree[]) {
    this.#trees = trees;
  }

  tree(id: TreeId): ReadTree {
    assert(!this.#released, "a version is read before its release");
    const tree = this.#trees[id];
    assert(tree !== undefined, "a tree id is a slot of the meta");
    return tree;
  }

  release(): void {
    assert(!this.#released, "a version is released once");
    this.#released = true;
    for (const tree of this.#trees) tree.changes = -1;
  }
}

export class MemoryEngine implements Engine {
  readonly #trees: readonly MemoryTree[] = Array.from(
    { length: TREE_SLOTS },
    () => new MemoryTree(),
  );
  #newest: CheckpointMeta | null = null;
  #older: CheckpointMeta | null = null;
  #checkpointing = false;

  tree(id: TreeId): Tree {
    const tree = this.#trees[id];
    assert(tree !== undefined, "a tree id is a slot of the meta");
    return tree;
  }

  pin(): Version {
    return new MemoryVersion(
      this.#trees.map((tree) => {
        tree.shared = true;
        return new MemoryTree(tree.entries);
      }),
    );
  }

  get stats(): EngineStats {
    let bytes = 0;
    for (const { entries } of this.#trees) {
      for (const key of entries.keys) bytes += key.length;
      for (const value of entries.values) bytes += value.length;
    }
    return {
      bytesInUse: bytes,
      bytesTotal: bytes,
      dirtyBytes: 0,
      pinnedBytes: 0,
      memoryBytes: bytes,
    };
  }

  get checkpoints(): {
    readonly newest: CheckpointMeta | null;
    readonly older: CheckpointMeta | null;
  } {
    return { newest: this.#newest, older: this.#older };
  }

  /** Nothing here outlives the process: only the meta is remembered, and it changes after a step as on a disk. */
  *checkpoint(meta: CheckpointMeta): Io<void> {
    assert(!this.#checkpointing, "one checkpoint at a time");
    assertSafe(meta.appliedIndex, "appliedIndex");
    assertSafe(meta.appliedTerm, "appliedTerm");
    assertSafe(meta.walLsn, "walLsn");
    assert(meta.payload.length <= PAYLOAD_SIZE_MAX, "a payload has at most PAYLOAD_SIZE_MAX bytes");
    const taken: CheckpointMeta = { ...meta, payload: meta.payload.slice() };
    this.#checkpointing = true;
    yield (done) => done(null, undefined);
    this.#checkpointing = false;
    this.#older = this.#newest;
    this.#newest = taken;
  }

  *close(): Io<void> {
    yield (done) => done(null, undefined);
  }

  invariants(): void {
    for (const { entries } of this.#trees) {
      assert(entries.keys.length === entries.values.length, "each key has one value");
      for (let i = 1; i < entries.keys.length; i++) {
        const order = compareBytes(
          entries.keys[i - 1] as Uint8Array,
          entries.keys[i] as Uint8Array,
        );
        assert(order < 0, "keys ascend");
      }
    }
  }
}
