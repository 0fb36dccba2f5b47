/**
 * The ordered store under a state machine: several trees in one file, changed in place between checkpoints, read
 * through pinned versions. `BTreeEngine` is the real one; `MemoryEngine` is its oracle; one suite runs on both.
 */
import type { Io } from "../env/index.ts";

/** Which tree: a slot of the meta page, from 0 to TREE_SLOTS - 1. What each slot holds is the caller's business. */
export type TreeId = number;

/**
 * A position in a tree. After any change of the tree the cursor must be placed again by `seek`; a cursor of a pinned
 * version stays good until the version is released. Views (`key`, `value`) are good until the cursor moves or the
 * tree changes; who keeps them longer copies.
 */
export interface Cursor {
  /** Places the cursor at the first key >= `key`. False when there is none. */
  seek(key: Uint8Array): boolean;
  /** Places the cursor at the last key < `key`. False when there is none. */
  seekBefore(key: Uint8Array): boolean;
  first(): boolean;
  last(): boolean;
  next(): boolean;
  previous(): boolean;
  readonly valid: boolean;
  /** Of the current place; only while `valid`. */
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface ReadTree {
  /** The value, or undefined. The view is good until the tree changes. */
  get(key: Uint8Array): Uint8Array | undefined;
  cursor(): Cursor;
  /** How many keys are in [from, to); `to` undefined means no upper end. Costs pages, not keys. */
  countRange(from: Uint8Array, to: Uint8Array | undefined): number;
  /** How many keys in all. */
  readonly count: number;
}

export interface Tree extends ReadTree {
  /** As `get`; a put of the same key, with no other change of the tree between them, costs no second search. */
  getForPut(key: Uint8Array): Uint8Array | undefined;
  /**
   * Sets the value of a key. True when the key is new. Copies both, which may be views that a cursor or `get` gave.
   * Keys up to KEY_SIZE_MAX, values up to VALUE_SIZE_MAX bytes.
   */
  put(key: Uint8Array, value: Uint8Array): boolean;
  /** True when the key was there. */
  delete(key: Uint8Array): boolean;
  /** Deletes the keys in [from, to); `to` undefined means no upper end. Says how many. Costs pages, not keys. */
  deleteRange(from: Uint8Array, to: Uint8Array | undefined): number;
}

/** One consistent state of all trees, unchanged by later writes until released. Costs the pages that change meanwhile. */
export interface Version {
  tree(id: TreeId): ReadTree;
  release(): void;
}

/** What a checkpoint says of itself. `payload` (at most 1 KiB) is the state machine's: revision, clock, hash, configuration. */
export interface CheckpointMeta {
  readonly appliedIndex: number;
  readonly appliedTerm: number;
  /** The WAL is durable at least to here; asserted by the caller before the checkpoint begins. */
  readonly walLsn: number;
  readonly payload: Uint8Array;
}

export interface EngineStats {
  /** Bytes of the data file that hold live pages, and its size. */
  readonly bytesInUse: number;
  readonly bytesTotal: number;
  /** Bytes that a checkpoint started now would write. */
  readonly dirtyBytes: number;
  /**
   * Bytes that only versions keep from being given to others. A page that has just been replaced counts as the newest
   * checkpoint's until two more have come.
   */
  readonly pinnedBytes: number;
  /** What pages take in memory, with the places that are free. */
  readonly memoryBytes: number;
}

export interface Engine {
  tree(id: TreeId): Tree;
  /** Pins the present state. */
  pin(): Version;
  readonly stats: EngineStats;
  /**
   * Makes the state at the first step of the Io durable together with `meta` (architecture section 6). Writes may go on
   * meanwhile; they belong to the next checkpoint. One at a time. It may move pages, so it counts as a change for
   * cursors of the present state, from its call to its end; versions are not touched. Throws FileError: ENOSPC leaves
   * the engine usable and the old checkpoint in force; anything else means that the process must stop (fault-rules D9).
   */
  checkpoint(meta: CheckpointMeta): Io<void>;
  /**
   * The newest durable checkpoint and the one before it: what the WAL may forget is below the older. Null where there
   * is none, or none that could be opened: then the WAL may forget nothing.
   */
  readonly checkpoints: {
    readonly newest: CheckpointMeta | null;
    readonly older: CheckpointMeta | null;
  };
  close(): Io<void>;
  /** Checks every page and every structure invariant; throws AssertionError. For tests and the simulator. */
  invariants(): void;
}

export const TREE_SLOTS: number = 16;
/** What a state machine may say of itself in a checkpoint, in bytes. */
export const PAYLOAD_SIZE_MAX: number = 1024;
/** A user key has at most 4 KiB; a history key is that key escaped (at most doubled) and a revision. */
export const KEY_SIZE_MAX: number = 9 * 1024;
export const VALUE_SIZE_MAX: number = 64 * 1024 * 1024;
