/**
 * What the log and the trees of several groups must hold, written down as plainly as possible: every append that was
 * handed in, in order, and what its entries do to the trees. It shares no code with `wal` or `btree`.
 *
 * A key of a tree is a number here: a slot. So the content of a group is an array, and comparing costs no strings.
 */
import type { ReadTree } from "../src/btree/index.ts";
import type { Entry, EntryType, HardState } from "../src/raft/index.ts";
import { keyBytes, keyText } from "./model.ts";
import { TREES } from "./storage.ts";
import { sameBytes, showBytes } from "./violation.ts";

/** One change of a tree. A null value deletes. */
export interface TreeOp {
  /** See `KeyTable.slot`. */
  readonly slot: number;
  readonly value: Uint8Array | null;
}

/** An entry with what it does: `data` is only there to be kept and compared. */
export interface ModelEntry extends Entry {
  readonly type: EntryType;
  readonly ops: readonly TreeOp[];
}

export interface ModelAppend {
  readonly group: number;
  readonly entries: readonly ModelEntry[];
  readonly hardState: HardState | null;
}

/** The value in each slot, or null. */
export type Content = (Uint8Array | null)[];

/** The keys that a run uses, the same in each tree. */
export class KeyTable {
  readonly size: number;
  readonly #keys: readonly Uint8Array[];
  /** Place of a key in the order of bytes. */
  readonly #ranks: readonly number[];

  constructor(size: number, large: boolean) {
    this.size = size;
    const texts = Array.from({ length: size }, (_, i) =>
      large && i % 7 === 0 ? `${"long".repeat(300)}${i}` : `key${i}`,
    );
    this.#keys = texts.map(keyBytes);
    const sorted = texts.toSorted((a, b) => (a < b ? -1 : 1));
    const ranks = new Map(sorted.map((text, rank) => [text, rank]));
    this.#ranks = texts.map((text) => ranks.get(text) as number);
  }

  slot(tree: number, number: number): number {
    return tree * this.size + number;
  }

  key(slot: number): Uint8Array {
    return this.#keys[slot % this.size] as Uint8Array;
  }

  name(slot: number): string {
    const text = keyText(this.key(slot));
    return `tree ${Math.floor(slot / this.size)}, ${text.length > 40 ? `long key ${slot % this.size}` : text}`;
  }

  /** Which key this is: its number stands at its end. -1: none that was ever written. */
  numberOf(key: Uint8Array): number {
    let number = 0;
    let unit = 1;
    for (let at = key.length - 1; at >= 0; at--) {
      const digit = (key[at] as number) - 48;
      if (digit < 0 || digit > 9) break;
      number += digit * unit;
      unit *= 10;
    }
    const known = this.#keys[number];
    return known !== undefined && sameBytes(known, key) ? number : -1;
  }

  rank(number: number): number {
    return this.#ranks[number] as number;
  }

  empty(): Content {
    return Array.from({ length: TREES * this.size }, () => null);
  }

  /** Where trees differ from `expected`, or null: with a cursor, in order, and their counts. */
  difference(tree: (id: number) => ReadTree, expected: Readonly<Content>): string | null {
    for (let id = 0; id < TREES; id++) {
      const reader = tree(id);
      const cursor = reader.cursor();
      const from = id * this.size;
      let found = 0;
      let rank = -1;
      for (let there = cursor.first(); there; there = cursor.next()) {
        const { key } = cursor;
        const number = this.numberOf(key);
        if (number < 0) return `tree ${id} has ${showBytes(key)}, which nobody wrote`;
        if (this.rank(number) <= rank) return `${this.name(from + number)} is out of order`;
        rank = this.rank(number);
        const value = expected[from + number] ?? null;
        if (value === null) return `${this.name(from + number)} is too much`;
        if (!sameBytes(cursor.value, value))
          return `${this.name(from + number)} is ${showBytes(cursor.value)}, not ${showBytes(value)}`;
        found++;
      }
      let wanted = 0;
      for (let slot = from; slot < from + this.size; slot++) if (expected[slot] !== null) wanted++;
      if (found !== wanted) return `tree ${id} shows ${found} keys, not ${wanted}`;
      if (reader.count !== wanted)
        return `tree ${id} counts ${reader.count} keys, and has ${wanted}`;
    }
    return null;
  }

