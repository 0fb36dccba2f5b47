/**
 * Requests as clients would send them, drawn from a seed. Values are all different, so that a stale or misplaced one
 * is seen. Transactions are valid by construction: each key is touched by one operation of a branch.
 */
import { Random } from "../src/base/index.ts";
import type {
  Compare,
  CompareResult,
  Condition,
  ExpireKeyRequest,
  Expiry,
  PutRequest,
  IncrRequest,
  RangeRequest,
  RequestOp,
  SetRequest,
  TxnRequest,
  WatchRequest,
  WriteRequest,
} from "../src/db/index.ts";
import { keyBytes, type ModelRequest } from "./model.ts";
import type { KnownNativeRequest } from "./model-native.ts";

export interface WorkloadOptions {
  readonly keys: number;
  /** Keys and values that do not fit into a page come up now and then. */
  readonly large: boolean;
  readonly leases: boolean;
  /** The clients compact; otherwise the database does it by itself, or nobody. */
  readonly compactions: boolean;
  /** HarmonyDB's own commands, too. */
  readonly native?: boolean;
  /** And keys and locks that end by themselves. */
  readonly deadlines?: boolean;
}

/** What the generator must know of the database to send something meaningful. */
export interface Surroundings {
  readonly revision: number;
  readonly compactRevision: number;
}

const NO_END = new Uint8Array(0);
const ZERO = new Uint8Array(1);
const LONG_LEASE_SECONDS = 100_000;
/** Far beyond the jumps of a wall clock that somebody sets while the node is down: no lock ends within a run. */
const LOCK_TTL_MS = 1_000_000_000_000;
/** From what ends within a batch to what outlives most runs; a year lasts longer than a clock is set by. */
const TTLS_MS: readonly number[] = [
  1, 20, 100, 100, 400, 400, 1500, 1500, 6000, 60_000, 40_000_000_000,
];
const INT64_MAX = 0x7fff_ffff_ffff_ffffn;
const RESULTS: readonly CompareResult[] = ["equal", "greater", "less", "notEqual"];

export class Workload {
  readonly #random: Random;
  readonly #options: WorkloadOptions;
  readonly #keys: readonly Uint8Array[];
  #leases: bigint[] = [];
  #nextLease = 1n;
  #values = 0;
  #lockRequests = 0;
  /** At most one lease that ends by itself has keys at a time: then its end can be told from the revisions. */
  #shortLease: bigint | null = null;

  constructor(seed: number, options: WorkloadOptions) {
    this.#random = new Random(seed);
    this.#options = options;
    this.#keys = Array.from({ length: options.keys }, (_, i) => this.#makeKey(i));
  }

  get keys(): readonly Uint8Array[] {
    return this.#keys;
  }

