/**
 * Leases: granted for a time, kept alive by their clients, ended by an applied command alone (fault-rules K8). A key
 * whose current version names a lease ends with it.
 *
 * Time is the group's clock. When leadership changes, a client may have been unable to renew through no fault of its
 * own, so every lease starts again at its full TTL (fault-rules K6). Touching all leases for that would cost O(leases);
 * instead the moment is remembered as a floor (`restartMs`) and a lease's deadline is never before floor + TTL. The
 * deadline that stands in the tree may therefore be too early, never too late; `expire` moves such a lease.
 *
 * Invariants: `deadlines` has exactly one row for each lease, at the deadline that its record says; `leaseKeys` has
 * (lease, key) if and only if the current version of key names the lease.
 */
import { assert, ByteReader, ByteWriter, EMPTY_BYTES } from "../base/index.ts";
import type { Cursor, Engine, Tree } from "../btree/index.ts";
import type { Deadlines } from "./deadlines.ts";
import { DeadlineKind, LEASE_ID_BYTES, LeaseKeyKeys } from "./tree-keys.ts";
import { Trees } from "./trees.ts";

const FORMAT = 1;

export interface LeaseRecord {
  readonly ttlSeconds: number;
  /** On the group's clock; see the head of this file for why it may be too early. */
  readonly deadlineMs: number;
}

export class Leases {
  readonly #leases: Tree;
  readonly #leaseKeys: Tree;
  readonly #deadlines: Deadlines;
  readonly #leaseKeysCursor: Cursor;
  readonly #reader = new ByteReader();
  readonly #writer = new ByteWriter(32);
  readonly #leaseKeyKeys = new LeaseKeyKeys();

  constructor(engine: Engine, deadlines: Deadlines) {
    this.#leases = engine.tree(Trees.leases);
    this.#leaseKeys = engine.tree(Trees.leaseKeys);
    this.#deadlines = deadlines;
    this.#leaseKeysCursor = this.#leaseKeys.cursor();
  }

  has(id: Uint8Array): boolean {
    return this.#leases.get(id) !== undefined;
  }

  get(id: Uint8Array): LeaseRecord | undefined {
    const bytes = this.#leases.get(id);
    return bytes === undefined ? undefined : this.#read(bytes);
  }

  get count(): number {
    return this.#leases.count;
  }

  /** Makes a lease that does not exist. */
  grant(id: Uint8Array, ttlSeconds: number, clockMs: number): void {
    assert(!this.has(id), "a lease is granted once");
    this.#write(id, ttlSeconds, clockMs + ttlSeconds * 1000);
  }

  /** Moves the deadline of a lease. */
  moveDeadline(id: Uint8Array, toMs: number): void {
    const record = this.get(id);
    assert(record !== undefined, "only a lease that exists has a deadline");
    this.#deadlines.remove(record.deadlineMs, DeadlineKind.lease, id);
    this.#write(id, record.ttlSeconds, toMs);
  }

  /** Forgets a lease whose keys are gone. */
  remove(id: Uint8Array): void {
    const record = this.get(id);
    assert(record !== undefined, "only a lease that exists is removed");
    assert(this.firstKey(id, EMPTY_BYTES) === undefined, "a lease is removed after its keys");
    this.#deadlines.remove(record.deadlineMs, DeadlineKind.lease, id);
    this.#leases.delete(id);
  }

  attach(id: Uint8Array, key: Uint8Array): void {
    this.#leaseKeys.put(this.#leaseKeyKeys.of(id, key), EMPTY_BYTES);
  }

  detach(id: Uint8Array, key: Uint8Array): void {
    const wasAttached = this.#leaseKeys.delete(this.#leaseKeyKeys.of(id, key));
    assert(wasAttached, "a key that names a lease is attached to it");
  }

  /** The first attached key >= `from`, as a view, or undefined. */
  firstKey(id: Uint8Array, from: Uint8Array): Uint8Array | undefined {
    const cursor = this.#leaseKeysCursor;
    return cursor.seek(this.#leaseKeyKeys.of(id, from)) ? this.#keyOf(cursor.key, id) : undefined;
  }

  /** Visits the attached keys in order, as views. */
  forEachKey(id: Uint8Array, visit: (key: Uint8Array) => void): void {
    const cursor = this.#leaseKeysCursor;
    for (let isThere = cursor.seek(id); isThere; isThere = cursor.next()) {
      const key = this.#keyOf(cursor.key, id);
      if (key === undefined) return;
      visit(key);
    }
  }

  /** Visits the leases in the order of their ids, as views. Not while they change. */
  forEach(visit: (id: Uint8Array, record: LeaseRecord) => void): void {
    const cursor = this.#leases.cursor();
    for (let isThere = cursor.first(); isThere; isThere = cursor.next())
      visit(cursor.key, this.#read(cursor.value));
  }

  /** Checks every row of the trees against the others; `leaseOfKey` reads the current version of a key. */
  invariants(leaseOfKey: (key: Uint8Array) => Uint8Array | null | undefined): void {
    this.forEach((id, { deadlineMs }) => {
      assert(
        this.#deadlines.has(deadlineMs, DeadlineKind.lease, id),
        "each lease has its deadline among the deadlines",
      );
    });
    const cursor = this.#leaseKeys.cursor();
    for (let isThere = cursor.first(); isThere; isThere = cursor.next()) {
      const id = cursor.key.slice(0, LEASE_ID_BYTES);
      assert(this.has(id), "keys are attached to leases that exist");
      const lease = leaseOfKey(cursor.key.slice(LEASE_ID_BYTES));
      assert(
        lease !== null && lease !== undefined && this.#isSame(lease, id),
        "an attached key names its lease",
      );
    }
  }

  /** How many keys are attached in all. For invariants. */
  get attachedCount(): number {
    return this.#leaseKeys.count;
  }

  #isSame(a: Uint8Array, b: Uint8Array): boolean {
    for (let i = 0; i < LEASE_ID_BYTES; i++) if (a[i] !== b[i]) return false;
    return true;
  }

  #keyOf(treeKey: Uint8Array, id: Uint8Array): Uint8Array | undefined {
    return this.#isSame(treeKey, id) ? treeKey.subarray(LEASE_ID_BYTES) : undefined;
  }

  #read(bytes: Uint8Array): LeaseRecord {
    const reader = this.#reader;
    reader.reset(bytes);
    const format = reader.u8();
    const record: LeaseRecord = { ttlSeconds: reader.varint(), deadlineMs: reader.varint() };
    assert(format === FORMAT && reader.isAtEnd, "a lease record of a known format");
    return record;
  }

  #write(id: Uint8Array, ttlSeconds: number, endMs: number): void {
    assert(id.length === LEASE_ID_BYTES, "a lease id has 8 bytes");
    const out = this.#writer;
    out.reset();
    out.u8(FORMAT);
    out.varint(ttlSeconds);
    out.varint(endMs);
    this.#leases.put(id, out.view());
    this.#deadlines.add(endMs, DeadlineKind.lease, id);
  }
}
