/** What clients of the members world ask for: how a seed decides it. */
import type { Random } from "../src/base/index.ts";
import type { KvInput } from "./linearizability/kv-model.ts";
import { COUNTER, LOCK } from "./members-history.ts";
import type { MembersOptions } from "./members-options.ts";
import type { Ask } from "./members-requests.ts";
import type { Sight } from "./members-sight.ts";

const TTLS_MS: readonly number[] = [300, 2000, 2000, 20_000];

export class AskSource {
  readonly #random: Random;
  readonly #options: MembersOptions;
  /** By client: the lock that it may hold. */
  readonly #locks = new Map<number, { readonly key: string; readonly owner: string }>();

  constructor(random: Random, options: MembersOptions) {
    this.#random = random;
    this.#options = options;
  }

  /** `isStale`: the one that is asked was deposed and does not know it. */
  next(client: number, id: number, sight: Sight, isStale: boolean): Ask {
    const random = this.#random;
    const kv = (input: KvInput): Ask => ({ kind: "kv", input });
    const key = this.#key("k");
    const value = (): string => `${id}${"x".repeat(random.below(this.#options.valueBytesMax + 1))}`;
    const die = isStale ? random.below(60) : random.below(100);
    if (die < 25) return kv({ kind: "get", key: random.percent(25) ? this.#key(COUNTER) : key });
    if (die < 33) return kv({ kind: "stale-get", key });
    if (die < 52) return kv({ kind: "put", key, value: value() });
    if (die < 64) return { kind: "incr", key: this.#key(COUNTER), by: random.between(1, 9) };
    if (die < 69) return kv({ kind: "delete", key });
    if (die < 80) return kv(this.#compareAndSet(key, value(), sight.seen(key)));
    if (die < 88) return kv(this.#several(value));
    return this.lock(client, id);
  }

  /** Takes a lock, or half the time gives back the one that it may hold. */
  lock(client: number, id: number): Ask {
    const random = this.#random;
    const held = this.#locks.get(client);
    if (held !== undefined && random.percent(50)) {
      this.#locks.delete(client);
      return { kind: "unlock", ...held };
    }
    const lock = { key: this.#key(LOCK), owner: `${client}.${id}` };
    this.#locks.set(client, lock);
    return { kind: "lock", ...lock, ttlMs: random.pick(TTLS_MS) };
  }

  /** Writes what tells its id. */
  put(id: number): Ask {
    return { kind: "kv", input: { kind: "put", key: this.#key("k"), value: String(id) } };
  }

  #key(kind: string): string {
    return `${kind}${this.#random.below(kind === "k" ? this.#options.keys : 2)}`;
  }

  #compareAndSet(key: string, value: string, seen: string | null): KvInput {
    return {
      kind: "txn",
      compare: [
        seen === null
          ? { key, target: "version", relation: "=", operand: 0 }
          : { key, target: "value", relation: "=", operand: seen },
      ],
      success: [{ kind: "put", key, value }],
      failure: [{ kind: "get", key }],
    };
  }

  /** Several keys at once: reads of one moment, or writes of which all are done or none. */
  #several(value: () => string): KvInput {
    const random = this.#random;
    const first = random.below(this.#options.keys);
    const key = `k${first}`;
    const other = `k${(first + 1) % this.#options.keys}`;
    const reads = [
      { kind: "get", key },
      { kind: "get", key: other },
    ] as const;
    if (random.percent(40)) return { kind: "txn", compare: [], success: reads, failure: [] };
    return {
      kind: "txn",
      compare: [{ key, target: "version", relation: ">", operand: random.below(3) }],
      success: [
        { kind: "put", key, value: value() },
        random.percent(70)
          ? { kind: "put", key: other, value: value() }
          : { kind: "delete", key: other },
      ],
      failure: reads,
    };
  }
}
