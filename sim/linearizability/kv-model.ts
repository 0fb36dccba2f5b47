/**
 * One machine with etcd's keyspace: every change makes one revision, a transaction makes one for all that it does,
 * and each answer carries the revision that the store had after the operation. It serves the search of checker.ts
 * for short histories, and revision-order.ts, which needs no search, for long ones.
 *
 * Revisions count the writes of all keys, so such a history cannot be searched key by key.
 */
import { difference } from "../violation.ts";
import type { Model } from "./checker.ts";

/** A key as a reader sees it. Present keys have a version of at least 1. */
export interface KvRecord {
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
}

export type KvSimpleInput =
  | { readonly kind: "put"; readonly key: string; readonly value: string }
  | { readonly kind: "get"; readonly key: string }
  | { readonly kind: "delete"; readonly key: string };

export interface KvCompare {
  readonly key: string;
  /** An absent key has version and revisions 0; a comparison with its value is false. */
  readonly target: "value" | "version" | "createRevision" | "modRevision";
  readonly relation: "=" | "!=" | "<" | ">";
  readonly operand: string | number;
}

export type KvInput =
  | KvSimpleInput
  /** A read of whatever state the asked node has: of some moment, perhaps a past one. */
  | { readonly kind: "stale-get"; readonly key: string }
  | {
      readonly kind: "txn";
      readonly compare: readonly KvCompare[];
      readonly success: readonly KvSimpleInput[];
      readonly failure: readonly KvSimpleInput[];
    };

/** What one simple operation gives: a get the record or null, a delete the number of deleted keys, a put null. */
export type KvResult = KvRecord | number | null;

export interface KvOutput {
  /** Of the store after the operation, so of the change itself when it made one. */
  readonly revision: number;
  /** Whether the comparisons held. True for everything that is not a transaction. */
  readonly succeeded: boolean;
  /** One for each operation that was carried out. */
  readonly results: readonly KvResult[];
}

/** Null for a key that a change removes. */
export type KvChanges = ReadonlyMap<string, KvRecord | null>;

export interface KvState {
  readonly revision: number;
  readonly records: ReadonlyMap<string, KvRecord>;
}

/** The store before its first write, as etcd counts. */
export const KV_EMPTY: KvState = { revision: 1, records: new Map() };

/** What the operation does and answers in this state. An operation without changes makes no revision. */
export function applyKv(
  state: KvState,
  input: KvInput,
): { readonly output: KvOutput; readonly changes: KvChanges } {
  const changes = new Map<string, KvRecord | null>();
  const revision = state.revision + 1;
  const read = (key: string): KvRecord | null => {
    const changed = changes.get(key);
    return changed === undefined ? (state.records.get(key) ?? null) : changed;
  };
  const simple = (operation: KvSimpleInput): KvResult => {
    const { key } = operation;
    const before = read(key);
    if (operation.kind === "get") return before;
    if (operation.kind === "delete") {
      if (before !== null) changes.set(key, null);
      return before === null ? 0 : 1;
    }
    const createRevision = before?.createRevision ?? revision;
    const version = (before?.version ?? 0) + 1;
    changes.set(key, { value: operation.value, createRevision, modRevision: revision, version });
    return null;
  };
  const succeeded = input.kind !== "txn" || input.compare.every((one) => compareHolds(one, read));
  const revisionBefore = state.revision;
  const results = carriedOut(input, succeeded).map(simple);
  const output = { revision: changes.size > 0 ? revision : revisionBefore, succeeded, results };
  return { output, changes };
}

function compareHolds(compare: KvCompare, read: (key: string) => KvRecord | null): boolean {
  const record = read(compare.key);
  if (record === null && compare.target === "value") return false;
  const actual = record === null ? 0 : record[compare.target];
  switch (compare.relation) {
    case "=":
      return actual === compare.operand;
    case "!=":
      return actual !== compare.operand;
    case "<":
      return actual < compare.operand;
    case ">":
      return actual > compare.operand;
  }
}

/** What is carried out when the comparisons, if there are any, hold or not: one result belongs to each. */
export function carriedOut(input: KvInput, succeeded: boolean): readonly KvSimpleInput[] {
  if (input.kind === "txn") return succeeded ? input.success : input.failure;
  return [input.kind === "stale-get" ? { kind: "get", key: input.key } : input];
}

/** Whether an answer says that the operation made a revision. */
export function madeRevision(input: KvInput, output: KvOutput): boolean {
  return carriedOut(input, output.succeeded).some(
    ({ kind }, i) => kind === "put" || (kind === "delete" && output.results[i] !== 0),
  );
}

/** Whether it could make a revision, whatever the state. */
export function mayMakeRevision(input: KvInput): boolean {
  if (input.kind !== "txn") return input.kind === "put" || input.kind === "delete";
  return [...input.success, ...input.failure].some(mayMakeRevision);
}

/** For the search of checker.ts. Reads that may be stale are left out: they promise nothing about the present. */
export const kvModel: Model<KvState, KvInput, KvOutput> = {
  name: "key-value store with revisions",
  init: () => KV_EMPTY,
  step(state, input, output) {
    if (input.kind === "stale-get") return [state];
    const { output: expected, changes } = applyKv(state, input);
    if (output !== undefined && difference(output, expected) !== null) return [];
    return changes.size === 0 ? [state] : [afterChanges(state, changes)];
  },
  identity: (state) => describeState(state),
  isReadOnly: (input, output) =>
    !mayMakeRevision(input) || (output !== undefined && !madeRevision(input, output)),
  describe: describeKv,
  describeState,
};

export function describeKv(input: KvInput, output: KvOutput | undefined): string {
  return `${JSON.stringify(input)} -> ${output === undefined ? "no answer" : JSON.stringify(output)}`;
}

function afterChanges(state: KvState, changes: KvChanges): KvState {
  const records = new Map(state.records);
  for (const [key, record] of changes) {
    if (record === null) records.delete(key);
    else records.set(key, record);
  }
  return { revision: state.revision + 1, records };
}

/** In order of keys, so that the text also tells states apart that were reached on different ways. */
function describeState(state: KvState): string {
  const records = [...state.records].sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([state.revision, records]);
}