  /** After a reopening: what is not there any more is not used any more. */
  keepLeases(held: ReadonlySet<bigint>): void {
    this.#leases = this.#leases.filter((id) => held.has(id));
    if (this.#shortLease !== null && !held.has(this.#shortLease)) this.#shortLease = null;
  }

  anyWrite(around: Surroundings): ModelRequest {
    const { native, deadlines } = this.#options;
    if (deadlines === true && this.#random.percent(30)) return this.#ending(around);
    if (native === true && this.#random.percent(25)) return this.#native(around);
    return this.write(around);
  }

  /** One in etcd's words. */
  write(around: Surroundings): WriteRequest {
    const random = this.#random;
    const die = random.below(100);
    if (die < 55) return this.#put(this.#key(), true);
    if (die < 65)
      return {
        kind: "deleteRange",
        key: this.#key(),
        rangeEnd: NO_END,
        prevKv: random.percent(30),
      };
    if (die < 68) return { kind: "deleteRange", ...this.#span(), prevKv: random.percent(30) };
    if (die < 85) return this.#txn(around, 0);
    if (die < 91 && this.#options.compactions) {
      const revision = random.between(Math.max(1, around.compactRevision - 1), around.revision + 1);
      return {
        kind: "compact",
        revision: random.percent(70) ? Math.max(1, revision - 8) : revision,
        physical: random.percent(20),
      };
    }
    if (die >= 91 && this.#options.leases) return this.#leaseRequest();
    return this.#put(this.#key(), true);
  }

  range(around: Surroundings): RangeRequest {
    const random = this.#random;
    const isPoint = random.percent(40);
    const isOld = random.percent(25);
    // Counters and tokens of locks may have equal values, whose order nobody promises.
    const { native, deadlines } = this.#options;
    const isSorted = random.percent(20) && native !== true && deadlines !== true;
    return {
      kind: "range",
      ...(isPoint ? { key: this.#key(), rangeEnd: NO_END } : this.#span()),
      limit: random.percent(30) ? random.between(1, 6) : 0,
      revision: isOld
        ? random.between(Math.max(1, around.compactRevision - 1), around.revision + 1)
        : 0,
      sortOrder: random.pick(["none", "ascend", "descend"]),
      sortTarget: isSorted ? "value" : "key",
      serializable: false,
      keysOnly: random.percent(10),
      countOnly: random.percent(10),
      minModRevision: random.percent(10) ? random.between(1, around.revision) : 0,
      maxModRevision: random.percent(10) ? random.between(1, around.revision) : 0,
      minCreateRevision: random.percent(5) ? random.between(1, around.revision) : 0,
      maxCreateRevision: random.percent(5) ? random.between(1, around.revision) : 0,
    };
  }

  /** From now on, from the past or from the future; or where the watcher was, when it was somewhere. */
  watch(
    { revision, compactRevision }: Surroundings,
    random: Random,
    isResumed: boolean,
  ): WatchRequest {
    const die = random.below(10);
    const from = Math.max(1, compactRevision - 2);
    const startRevision = isResumed
      ? -1
      : die < 3
        ? 0
        : die < 8
          ? random.between(Math.min(from, revision), revision + 1)
          : revision + random.below(30);
    const key = random.pick(this.#keys);
    const range = random.percent(50)
      ? { key: ZERO, rangeEnd: ZERO }
      : random.percent(50)
        ? { key, rangeEnd: NO_END }
        : { key, rangeEnd: random.pick([ZERO, random.pick(this.#keys)]) };
    return {
      ...range,
      startRevision,
      prevKv: random.percent(50),
      noPut: random.percent(15),
      noDelete: random.percent(15),
    };
  }

  readTxn(around: Surroundings): TxnRequest {
    // Which revisions a database that compacts by itself has left, nobody can tell beforehand.
    const range = (): RangeRequest =>
      this.#options.compactions ? this.range(around) : { ...this.range(around), revision: 0 };
    return {
      kind: "txn",
      compare: [this.#compare(around)],
      success: [range()],
      failure: [range(), range()],
    };
  }

  #put(key: Uint8Array, mayIgnore: boolean): PutRequest {
    const random = this.#random;
    const ignoreValue = mayIgnore && random.percent(4);
    const ignoreLease = mayIgnore && random.percent(4);
    const lease =
      !ignoreLease && this.#leases.length > 0 && random.percent(25)
        ? random.pick(this.#leases)
        : 0n;
    return {
      kind: "put",
      key,
      value: ignoreValue ? NO_END : this.#value(),
      lease,
      prevKv: random.percent(20),
      ignoreValue,
      ignoreLease,
    };
  }

  #txn(around: Surroundings, depth: number): TxnRequest {
    const random = this.#random;
    const free = [...this.#keys];
    const branch = (count: number): RequestOp[] => {
      const ops: RequestOp[] = [];
      for (let i = 0; i < count; i++) {
        const die = random.below(100);
        if (die < 15) ops.push({ ...this.range(around), revision: 0 });
        else if (die < 25 && depth === 0) ops.push(this.#nested(around, free));
        else {
          const [key] = free.splice(random.below(free.length), 1);
          if (key === undefined) return ops;
          if (die < 40)
            ops.push({ kind: "deleteRange", key, rangeEnd: NO_END, prevKv: random.percent(20) });
          else ops.push(this.#put(key, random.percent(20)));
        }
      }
      return ops;
    };
    return {
      kind: "txn",
      compare: Array.from({ length: random.below(3) }, () => this.#compare(around)),
      success: [
        ...branch(random.between(1, 5)),
        this.#put(free.pop() ?? this.#privateKey(), false),
      ],
      failure: branch(random.below(3)),
    };
  }

  /** Its keys are taken out of `free` for both of its branches. */
  #nested(around: Surroundings, free: Uint8Array[]): TxnRequest {
    const random = this.#random;
    const [then] = free.splice(random.below(free.length), 1);
    const [otherwise] = free.splice(random.below(free.length), 1);
    return {
      kind: "txn",
      compare: [this.#compare(around)],
      success: then === undefined ? [] : [this.#put(then, false)],
      failure:
        otherwise === undefined
          ? []
          : [{ kind: "deleteRange", key: otherwise, rangeEnd: NO_END, prevKv: false }],
    };
  }

  #compare(around: Surroundings): Compare {
    const random = this.#random;
    const where = random.percent(85) ? { key: this.#key(), rangeEnd: NO_END } : this.#span();
    const result = random.pick(RESULTS);
    const number = random.below(around.revision + 2);
    switch (random.below(5)) {
      case 0:
        return { ...where, result, operand: { target: "version", number: random.below(4) } };
      case 1:
        return { ...where, result, operand: { target: "create", number } };
      case 2:
        return { ...where, result, operand: { target: "mod", number } };
      case 3:
        return {
          ...where,
          result,
          operand: { target: "value", bytes: keyBytes(`v${random.below(this.#values + 1)}`) },
        };
      default:
        return { ...where, result, operand: { target: "lease", lease: BigInt(random.below(4)) } };
    }
  }

  /** Something that ends, or what makes it end later, at once or never. */
  #ending(around: Surroundings): KnownNativeRequest {
    const random = this.#random;
    const die = random.below(100);
    const key = random.percent(70) ? keyBytes(`end/${random.below(6)}`) : this.#key();
    if (die < 35) return { ...this.#set(around, key), expiry: this.#expiry() };
    if (die < 60) return this.#expireKey(around, key);
    if (die < 70) {
      const counter = keyBytes(`count/${random.below(3)}`);
      return {
        ...this.#incr(counter),
        expiry: this.#expiry(),
        expiryIfNone: random.percent(50),
      };
    }
    if (die < 76) {
      const items = [...new Set([key, ...this.#someKeys()])].map((one) => ({
        key: one,
        value: this.#value(),
      }));
      return { kind: "mset", items, condition: "none", lease: 0n, expiry: this.#expiry() };
    }
    if (die < 80) return { kind: "append", key, value: keyBytes(`+${this.#values++}`) };
    const lock = keyBytes(`brief/${random.below(2)}`);
    const token = keyBytes(`owner${random.below(3)}`);
    const fence = random.percent(15) ? random.between(1, around.revision) : 0;
    const ttlMs = this.#ttlMs();
    if (die < 92) return { kind: "lock", key: lock, token, ttlMs };
    if (die < 96) return { kind: "extendLock", key: lock, token, fence, ttlMs };
    return { kind: "unlock", key: lock, token, fence };
  }

  #expiry(): Expiry {
    const die = this.#random.below(10);
    if (die < 7) return { kind: "after", ttlMs: this.#ttlMs() };
    return die < 9 ? { kind: "keep" } : { kind: "none" };
  }

  /** Two that are equal are rare: the second of them would change nothing. */
  #ttlMs(): number {
    const random = this.#random;
    return random.pick(TTLS_MS) + random.below(50);
  }

  #expireKey(around: Surroundings, key: Uint8Array): ExpireKeyRequest {
    const random = this.#random;
    const die = random.below(10);
    return {
      kind: "expireKey",
      key,
      expiry:
        die < 3
          ? { kind: "none" }
          : { kind: "after", ttlMs: die === 3 ? -random.below(1000) : this.#ttlMs() },
      when: random.pick(["always", "always", "noDeadline", "hasDeadline"]),
      condition: random.percent(20) ? this.#condition(around) : null,
      prevKv: random.percent(20),
    };
  }

  #set(around: Surroundings, key: Uint8Array): SetRequest {
    const random = this.#random;
    return {
      kind: "set",
      key,
      value: this.#value(),
      condition: this.#condition(around),
      lease: this.#someLease(10),
      expiry: { kind: "none" },
      prevKv: random.percent(30),
    };
  }

  /** Up to the ends of 64 bits, and beyond. */
  #incr(key: Uint8Array): IncrRequest {
    const random = this.#random;
    return {
      kind: "incr",
      key,
      by: random.pick([
        1n,
        -1n,
        5n,
        -100n,
        INT64_MAX - 255n,
        INT64_MAX,
        -INT64_MAX,
        -INT64_MAX - 1n,
      ]),
      min: random.percent(20) ? -50n : null,
      max: random.percent(20) ? 50n : null,
      saturate: random.percent(25),
      expiry: { kind: "keep" },
      expiryIfNone: false,
    };
  }

  #someLease(percent: number): bigint {
    const random = this.#random;
    return this.#leases.length > 0 && random.percent(percent) ? random.pick(this.#leases) : 0n;
  }

  #native(around: Surroundings): ModelRequest {
    const random = this.#random;
    const key = this.#key();
    const none = { kind: "none" } as const;
    switch (random.below(9)) {
      case 5:
      case 6:
      case 7:
        return this.#locking(around);
      case 0:
        return this.#set(around, key);
      case 1:
        // Other keys hold no numbers.
        return this.#incr(random.percent(90) ? keyBytes(`count/${random.below(3)}`) : key);
      case 8:
        return {
          kind: "setRange",
          key,
          offset: random.below(60),
          value: random.percent(90) ? keyBytes(`=${this.#values++}`) : NO_END,
        };
      case 2:
        return { kind: "append", key, value: keyBytes(`+${this.#values++}`) };
      case 3:
        return {
          kind: "mset",
          items: this.#someKeys().map((one) => ({ key: one, value: this.#value() })),
          condition: random.pick(["none", "none", "absent", "present"]),
          lease: 0n,
          expiry: none,
        };
      default:
        return { kind: "mdel", keys: this.#someKeys() };
    }
  }

  /** Owners of locks, and others who write to the keys of locks or lock the keys of others. */
  #locking(around: Surroundings): ModelRequest {
    const random = this.#random;
    const key = random.percent(96) ? keyBytes(`lock/${random.below(3)}`) : this.#key();
    const token = keyBytes(`owner${random.below(3)}`);
    // Nobody guesses a fence; a wrong one is that of somebody else, or of an acquisition that is over.
    const fence = random.percent(15) ? random.between(1, around.revision) : 0;
    const die = random.below(100);
    if (die < 35)
      return { kind: "lock", key, token, ttlMs: LOCK_TTL_MS + 1000 * this.#lockRequests++ };
    if (die < 60) return { kind: "unlock", key, token, fence };
    if (die < 80) {
      const ttlMs = LOCK_TTL_MS + 1000 * this.#lockRequests++;
      return { kind: "extendLock", key, token, fence, ttlMs };
    }
    if (die < 83) return this.#put(key, true);
    if (die < 91) return { kind: "deleteRange", key, rangeEnd: NO_END, prevKv: true };
    if (die < 93) {
      const put = random.percent(50);
      return {
        kind: "txn",
        compare: [],
        success: [
          put
            ? this.#put(key, false)
            : { kind: "deleteRange", key, rangeEnd: NO_END, prevKv: false },
          this.#put(this.#privateKey(), false),
        ],
        failure: [],
      };
    }
    if (die < 95) return { kind: "append", key, value: keyBytes("+") };
    if (die < 97)
      return {
        kind: "mset",
        items: [...new Set([key, ...this.#someKeys()])].map((one) => ({
          key: one,
          value: this.#value(),
        })),
        condition: "none",
        lease: 0n,
        expiry: { kind: "none" },
      };
    return { kind: "mdel", keys: [key] };
  }

  #someKeys(): Uint8Array[] {
    const free = [...this.#keys];
    const count = this.#random.between(1, Math.min(4, free.length));
    return Array.from(
      { length: count },
      () => free.splice(this.#random.below(free.length), 1)[0] as Uint8Array,
    );
  }

  #condition(around: Surroundings): Condition | null {
    const random = this.#random;
    const value = keyBytes(`v${random.below(this.#values + 1)}`);
    switch (random.below(6)) {
      case 0:
        return { kind: "absent" };
      case 1:
        return { kind: "present" };
      case 2:
        return { kind: "value", value };
      case 3:
        return { kind: "notValue", value };
      case 4:
        return { kind: "revision", revision: random.between(1, around.revision) };
      default:
        return null;
    }
  }

  #leaseRequest(): WriteRequest {
    const random = this.#random;
    const die = random.below(100);
    if (die < 45 || this.#leases.length === 0) {
      const isShort = this.#shortLease === null && random.percent(50);
      // Some ids are beyond what a double holds: they must come back unchanged.
      const id = this.#nextLease++ + (random.percent(50) ? 0x7000_0000_0000_0000n : 0n);
      if (isShort) this.#shortLease = id;
      this.#leases.push(id);
      return {
        kind: "leaseGrant",
        ttlSeconds: BigInt(isShort ? random.between(1, 4) : LONG_LEASE_SECONDS),
        id,
      };
    }
    const id = random.percent(90) ? random.pick(this.#leases) : 0x7fff_ffff_ffff_0000n;
    return die < 65 ? { kind: "leaseRevoke", id } : { kind: "leaseKeepAlive", id };
  }

  #key(): Uint8Array {
    return this.#random.pick(this.#keys);
  }

  #privateKey(): Uint8Array {
    return keyBytes(`~${this.#values}`);
  }

  #span(): { key: Uint8Array; rangeEnd: Uint8Array } {
    const die = this.#random.below(10);
    if (die === 0) return { key: ZERO, rangeEnd: ZERO };
    if (die < 3) return { key: this.#key(), rangeEnd: ZERO };
    return { key: this.#key(), rangeEnd: this.#key() };
  }

  #value(): Uint8Array {
    const random = this.#random;
    const name = `v${this.#values++}`;
    const die = random.below(100);
    const size =
      this.#options.large && die < 3
        ? random.between(3000, 20_000)
        : die < 20
          ? random.between(100, 900)
          : random.below(40);
    const out = new Uint8Array(name.length + 1 + size);
    out.fill(46);
    out.set(keyBytes(name));
    return out;
  }

  #makeKey(i: number): Uint8Array {
    const random = this.#random;
    if (this.#options.large && random.percent(8))
      return keyBytes(
        `long/${"k".repeat(random.pick([1000, 1023, 1024, 1025, 4085]))}${String(i).padStart(4, "0")}`,
      );
    if (random.percent(10))
      return Uint8Array.of(107, random.pick([0, 1, 254, 255]), i & 255, i >> 8);
    return keyBytes(random.percent(50) ? `k${i}` : `dir/${i % 3}/k${i}`);
  }
}
