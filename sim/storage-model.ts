/**
 * What the log and the trees of several groups must hold, written down as plainly as possible: every append that was
 * handed in, in order, and how many of them were acknowledged. It shares no code with `wal` or `btree`.
 */
import type { Entry, HardState } from "../src/raft/index.ts";
import { keyText } from "./model.ts";
import { sameBytes, showBytes } from "./violation.ts";

export interface ModelAppend {
  readonly group: number;
  readonly entries: readonly Entry[];
  readonly hardState: HardState | null;
}

/** The content of the trees: tree and key as text to the value. */
export type TreeContent = ReadonlyMap<string, Uint8Array>;

/** One group's part in a state of the log. */
export interface GroupState {
  /** entries[i] has index i + 1: nothing is forgotten here. */
  readonly entries: readonly Entry[];
  readonly hardState: HardState;
}

export const NO_GROUP: GroupState = { entries: [], hardState: { term: 0, vote: 0, commit: 0 } };

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
      const kept = first === undefined ? before.entries : before.entries.slice(0, first.index - 1);
      groups.set(group, {
        entries: first === undefined ? kept : [...kept, ...entries],
        hardState: hardState ?? before.hardState,
      });
    }
    return new LogState(groups);
  }
}

/** The trees after the first `appliedIndex` entries. */
export function contentAt(state: GroupState, appliedIndex: number): TreeContent {
  const content = new Map<string, Uint8Array>();
  for (const { data } of state.entries.slice(0, appliedIndex)) {
    for (const { tree, key, value } of decodeOps(data)) {
      if (value === null) content.delete(`${tree}:${keyText(key)}`);
      else content.set(`${tree}:${keyText(key)}`, value);
    }
  }
  return content;
}

/** Where two contents differ, or null. */
export function contentDifference(actual: TreeContent, expected: TreeContent): string | null {
  for (const [name, value] of expected) {
    const found = actual.get(name);
    if (found === undefined) return `${name} is missing`;
    if (!sameBytes(found, value)) return `${name} is ${showBytes(found)}, not ${showBytes(value)}`;
  }
  if (actual.size === expected.size) return null;
  for (const name of actual.keys()) if (!expected.has(name)) return `${name} is too much`;
  return null;
}

/** One change of a tree. A null value deletes. */
export interface TreeOp {
  readonly tree: number;
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

/** Entries carry their changes in the simplest form there is: tree, lengths, bytes. */
export function encodeOps(ops: readonly TreeOp[]): Uint8Array {
  let size = 0;
  for (const { key, value } of ops) size += 7 + key.length + (value?.length ?? 0);
  const out = new Uint8Array(size);
  let at = 0;
  for (const { tree, key, value } of ops) {
    out[at] = tree;
    out[at + 1] = value === null ? 0 : 1;
    out[at + 2] = key.length & 255;
    out[at + 3] = key.length >> 8;
    const length = value?.length ?? 0;
    out[at + 4] = length & 255;
    out[at + 5] = (length >> 8) & 255;
    out[at + 6] = length >> 16;
    out.set(key, at + 7);
    if (value !== null) out.set(value, at + 7 + key.length);
    at += 7 + key.length + length;
  }
  return out;
}

export function decodeOps(data: Uint8Array): TreeOp[] {
  const out: TreeOp[] = [];
  let at = 0;
  const byte = (offset: number): number => data[at + offset] as number;
  while (at < data.length) {
    const keyLength = byte(2) | (byte(3) << 8);
    const valueLength = byte(4) | (byte(5) << 8) | (byte(6) << 16);
    const keyEnd = at + 7 + keyLength;
    out.push({
      tree: byte(0),
      key: data.subarray(at + 7, keyEnd),
      value: byte(1) === 0 ? null : data.subarray(keyEnd, keyEnd + valueLength),
    });
    at = keyEnd + valueLength;
  }
  return out;
}

/** Where two entries of the same index differ, or null. */
export function entryDifference(
  actual: Entry | undefined,
  expected: Entry | undefined,
): string | null {
  if (actual === undefined || expected === undefined)
    return actual === expected
      ? null
      : `entry ${(actual ?? expected)?.index} is ${actual === undefined ? "missing" : "too much"}`;
  if (actual.index !== expected.index) return `index ${actual.index}, not ${expected.index}`;
  if (actual.term !== expected.term)
    return `entry ${actual.index} has term ${actual.term}, not ${expected.term}`;
  if (actual.type !== expected.type) return `entry ${actual.index} has type ${actual.type}`;
  if (sameBytes(actual.data, expected.data)) return null;
  return `entry ${actual.index} holds ${showBytes(actual.data)}, not ${showBytes(expected.data)}`;
}
