/**
 * Alarms that somebody has raised and nobody has cleared: what is wrong with which member (etcd's Alarm API). They are
 * data, so every member shows the same ones, and a restart forgets none. One row of the `meta` tree for each:
 *
 *     "alarm" 00 | u8 kind | u64 member  ->  u8 format (1)
 */
import { assert, EMPTY_BYTES, utf8 } from "../base/index.ts";
import type { Engine, Tree } from "../btree/index.ts";
import { Effect, type StateHash } from "./state-hash.ts";
import { leaseIdBytes } from "./tree-keys.ts";
import { Trees } from "./trees.ts";

/** The numbers are etcd's, and those of the rows. */
export const AlarmKind = { noSpace: 1, corrupt: 2 } as const;
export type AlarmKind = (typeof AlarmKind)[keyof typeof AlarmKind];

export interface Alarm {
  readonly kind: AlarmKind;
  /** 64 bits, without sign. 0: it is not known whose. */
  readonly memberId: bigint;
}

/** A client may raise alarms for members that there are not: more than so many are not kept. */
export const ALARMS_MAX = 256;
const PREFIX: Uint8Array = utf8("alarm\0");
const KEY_BYTES: number = PREFIX.length + 1 + 8;
const ROW: Uint8Array = Uint8Array.of(1);

/** Invariant: `list` is what the rows say, in their order. */
export class Alarms {
  readonly #meta: Tree;
  readonly #hash: StateHash;
  #list: readonly Alarm[];

  constructor(engine: Engine, hash: StateHash) {
    this.#meta = engine.tree(Trees.meta);
    this.#hash = hash;
    this.#list = this.#read();
  }

  get list(): readonly Alarm[] {
    return this.#list;
  }

  has({ kind, memberId }: Alarm): boolean {
    return this.#list.some((alarm) => alarm.kind === kind && alarm.memberId === memberId);
  }

  /** Raises an alarm, or clears one. Again: nothing happens. */
  set(alarm: Alarm, isRaised: boolean): void {
    if (this.has(alarm) === isRaised) return;
    if (isRaised && this.#list.length >= ALARMS_MAX) return;
    const key = keyOf(alarm);
    if (isRaised) this.#meta.put(key, ROW);
    else this.#meta.delete(key);
    this.#hash.mixBytes(Effect.alarm, key, isRaised ? ROW : EMPTY_BYTES);
    this.#list = this.#read();
  }

  #read(): readonly Alarm[] {
    const found: Alarm[] = [];
    const cursor = this.#meta.cursor();
    for (let isThere = cursor.seek(PREFIX); isThere; isThere = cursor.next()) {
      const { key } = cursor;
      if (!PREFIX.every((byte, i) => key[i] === byte)) break;
      assert(key.length === KEY_BYTES && cursor.value[0] === ROW[0], "an alarm of a known format");
      const kind = key[PREFIX.length] as AlarmKind;
      const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
      found.push({ kind, memberId: view.getBigUint64(PREFIX.length + 1) });
    }
    return found;
  }
}

function keyOf({ kind, memberId }: Alarm): Uint8Array {
  const key = new Uint8Array(KEY_BYTES);
  key.set(PREFIX);
  key[PREFIX.length] = kind;
  key.set(leaseIdBytes(BigInt.asIntN(64, memberId)), PREFIX.length + 1);
  return key;
}
