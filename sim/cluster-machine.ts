/**
 * The state machine that the cluster world replicates: registers with compare-and-set, counters, and lists that are
 * appended to. Which of the three a key is follows from its number. A hash rolls over everything that it did.
 */
import { assert, hash32, readU32, writeU32 } from "../src/base/index.ts";
import type { GroupId, LogIndex, Term } from "../src/raft/index.ts";
import type { ApplyContext, StateMachine } from "../src/replica/index.ts";

export const KEY_KINDS = 3;
export type OpKind = "put" | "cas" | "add" | "append" | "read";

/** What a client asks for. `id` is its own; `a` is what to write, add, append or expect, `b` what a cas writes. */
export interface Op {
  readonly id: number;
  readonly kind: OpKind;
  readonly key: number;
  readonly a: number;
  readonly b: number;
}

/** What became of it. `value` is the register, the counter or the list afterwards; of a failed cas what is there. */
export interface OpResult {
  readonly index: LogIndex;
  readonly ok: boolean;
  readonly value: number | readonly number[];
}

/** What happened at an index, for the judges. */
export interface Applied {
  readonly group: GroupId;
  readonly index: LogIndex;
  readonly term: Term;
  readonly stateHash: number;
  readonly ids: readonly number[];
}

const HEADER_BYTES = 14;
const CODES: readonly OpKind[] = ["put", "cas", "add", "append"];

export function keyKind(key: number): "register" | "counter" | "list" {
  return key % KEY_KINDS === 0 ? "register" : key % KEY_KINDS === 1 ? "counter" : "list";
}

/** `sizeBytes` in all, if that is more than what it takes. */
export function encodeOp({ id, kind, key, a, b }: Op, sizeBytes: number): Uint8Array {
  const out = new Uint8Array(Math.max(HEADER_BYTES, sizeBytes)).fill(id & 0xff, HEADER_BYTES);
  writeU32(out, 0, id);
  out[4] = CODES.indexOf(kind);
  out[5] = key;
  writeU32(out, 6, a);
  writeU32(out, 10, b);
  return out;
}

function decodeOp(bytes: Uint8Array): Op {
  const id = readU32(bytes, 0);
  const kind = CODES[bytes[4] as number];
  assert(kind !== undefined, "a command has a kind");
  for (let at = HEADER_BYTES; at < bytes.length; at++)
    assert(bytes[at] === (id & 0xff), "a command arrives as it was sent");
  return { id, kind, key: bytes[5] as number, a: readU32(bytes, 6), b: readU32(bytes, 10) };
}

export class ClusterMachine implements StateMachine<OpResult> {
  appliedIndex: LogIndex = 0;
  appliedTerm: Term = 0;
  clockMs = 0;
  stateHash = 0;
  readonly #group: GroupId;
  readonly #onApplied: (applied: Applied) => void;
  readonly #numbers = new Map<number, number>();
  readonly #lists = new Map<number, number[]>();

  constructor(group: GroupId, onApplied: (applied: Applied) => void) {
    this.#group = group;
    this.#onApplied = onApplied;
  }

  apply(
    { index, term, clockMs }: ApplyContext,
    commands: readonly Uint8Array[],
  ): readonly OpResult[] {
    const results: OpResult[] = [];
    const ids: number[] = [];
    let hash = hash32(this.stateHash, index, clockMs % 0x8000_0000);
    for (const command of commands) {
      const op = decodeOp(command);
      const result = this.#run(op, index);
      hash = hash32(
        hash,
        op.id,
        typeof result.value === "number" ? result.value : result.value.length,
      );
      results.push(result);
      ids.push(op.id);
    }
    this.stateHash = hash;
    this.appliedIndex = index;
    this.appliedTerm = term;
    this.clockMs = clockMs;
    this.#onApplied({ group: this.#group, index, term, stateHash: hash, ids });
    return results;
  }

  read(key: number): number | readonly number[] {
    return keyKind(key) === "list"
      ? (this.#lists.get(key) ?? []).slice()
      : (this.#numbers.get(key) ?? 0);
  }

  #run({ kind, key, a, b }: Op, index: LogIndex): OpResult {
    const before = this.#numbers.get(key) ?? 0;
    switch (kind) {
      case "put":
        this.#numbers.set(key, a);
        return { index, ok: true, value: a };
      case "cas":
        if (before === a) this.#numbers.set(key, b);
        return { index, ok: before === a, value: before === a ? b : before };
      case "add":
        this.#numbers.set(key, before + a);
        return { index, ok: true, value: before + a };
      case "append": {
        const list = this.#lists.get(key) ?? [];
        list.push(a);
        this.#lists.set(key, list);
        return { index, ok: true, value: list.length };
      }
      case "read":
        return { index, ok: true, value: this.read(key) };
    }
  }
}
