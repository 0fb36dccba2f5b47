/** What the state machine must do on any engine: compared with the model, step by step. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Engine } from "../btree/index.ts";
import { arbAnyWrite, arbRequestId, SESSIONS } from "./arbitrary-native.suite.ts";
import { arbRangeRequest, atRevision, LEASES } from "./arbitrary.suite.ts";
import { AlarmKind } from "../mvcc/index.ts";
import { encodeAlarm, encodeCommand, encodeExpire, encodeOnce, fingerprintOf } from "./command.ts";
import { Model } from "./model.suite.ts";
import type { AnyWriteRequest, RangeRequest, RequestId } from "./requests.ts";
import { KvStateMachine } from "./state-machine.ts";
import { isReadOnlyTxn, validateRange, validateWrite } from "./validate.ts";

/** Generous: how long a run takes depends on what else the machine does. */
const TIMEOUT_MS = 60_000;

export const LIMITS = { maxRequestBytes: 1_572_864, maxTxnOps: 128 };
const TTL_MIN = 2;
/** Short, so that appending comes there. */
const VALUE_LENGTH_MAX = 60;
export const HISTORY_ON = { retentionMs: 300_000, retentionRevisions: 10_000 };
const HISTORY_OFF = { retentionMs: 0, retentionRevisions: 0 };

type Step =
  | { readonly kind: "write"; readonly request: AnyWriteRequest; readonly laterMs: number }
  | { readonly kind: "once"; readonly id: RequestId; readonly request: AnyWriteRequest }
  | { readonly kind: "read"; readonly request: RangeRequest }
  | { readonly kind: "slice"; readonly events: number }
  | { readonly kind: "expire"; readonly laterMs: number; readonly upToMs: number }
  | { readonly kind: "term" }
  | { readonly kind: "reopen" };

const arbStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("write" as const),
      request: arbAnyWrite,
      laterMs: fc.constantFrom(0, 1, 500),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("once" as const),
      id: arbRequestId,
      request: arbAnyWrite,
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant("read" as const), request: arbRangeRequest }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("slice" as const),
      events: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("expire" as const),
      laterMs: fc.constantFrom(0, 3_000, 3_000, 11_000, 500_000),
      upToMs: fc.constantFrom(2_500, 1e12),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "term" as const }) },
  { weight: 2, arbitrary: fc.constant({ kind: "reopen" as const }) },
);

export function encode(request: AnyWriteRequest): Uint8Array {
  return encodeCommand(request, { leaseTtlSecondsMin: TTL_MIN });
}

/** With a limit that random values come to; commands themselves may be longer. */
function encodeShort(request: AnyWriteRequest): Uint8Array {
  const isGrowing = request.kind === "append" || request.kind === "setRange";
  const lengthMax = isGrowing ? { lengthMax: VALUE_LENGTH_MAX } : {};
  return encodeCommand(request, { leaseTtlSecondsMin: TTL_MIN, ...lengthMax });
}

/**
 * `makeEngine` makes an empty engine; `reopen` makes its present state durable and opens it anew, with what was said of
 * it as payload.
 */
export interface EngineFactory {
  make(): Engine;
  reopen(engine: Engine, payload: Uint8Array): Engine;
}

export function machineSuite(name: string, factory: EngineFactory, numRuns: number): void {
  describe(`KvStateMachine on ${name}`, () => {
    for (const settings of [HISTORY_ON, HISTORY_OFF]) {
      const isHistoryOn = settings === HISTORY_ON;
      it(
        `answers like the model, with history ${isHistoryOn ? "on" : "off"}`,
        () => {
          fc.assert(
            fc.property(fc.array(arbStep, { maxLength: 60, size: "max" }), (steps) => {
              new Comparison(factory, settings).run(steps);
            }),
            { numRuns },
          );
        },
        TIMEOUT_MS,
      );
    }

    it(
      "comes to the same state and hash however its compaction is sliced and however often it is reopened",
      () => {
        fc.assert(
          fc.property(fc.array(arbStep, { maxLength: 60, size: "max" }), (steps) => {
            const plain = new Comparison(factory, HISTORY_ON);
            plain.run(steps.filter((step) => step.kind !== "slice" && step.kind !== "reopen"));
            const sliced = new Comparison(factory, HISTORY_ON);
            sliced.run(steps);
            expect(sliced.machine.stateHash).toBe(plain.machine.stateHash);
            expect(sliced.machine.describe()).toEqual(plain.machine.describe());
            expect(sliced.machine.payload()).toEqual(plain.machine.payload());
          }),
          { numRuns: Math.ceil(numRuns / 4) },
        );
      },
      TIMEOUT_MS,
    );

    it("keeps the alarms that were raised, over reopening, until they are cleared", () => {
      const engine = factory.make();
      const machine = new KvStateMachine(engine, null, HISTORY_ON);
      const corrupt = { kind: AlarmKind.corrupt, memberId: 2n ** 64n - 1n };
      const noSpace = { kind: AlarmKind.noSpace, memberId: 7n };
      const { revision } = machine;
      const commands = [encodeAlarm(corrupt, true), encodeAlarm(noSpace, true)];
      machine.apply({ index: 1, term: 1, clockMs: 1 }, commands);
      expect(machine.alarms).toEqual([noSpace, corrupt]);
      const payload = machine.payload();
      const again = new KvStateMachine(
        factory.reopen(engine, payload),
        { payload, appliedIndex: 1, appliedTerm: 1 },
        HISTORY_ON,
      );
      expect(again.alarms).toEqual([noSpace, corrupt]);
      expect(again.describe()).toContain("alarm 1 of 7");
      again.apply({ index: 2, term: 1, clockMs: 2 }, [encodeAlarm(noSpace, false)]);
      expect(again.alarms).toEqual([corrupt]);
      expect(again.revision).toBe(revision);
    });
  });
}