  /** The same by asking for each key, also for those that must not be there. */
  lookupDifference(tree: (id: number) => ReadTree, expected: Readonly<Content>): string | null {
    for (let id = 0; id < TREES; id++) {
      const reader = tree(id);
      for (let slot = id * this.size; slot < (id + 1) * this.size; slot++) {
        const value = expected[slot] ?? null;
        const found = reader.get(this.key(slot));
        if (value === null ? found === undefined : found !== undefined && sameBytes(found, value))
          continue;
        return `${this.name(slot)} is ${found === undefined ? "not found" : showBytes(found)}, not ${value === null ? "absent" : showBytes(value)}`;
      }
    }
    return null;
  }
}

/** One group's part in a state of the log. */
export interface GroupState {
  /** What both checkpoints cover and the log has let go is forgotten: entries[i] has index floor + i + 1. */
  readonly floor: number;
  readonly entries: readonly ModelEntry[];
  readonly hardState: HardState;
}

export const NO_GROUP: GroupState = {
  floor: 0,
  entries: [],
  hardState: { term: 0, vote: 0, commit: 0 },
};

export function lastIndexOf({ floor, entries }: GroupState): number {
  return floor + entries.length;
}

export function entryOf({ floor, entries }: GroupState, index: number): ModelEntry {
  return entries[index - floor - 1] as ModelEntry;
}

/** The state of all groups after some number of appends. Never changed: `after` makes a new one. */
export class LogState {
  readonly groups: ReadonlyMap<number, GroupState>;

  constructor(groups: ReadonlyMap<number, GroupState> = new Map()) {
    this.groups = groups;
  }

  of(group: number): GroupState {
    return this.groups.get(group) ?? NO_GROUP;
  }

  after(batch: readonly ModelAppend[]): LogState {
    const groups = new Map(this.groups);
    for (const { group, entries, hardState } of batch) {
      const before = groups.get(group) ?? NO_GROUP;
      const first = entries[0];
      const kept =
        first === undefined || first.index === lastIndexOf(before) + 1
          ? before.entries
          : before.entries.slice(0, first.index - before.floor - 1);
      groups.set(group, {
        floor: before.floor,
        entries: first === undefined ? kept : kept.concat(entries),
        hardState: hardState ?? before.hardState,
      });
    }
    return new LogState(groups);
  }

  /** The same with the entries of a group up to `floor` forgotten. */
  without(group: number, floor: number): LogState {
    const before = this.of(group);
    if (floor <= before.floor) return this;
    const groups = new Map(this.groups);
    groups.set(group, { ...before, floor, entries: before.entries.slice(floor - before.floor) });
    return new LogState(groups);
  }
}

/** The trees of a group after its first `index` entries. Grows with a prefix of the log that can change no more. */
export class TreeBase {
  readonly #content: Content;
  #index = 0;

  constructor(table: KeyTable) {
    this.#content = table.empty();
  }

  get index(): number {
    return this.#index;
  }

  /** Goes on to `index`; never goes back. */
  advance(state: GroupState, index: number): void {
    if (index <= this.#index) return;
    applyTo(this.#content, state, this.#index + 1, index);
    this.#index = index;
  }

  /** The trees after `index` entries of `state`, which are not fewer than those of the base. */
  at(state: GroupState, index: number): Content {
    const content = this.#content.slice();
    applyTo(content, state, this.#index + 1, index);
    return content;
  }
}

/** What the entries `from` to `to` do. */
export function applyTo(content: Content, state: GroupState, from: number, to: number): void {
  for (let index = from; index <= to; index++)
    for (const { slot, value } of entryOf(state, index).ops) content[slot] = value;
}

/** Where two entries of the same index differ, or null. */
export function entryDifference(actual: Entry, expected: Entry | undefined): string | null {
  if (expected === undefined) return `entry ${actual.index} is too much`;
  if (actual.index !== expected.index) return `index ${actual.index}, not ${expected.index}`;
  if (actual.term !== expected.term)
    return `entry ${actual.index} has term ${actual.term}, not ${expected.term}`;
  if (actual.type !== expected.type) return `entry ${actual.index} has type ${actual.type}`;
  if (sameBytes(actual.data, expected.data)) return null;
  return `entry ${actual.index} holds ${showBytes(actual.data)}, not ${showBytes(expected.data)}`;
}
