/** Two machines on different engines, with many keys and large values, are given the same entries. */
import { describe, expect, it } from "vitest";
import { crc32c, Random, setVerifying } from "../base/index.ts";
import { BTreeEngine, MemoryEngine } from "../btree/index.ts";
import { runIoNow, SimEnv } from "../env/sim/index.ts";
import { encodeExpire } from "./command.ts";
import { encode, HISTORY_ON } from "./machine.suite.ts";
import type { AnyWriteRequest, Expiry, RangeRequest, RequestOp, WriteRequest } from "./requests.ts";
import { KvStateMachine } from "./state-machine.ts";

// The O(n) checks are left to the small states of the other suites.
setVerifying(false);

const ENTRIES = 900;
const KEYS = 600;

class Workload {
  readonly #random: Random;
  readonly #keys: readonly Uint8Array[];

  constructor(seed: number) {
    this.#random = new Random(seed);
    this.#keys = Array.from({ length: KEYS }, (_, i) => {
      // Some keys are as long as a key may be and full of what is escaped.
      const size = i % 50 === 0 ? 4096 : 2 + (i % 40);
      const key = i % 100 === 0 ? new Uint8Array(size) : this.#random.bytes(size);
      key[size - 1] = i;
      key[size - 2] = i >> 8;
      return key;
    });
  }

  write(): WriteRequest {
    const random = this.#random;
    const lease = BigInt(random.below(6));
    if (random.percent(55)) return this.#put();
    if (random.percent(30))
      return {
        kind: "deleteRange",
        key: random.pick(this.#keys),
        rangeEnd: new Uint8Array(0),
        prevKv: true,
      };
    if (random.percent(5)) return { kind: "deleteRange", ...this.#range(), prevKv: false };
    if (random.percent(30))
      return { kind: "leaseGrant", id: lease + 1n, ttlSeconds: BigInt(random.between(2, 60)) };
    if (random.percent(20)) return { kind: "leaseKeepAlive", id: lease };
    if (random.percent(10)) return { kind: "leaseRevoke", id: lease };
    if (random.percent(20))
      return { kind: "compact", revision: random.below(700), physical: false };
    const success: RequestOp[] = [
      this.#put(),
      { ...this.read(), revision: 0 },
      this.#put(),
      this.read(),
    ];
    return { kind: "txn", compare: [], success, failure: [] };
  }

  read(): RangeRequest {
    const random = this.#random;
    return {
      kind: "range",
      ...this.#range(),
      limit: random.below(20),
      revision: random.percent(50) ? 0 : random.below(700),
      sortOrder: random.pick(["none", "ascend", "descend"] as const),
      sortTarget: random.pick(["key", "key", "mod", "create", "value", "version"] as const),
      serializable: false,
      keysOnly: random.percent(50),
      countOnly: random.percent(10),
      minModRevision: random.percent(80) ? 0 : random.below(500),
      maxModRevision: 0,
      minCreateRevision: 0,
      maxCreateRevision: 0,
    };
  }

  chance(percent: number): boolean {
    return this.#random.percent(percent);
  }

  #put(): WriteRequest & RequestOp {
    const random = this.#random;
    const size = random.percent(3) ? random.below(30_000) : random.below(200);
    const lease = random.percent(70) ? 0n : BigInt(random.between(1, 6));
    const key = random.pick(this.#keys);
    return {
      kind: "put",
      key,
      value: new Uint8Array(size).fill(random.u32()),
      lease,
      prevKv: random.percent(20),
      ignoreValue: false,
      ignoreLease: false,
    };
  }

  #range(): { key: Uint8Array; rangeEnd: Uint8Array } {
    const end = this.#random.percent(30) ? new Uint8Array(1) : this.#random.pick(this.#keys);
    return { key: this.#random.pick(this.#keys), rangeEnd: end };
  }
}

/** A short form of an answer: large values by length and checksum. */
function digest(answer: unknown): string {
  return JSON.stringify(answer, (_name, value: unknown) => {
    if (value instanceof Uint8Array) return `${value.length} bytes ${crc32c(value)}`;
    return typeof value === "bigint" ? String(value) : value;
  });
}

function onDisk(): BTreeEngine {
  const world = new SimEnv({ seed: 1 });
  const options = { fileId: new Uint8Array([1]) };
  return runIoNow(world, BTreeEngine.open(world.boot().files, "data.hdb", options)).engine;
}

describe("replicas", () => {
  it("that applied the same entries give the same answers and hashes, on any engine and however they compact", () => {
    const memory = new KvStateMachine(new MemoryEngine(), null, HISTORY_ON);
    const engine = onDisk();
    const disk = new KvStateMachine(engine, null, HISTORY_ON);
    const workload = new Workload(11);
    let clockMs = 1_000;
    for (let index = 1; index <= ENTRIES; index++) {
      if (workload.chance(30)) clockMs += 1_000;
      const commands = [encode(workload.write())];
      if (workload.chance(10))
        commands.push(encodeExpire({ upToClockMs: clockMs, limit: 3 }), encode(workload.write()));
      const context = { index, term: 1 + Math.floor(index / 400), clockMs };
      expect(digest(disk.apply(context, commands))).toBe(digest(memory.apply(context, commands)));
      expect(disk.stateHash).toBe(memory.stateHash);
      const read = workload.read();
      expect(digest(disk.range(read))).toBe(digest(memory.range(read)));
      if (workload.chance(20)) disk.compactSlice(30);
      if (workload.chance(3)) memory.compactSlice(500);
    }
    expect(disk.revision).toBeGreaterThan(500);
    expect(disk.compactRevision).toBeGreaterThan(0);
    expect(disk.describe()).toEqual(memory.describe());
    expect(disk.payload()).toEqual(memory.payload());
    disk.invariants();
    memory.invariants();
    engine.invariants();
  }, 60_000);

  it("whose entries differed in anything differ in their hash", () => {
    const key = (name: string): Uint8Array => new TextEncoder().encode(name);
    const put = (name: string, value: number, lease = 0n): WriteRequest => ({
      kind: "put",
      key: key(name),
      value: Uint8Array.of(value),
      lease,
      prevKv: false,
      ignoreValue: false,
      ignoreLease: false,
    });
    const del = (name: string): WriteRequest => ({
      kind: "deleteRange",
      key: key(name),
      rangeEnd: new Uint8Array(0),
      prevKv: false,
    });
    const grant = (id: bigint, ttlSeconds: bigint): WriteRequest => ({
      kind: "leaseGrant",
      id,
      ttlSeconds,
    });
    const compact = (revision: number): WriteRequest => ({
      kind: "compact",
      revision,
      physical: false,
    });
    const set = (name: string, expiry: Expiry): AnyWriteRequest => ({
      kind: "set",
      key: key(name),
      value: Uint8Array.of(1),
      condition: null,
      lease: 0n,
      expiry,
      prevKv: false,
    });
    const lock = (name: string, ttlMs: number): AnyWriteRequest => ({
      kind: "lock",
      key: key(name),
      token: Uint8Array.of(1),
      ttlMs,
    });
    const histories: readonly (readonly AnyWriteRequest[])[] = [
      [],
      [put("a", 1)],
      [put("a", 2)],
      [put("b", 1)],
      [put("a", 1), put("b", 1)],
      [put("b", 1), put("a", 1)],
      [put("a", 1), put("a", 1)],
      [put("a", 1), del("a")],
      [put("a", 1), compact(1)],
      [put("a", 1), compact(2)],
      [grant(1n, 10n)],
      [grant(1n, 11n)],
      [grant(2n, 10n)],
      [grant(1n, 10n), put("a", 1)],
      [grant(1n, 10n), put("a", 1, 1n)],
      [grant(1n, 10n), { kind: "leaseKeepAlive", id: 1n }],
      [grant(1n, 10n), { kind: "leaseRevoke", id: 1n }],
      [set("a", { kind: "after", ttlMs: 5 })],
      [set("a", { kind: "after", ttlMs: 6 })],
      [lock("a", 5)],
      [{ kind: "sessionOpen", session: 1 }],
      [{ kind: "sessionOpen", session: 2 }],
      [{ kind: "configure", retentionMs: 9 }],
      [{ kind: "configure", retentionRevisions: 9 }],
      [{ kind: "configure", quotaBytes: 9 }],
    ];
    const hashes = histories.map((requests) => {
      const machine = new KvStateMachine(new MemoryEngine(), null, HISTORY_ON);
      machine.apply({ index: 1, term: 1, clockMs: 5 }, requests.map(encode));
      return machine.stateHash;
    });
    expect(new Set(hashes).size).toBe(histories.length);
  });
});

describe("a replica", () => {
  it("that was created with other settings has another hash", () => {
    const off = new KvStateMachine(new MemoryEngine(), null, {
      retentionMs: 0,
      retentionRevisions: 0,
    });
    const on = new KvStateMachine(new MemoryEngine(), null, HISTORY_ON);
    expect(off.stateHash).not.toBe(on.stateHash);
  });
});

describe("apply", () => {
  const machine = (): KvStateMachine => new KvStateMachine(new MemoryEngine(), null, HISTORY_ON);

  it("takes each entry once, in order, and neither terms nor the clock go back", () => {
    const replica = machine();
    replica.apply({ index: 1, term: 2, clockMs: 100 }, []);
    expect(() => replica.apply({ index: 1, term: 2, clockMs: 100 }, [])).toThrow("once, in order");
    expect(() => replica.apply({ index: 3, term: 2, clockMs: 100 }, [])).toThrow("once, in order");
    expect(() => replica.apply({ index: 2, term: 1, clockMs: 100 }, [])).toThrow(
      "terms do not go back",
    );
    expect(() => replica.apply({ index: 2, term: 2, clockMs: 99 }, [])).toThrow(
      "clock does not go back",
    );
    replica.apply({ index: 2, term: 2, clockMs: 100 }, []);
    expect([replica.appliedIndex, replica.appliedTerm, replica.clockMs]).toEqual([2, 2, 100]);
  });

  it("stops the replica at bytes that are no command", () => {
    expect(() =>
      machine().apply({ index: 1, term: 1, clockMs: 1 }, [new Uint8Array([9, 9])]),
    ).toThrow("holds no command");
  });

  it("keeps nothing of the log's memory", () => {
    const replica = machine();
    const key = new TextEncoder().encode("key");
    const command = encode({
      kind: "put",
      key,
      value: new Uint8Array(100).fill(7),
      lease: 0n,
      prevKv: false,
      ignoreValue: false,
      ignoreLease: false,
    });
    replica.apply({ index: 1, term: 1, clockMs: 1 }, [command]);
    const before = replica.describe();
    command.fill(0);
    expect(replica.describe()).toEqual(before);
  });

  it("hands out copies: what is written later does not change an answer", () => {
    const replica = machine();
    const put = (value: number): WriteRequest => ({
      kind: "put",
      key: Uint8Array.of(1),
      value: Uint8Array.of(value),
      lease: 0n,
      prevKv: true,
      ignoreValue: false,
      ignoreLease: false,
    });
    replica.apply({ index: 1, term: 1, clockMs: 1 }, [encode(put(1))]);
    const [second] = replica.apply({ index: 2, term: 1, clockMs: 1 }, [encode(put(2))]);
    replica.apply({ index: 3, term: 1, clockMs: 1 }, [
      encode({
        kind: "deleteRange",
        key: Uint8Array.of(1),
        rangeEnd: new Uint8Array(0),
        prevKv: false,
      }),
    ]);
    expect(second).toMatchObject({ kind: "put", prevKv: { value: Uint8Array.of(1), version: 1 } });
  });

  it("expires as many leases as it is told to look at", () => {
    const replica = machine();
    const grants = [1n, 2n, 3n].map((id) => encode({ kind: "leaseGrant", id, ttlSeconds: 5n }));
    replica.apply({ index: 1, term: 1, clockMs: 1_000 }, grants);
    expect(replica.nextDeadlineMs).toBe(6_000);
    replica.apply({ index: 2, term: 1, clockMs: 9_000 }, [
      encodeExpire({ upToClockMs: 9_000, limit: 2 }),
    ]);
    expect(replica.leases()).toEqual([3n]);
    replica.apply({ index: 3, term: 1, clockMs: 9_000 }, [
      encodeExpire({ upToClockMs: 5_999, limit: 2 }),
    ]);
    expect(replica.leases()).toEqual([3n]);
    replica.apply({ index: 4, term: 1, clockMs: 9_000 }, [
      encodeExpire({ upToClockMs: 6_000, limit: 2 }),
    ]);
    expect(replica.nextDeadlineMs).toBe(null);
  });
});
