/**
 * What ends at which moment of the group's clock: leases, keys with a TTL of their own, idle sessions. One row for each,
 * in the order of time, so that what is due is found without looking at what is not (architecture section 7).
 *
 * A row may come too early where moving it each time would cost more than a look when it is due: a lease after a change
 * of leader, a session that was used. It never comes too late.
 */
import { assert, EMPTY_BYTES } from "../base/index.ts";
import type { Cursor, Engine, Tree } from "../btree/index.ts";
import {
  deadlineId,
  deadlineKind,
  DeadlineKeys,
  type DeadlineKind,
  deadlineMs,
} from "./tree-keys.ts";
import { Trees } from "./trees.ts";

export class Deadlines {
  readonly #tree: Tree;
  readonly #cursor: Cursor;
  readonly #keys = new DeadlineKeys();

  constructor(engine: Engine) {
    this.#tree = engine.tree(Trees.deadlines);
    this.#cursor = this.#tree.cursor();
  }

  add(atMs: number, kind: DeadlineKind, id: Uint8Array): void {
    const isNew = this.#tree.put(this.#keys.of(atMs, kind, id), EMPTY_BYTES);
    assert(isNew, "what ends has one deadline");
  }

  remove(atMs: number, kind: DeadlineKind, id: Uint8Array): void {
    const wasThere = this.#tree.delete(this.#keys.of(atMs, kind, id));
    assert(wasThere, "a deadline that is taken away was there");
  }

  has(atMs: number, kind: DeadlineKind, id: Uint8Array): boolean {
    return this.#tree.get(this.#keys.of(atMs, kind, id)) !== undefined;
  }

  get count(): number {
    return this.#tree.count;
  }

  /** The moment of the first row, or null. */
  get nextMs(): number | null {
    return this.#cursor.first() ? deadlineMs(this.#cursor.key) : null;
  }

  /** What the first row ends, as long as `nextMs` found one and nothing has changed since. The id is a view. */
  get nextKind(): DeadlineKind {
    return deadlineKind(this.#cursor.key);
  }

  get nextId(): Uint8Array {
    return deadlineId(this.#cursor.key);
  }
}