/** A machine and a model that are given the same steps. */
class Comparison {
  readonly #factory: EngineFactory;
  readonly #model: Model;
  #engine: Engine;
  #index = 0;
  #term = 1;
  #clockMs = 1_000;
  machine: KvStateMachine;

  constructor(factory: EngineFactory, settings: typeof HISTORY_ON) {
    this.#factory = factory;
    this.#engine = factory.make();
    this.machine = new KvStateMachine(this.#engine, null, settings);
    this.#model = new Model({ settings, ttlMin: TTL_MIN, valueLengthMax: VALUE_LENGTH_MAX });
    for (const id of LEASES.slice(0, 3))
      this.#write({ kind: "leaseGrant", id, ttlSeconds: 10n }, 0);
    this.#write({ kind: "sessionOpen", session: SESSIONS[0] as number }, 0);
  }

  run(steps: readonly Step[]): void {
    for (const step of steps) {
      this.#step(step);
      expect(this.machine.revision).toBe(this.#model.revision);
      expect(this.machine.compactRevision).toBe(this.#model.compactRevision);
    }
    expect(this.machine.describe()).toEqual(this.#model.describe());
    expect(this.machine.leases()).toEqual([...this.#leasesByEnd()]);
    for (const [id, lease] of this.#model.leases) {
      const status = this.machine.leaseStatus(id, true, this.#clockMs);
      expect(status.ttlSeconds).toBe(
        BigInt(Math.max(0, Math.floor((lease.end - this.#clockMs) / 1000))),
      );
      expect(status.grantedTtlSeconds).toBe(BigInt(lease.ttl));
      expect(status.keys.map((key) => String.fromCharCode(...key))).toEqual(
        this.#model.leaseKeys(id),
      );
    }
    while (this.machine.compactSlice(7));
    expect(this.machine.isCompacting).toBe(false);
    expect(this.machine.describe()).toEqual(this.#model.describe());
    this.machine.invariants();
  }

  #leasesByEnd(): Iterable<bigint> {
    return [...this.#model.leases]
      .sort(([a, x], [b, y]) => x.end - y.end || (a < b ? -1 : 1))
      .map(([id]) => id);
  }

  #step(step: Step): void {
    switch (step.kind) {
      case "write":
        return this.#write(step.request, step.laterMs);
      case "once":
        return this.#once(step.id, step.request);
      case "read":
        this.#read(step.request);
        return;
      case "slice":
        this.machine.compactSlice(step.events);
        return;
      case "expire": {
        const upToClockMs = this.#clockMs + step.upToMs;
        const outcomes = this.#apply(step.laterMs, [encodeExpire({ upToClockMs, limit: 1_000 })]);
        expect(outcomes).toEqual([
          this.#model.write({ kind: "expire", upToClockMs, limit: 1_000 }),
        ]);
        return;
      }
      case "term":
        this.#term++;
        // The empty entry that opens a term carries no stamp, so no time has passed for it.
        this.machine.apply({ index: ++this.#index, term: this.#term, clockMs: this.#clockMs }, []);
        this.#model.clock = this.#clockMs;
        return;
      case "reopen": {
        const payload = this.machine.payload();
        const { appliedIndex, appliedTerm } = this.machine;
        this.#engine = this.#factory.reopen(this.#engine, payload);
        // Other flags at a later start do not change the database.
        const otherSettings = { retentionMs: 1, retentionRevisions: 1 };
        this.machine = new KvStateMachine(
          this.#engine,
          { appliedIndex, appliedTerm, payload },
          otherSettings,
        );
        expect(this.machine.settings).toEqual(this.#model.settings);
        return;
      }
    }
  }

  #read(back: RangeRequest): void {
    const request = atRevision(back, this.#model.revision);
    if (validateRange(request) === null)
      expect(this.machine.range(request)).toEqual(this.#model.read(request));
  }

  #once(id: RequestId, back: AnyWriteRequest): void {
    const request = atRevision(back, this.#model.revision);
    const isAboutSessions = request.kind === "sessionOpen" || request.kind === "sessionClose";
    if (isAboutSessions || validateWrite(request, LIMITS) !== null) return;
    const command = encodeOnce(id, fingerprintOf(request), encodeShort(request));
    const outcomes = this.#apply(1, [command]);
    expect(outcomes).toEqual([this.#model.once(id.session, id.number, request)]);
    // Sent again at once: nothing more happens, and the answer is the one that was kept.
    const again = this.#apply(0, [command]);
    expect(again).toEqual([this.#model.once(id.session, id.number, request)]);
  }

  #write(back: AnyWriteRequest, laterMs: number): void {
    const request = atRevision(back, this.#model.revision);
    if (validateWrite(request, LIMITS) !== null) return;
    if (request.kind === "txn" && isReadOnlyTxn(request)) {
      expect(this.machine.readTxn(request)).toEqual(this.#model.read(request));
      return;
    }
    const outcomes = this.#apply(laterMs, [encodeShort(request)]);
    expect(outcomes).toEqual([this.#model.write(request)]);
    if (request.kind === "leaseGrant")
      expect(this.machine.hasLease(request.id)).toBe(this.#model.leases.has(request.id));
  }

  #apply(laterMs: number, commands: readonly Uint8Array[]): readonly unknown[] {
    this.#clockMs += laterMs;
    this.#model.beginEntry(this.#term, this.#clockMs);
    return this.machine.apply(
      { index: ++this.#index, term: this.#term, clockMs: this.#clockMs },
      commands,
    );
  }
}
