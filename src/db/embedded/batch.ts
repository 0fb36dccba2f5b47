/** Changes gathered for one revision. Keys and values are copied when they are given. */
import { EMPTY_BYTES } from "../../base/index.ts";
import type { Batch, Done, Key, Repeatable } from "./api.ts";
import {
  assertNames,
  copyOf,
  int64Of,
  invalid,
  NO_OPTIONS,
  REPEATABLE,
  repeatableOf,
} from "./arguments.ts";
import { KeyMap } from "./key-map.ts";
import type { Link } from "./link.ts";
import type { Space } from "./space.ts";
import { putOf } from "./txn-request.ts";

/** What a key becomes; a value of null deletes it. */
export interface Change {
  readonly value: Uint8Array | null;
  readonly lease: bigint | undefined;
}

const PUT: ReadonlySet<string> = new Set(["lease"]);

/** The change that a put asks for. */
export function changeOf<I>(
  space: Space<unknown, I>,
  value: I,
  options: { readonly lease?: bigint | undefined },
): Change {
  assertNames(options, PUT, "options");
  const lease = options.lease === undefined ? undefined : int64Of(options.lease, "lease", 1n);
  return { value: copyOf(space.value(value)), lease };
}

/** The operations that make the changes. */
export function operationsOf(changes: KeyMap<Change>): (
  | ReturnType<typeof putOf>
  | {
      readonly kind: "deleteRange";
      readonly key: Uint8Array;
      readonly rangeEnd: Uint8Array;
      readonly prevKv: false;
    }
)[] {
  return Array.from(changes.items, ({ key, value: { value, lease } }) =>
    value === null
      ? ({ kind: "deleteRange", key, rangeEnd: EMPTY_BYTES, prevKv: false } as const)
      : putOf(key, value, lease),
  );
}

export class StoreBatch<I> implements Batch<I> {
  readonly #link: Link;
  readonly #space: Space<unknown, I>;
  readonly #changes = new KeyMap<Change>();
  #puts = 0;
  #isCommitted = false;

  constructor(link: Link, space: Space<unknown, I>) {
    this.#link = link;
    this.#space = space;
  }

  get size(): number {
    return this.#changes.size;
  }

  put(key: Key, value: I, options: { readonly lease?: bigint | undefined } = NO_OPTIONS): this {
    return this.#set(this.#space.key(key), changeOf(this.#space, value, options));
  }

  del(key: Key): this {
    return this.#set(this.#space.key(key), { value: null, lease: undefined });
  }

  #set(key: Uint8Array, change: Change): this {
    if (this.#isCommitted) throw invalid("the batch is committed");
    if (this.#changes.get(key)?.value instanceof Uint8Array) this.#puts--;
    if (change.value !== null) this.#puts++;
    this.#changes.set(key, change);
    return this;
  }

  async commit(options: Repeatable = NO_OPTIONS): Promise<Done> {
    const call = repeatableOf(options, REPEATABLE);
    if (this.#isCommitted) throw invalid("the batch is committed");
    this.#isCommitted = true;
    const { ttlMs } = this.#space;
    if (ttlMs === undefined || this.#puts === 0) {
      const success = operationsOf(this.#changes);
      const { revision } = await this.#link.write(
        { kind: "txn", compare: [], success, failure: [] },
        call,
      );
      return { rev: revision, ok: true };
    }
    const items: { readonly key: Uint8Array; readonly value: Uint8Array }[] = [];
    for (const {
      key,
      value: { value, lease },
    } of this.#changes.items) {
      // One command gives many keys an end, and it only puts.
      if (value === null || lease !== undefined)
        throw invalid("in a scope with ttlMs a batch puts, without leases, or deletes");
      items.push({ key, value });
    }
    const { revision } = await this.#link.write(
      { kind: "mset", items, condition: "none", lease: 0n, expiry: { kind: "after", ttlMs } },
      call,
    );
    return { rev: revision, ok: true };
  }
}
