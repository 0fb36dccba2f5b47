/**
 * What watchers are promised, on any engine: random programs of writes, compactions and watchers that are slow, go and
 * come again, compared with a list of everything that happened. The list comes from a second machine that is given the
 * same commands one at a time, by looking at all of its keys before and after each.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  compareBytes,
  EMPTY_BYTES,
  equalBytes,
  HarmonyError,
  hex,
  utf8,
} from "../../base/index.ts";
import { type Engine, MemoryEngine } from "../../btree/index.ts";
import type { StoreSettings } from "../../mvcc/index.ts";
import { encodeCommand, encodeExpire } from "../command.ts";
import type { AnyWriteRequest, KeyValue, RangeRequest, RangeResponse } from "../requests.ts";
import { KvStateMachine } from "../state-machine.ts";
import { WatchHub } from "./hub.ts";
import type { Watch, WatchEvent, WatchRequest } from "./watch.ts";

export const HISTORY_ON: StoreSettings = { retentionMs: 300_000, retentionRevisions: 10_000 };
export const HISTORY_OFF: StoreSettings = { retentionMs: 0, retentionRevisions: 0 };

const ALL: RangeRequest = {
  kind: "range",
  key: Uint8Array.of(0),
  rangeEnd: Uint8Array.of(0),
  limit: 0,
  revision: 0,
  sortOrder: "none",
  sortTarget: "key",
  serializable: true,
  keysOnly: false,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
};

export const put = (key: string, value: string): AnyWriteRequest => ({
  kind: "put",
  key: utf8(key),
  value: utf8(value),
  lease: 0n,
  prevKv: false,
  ignoreValue: false,
  ignoreLease: false,
});

export const del = (key: string, rangeEnd = ""): AnyWriteRequest => ({
  kind: "deleteRange",
  key: utf8(key),
  rangeEnd: utf8(rangeEnd),
  prevKv: false,
});

export function watchRequest(
  key: string,
  rangeEnd = "",
  startRevision = 0,
  more: Partial<WatchRequest> = {},
): WatchRequest {
  return {
    key: utf8(key),
    rangeEnd: utf8(rangeEnd),
    startRevision,
    prevKv: false,
    noPut: false,
    noDelete: false,
    ...more,
  };
}

/** A machine, a hub, and the turns of a node. */
export class Stage {
  readonly machine: KvStateMachine;
  readonly hub: WatchHub;
  readonly errors: string[] = [];
  #soon: (() => void)[] = [];
  #index = 0;
  clockMs = 1000;

  constructor(engine: Engine, settings: StoreSettings, recentBytes?: number) {
    this.machine = new KvStateMachine(engine, null, settings);
    this.hub = new WatchHub({
      machine: this.machine,
      engine,
      recentBytes,
      env: {
        timers: {
          soon: (fire) => this.#soon.push(fire),
          after: () => {
            throw new Error("watchers have no timers");
          },
        },
        log: (_level, _logger, message, fields) =>
          this.errors.push(`${message} ${String(fields?.["error"])}`),
        entropy: { u32: () => 7, bytes: (size) => new Uint8Array(size) },
      },
    });
  }

  /** Applies one entry. */
  apply(...commands: readonly Uint8Array[]): void {
    this.#index++;
    this.machine.apply({ index: this.#index, term: 1, clockMs: this.clockMs }, commands);
  }

  write(...requests: readonly AnyWriteRequest[]): void {
    this.apply(...requests.map(encode));
  }

  /** Runs what waits for the next turn. */
  turn(): void {
    const fire = this.#soon;
    this.#soon = [];
    for (const step of fire) step();
  }

  get isQuiet(): boolean {
    return this.#soon.length === 0;
  }
}

export function encode(request: AnyWriteRequest): Uint8Array {
  return encodeCommand(request, { leaseTtlSecondsMin: 2 });
}

/** Everything that happened. */
class Oracle {
  readonly #machine = new KvStateMachine(new MemoryEngine(), null, HISTORY_ON);
  #index = 0;
  #keys = new Map<string, KeyValue>();
  readonly events: WatchEvent[] = [];

  apply(command: Uint8Array, clockMs: number, cause: "client" | "expired"): void {
    this.#index++;
    this.#machine.apply({ index: this.#index, term: 1, clockMs }, [command]);
    const { revision } = this.#machine;
    const answer = this.#machine.range(ALL) as RangeResponse;
    const now = new Map(answer.kvs.map((kv) => [hex(kv.key), kv] as const));
    for (const [name, kv] of this.#keys)
      if (!now.has(name))
        this.events.push({
          type: "delete",
          kv: {
            key: kv.key,
            value: EMPTY_BYTES,
            createRevision: 0,
            modRevision: revision,
            version: 0,
            lease: 0n,
          },
          prevKv: kv,
          cause,
        });
    for (const [name, kv] of now) {
      const before = this.#keys.get(name) ?? null;
      if (before?.modRevision !== kv.modRevision)
        this.events.push({ type: "put", kv, prevKv: before, cause: null });
    }
    this.#keys = now;
  }
}

type Command =
  | { readonly kind: "write"; readonly request: AnyWriteRequest }
  | { readonly kind: "expire" }
  | { readonly kind: "compact"; readonly back: number };

type Step =
  | { readonly kind: "entry"; readonly commands: readonly Command[]; readonly laterMs: number }
  | { readonly kind: "slice" | "turn" }
  | {
      readonly kind: "open";
      readonly request: WatchRequest;
      /** Of the present revision. Null: from now on. */
      readonly offset: number | null;
    }
  | { readonly kind: "take"; readonly which: number; readonly maxBytes: number }
  | { readonly kind: "cancel" | "resume"; readonly which: number };

const NAMES = ["a", "aa", "ab", "b", "c", "d\0", "e"];
const arbName = fc.constantFrom(...NAMES);
const arbValue = fc.constantFrom("", "1", "x".repeat(90));
const arbEnd = fc.constantFrom("", "", "\0", "b", "c", "e", "a");

const arbTxn: fc.Arbitrary<AnyWriteRequest> = fc
  .tuple(
    fc.uniqueArray(arbName, { minLength: 1, maxLength: 4 }),
    fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
  )
  .map(([names, deletes]) => ({
    kind: "txn",
    compare: [],
    success: names.map((name, i) => (deletes[i] === true ? del(name) : put(name, "t"))) as never,
    failure: [],
  }));

const arbCommand: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(arbName, arbValue)
      .map(([name, value]) => ({ kind: "write" as const, request: put(name, value) })),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(arbName, arbEnd)
      .map(([name, end]) => ({ kind: "write" as const, request: del(name, end) })),
  },
  {
    weight: 2,
    arbitrary: arbTxn.map((request) => ({ kind: "write" as const, request })),
  },
  {
    weight: 2,
    arbitrary: arbName.map((name) => ({
      kind: "write" as const,
      request: {
        kind: "set",
        key: utf8(name),
        value: utf8("ttl"),
        condition: null,
        lease: 0n,
        expiry: { kind: "after", ttlMs: 500 },
        prevKv: false,
      } as AnyWriteRequest,
    })),
  },
  { weight: 2, arbitrary: fc.constant({ kind: "expire" as const }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("compact" as const), back: fc.nat({ max: 6 }) }),
  },
);

const arbStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("entry" as const),
      commands: fc.array(arbCommand, { maxLength: 4 }),
      laterMs: fc.constantFrom(0, 100, 600),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("open" as const),
      request: fc
        .record({
          key: arbName,
          rangeEnd: arbEnd,
          prevKv: fc.boolean(),
          noPut: fc.constantFrom(false, false, true),
          noDelete: fc.constantFrom(false, false, true),
        })
        .map(({ key, rangeEnd, ...more }) => watchRequest(key, rangeEnd, 0, more)),
      offset: fc.oneof(fc.constant(null), fc.integer({ min: -12, max: 4 })),
    }),
  },
  { weight: 4, arbitrary: fc.constantFrom({ kind: "turn" as const }, { kind: "slice" as const }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("take" as const),
      which: fc.nat({ max: 30 }),
      maxBytes: fc.constantFrom(1, 100, 300, 1e6),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom("cancel" as const, "resume" as const),
      which: fc.nat({ max: 30 }),
    }),
  },
);

/** One watcher as the test knows it. */
interface Seen {
  readonly watch: Watch;
  readonly request: WatchRequest;
  /** The first revision that it has not been told of. */
  position: number;
  isEnded: boolean;
  told: number;
  /** The last take said that there is nothing more for now. */
  waits: boolean;
  /** At the opening nothing that it wants had happened yet, so it may never be told that it is compacted. */
  readonly isFresh: boolean;
}

class Program {
  readonly #stage: Stage;
  readonly #oracle = new Oracle();
  readonly #settings: StoreSettings;
  readonly #keepsUp: boolean;
  readonly #seen: Seen[] = [];

  constructor(engine: Engine, settings: StoreSettings, recentBytes: number | undefined) {
    this.#settings = settings;
    this.#keepsUp = recentBytes === undefined;
    this.#stage = new Stage(engine, settings, recentBytes);
  }

  run(steps: readonly Step[]): void {
    for (const step of steps) {
      this.#step(step);
      this.#stage.hub.invariants();
    }
    // Everybody takes what there is; then nobody waits for anything.
    for (let round = 0; round < 40; round++) {
      for (const seen of this.#seen) {
        if (seen.told > 0) this.#take(seen, 1e6);
        while (!seen.waits) this.#take(seen, 1e6);
      }
      if (this.#stage.isQuiet) break;
      this.#turn();
    }
    expect(this.#stage.isQuiet).toBe(true);
    for (const seen of this.#seen) {
      if (seen.isEnded) continue;
      expect(seen.watch.isSynced).toBe(true);
      expect(seen.watch.revision).toBe(this.#stage.machine.revision);
      expect(this.#expected(seen, this.#stage.machine.revision)).toEqual([]);
    }
    expect(this.#stage.errors).toEqual([]);
    const { revision } = this.#stage.machine;
    this.#stage.hub.close(new HarmonyError("CLOSED"));
    this.#stage.turn();
    for (const { watch, isEnded } of this.#seen)
      if (!isEnded) expect(watch.take(1)).toMatchObject({ kind: "failed" });
    expect([this.#stage.hub.count, this.#stage.machine.revision]).toEqual([0, revision]);
  }

  #step(step: Step): void {
    const { machine } = this.#stage;
    switch (step.kind) {
      case "entry":
        this.#apply(step.commands, step.laterMs);
        break;
      case "slice":
        machine.compactSlice(3);
        break;
      case "turn":
        this.#turn();
        break;
      case "open": {
        const from = step.offset === null ? 0 : Math.max(1, machine.revision + step.offset);
        this.#open({ ...step.request, startRevision: from });
        break;
      }
      case "take":
      case "cancel":
      case "resume": {
        const seen = this.#seen[step.which % Math.max(1, this.#seen.length)];
        if (seen === undefined) return;
        if (step.kind === "take") {
          this.#take(seen, step.maxBytes);
          return;
        }
        seen.watch.cancel();
        expect(seen.watch.take(1)).toBeNull();
        if (step.kind === "resume" && !seen.isEnded)
          this.#open({ ...seen.request, startRevision: seen.position });
        this.#seen.splice(this.#seen.indexOf(seen), 1);
      }
    }
  }

  #apply(commands: readonly Command[], laterMs: number): void {
    const stage = this.#stage;
    stage.clockMs += laterMs;
    let { revision } = stage.machine;
    const encoded = commands.map((command) => {
      if (command.kind === "write") return encode(command.request);
      if (command.kind === "expire") return encodeExpire({ upToClockMs: 1e12, limit: 1 });
      return encode({
        kind: "compact",
        revision: Math.max(1, revision - command.back),
        physical: false,
      });
    });
    stage.apply(...encoded);
    for (const [i, command] of commands.entries()) {
      // The second machine keeps everything.
      if (command.kind === "compact") continue;
      this.#oracle.apply(
        encoded[i] as Uint8Array,
        stage.clockMs,
        command.kind === "expire" ? "expired" : "client",
      );
    }
    revision = stage.machine.revision;
    const newest = this.#oracle.events.at(-1)?.kv.modRevision ?? 1;
    expect(revision).toBeGreaterThanOrEqual(newest);
  }

  #turn(): void {
    this.#stage.turn();
    for (const seen of this.#seen) {
      expect(seen.told).toBeLessThanOrEqual(1);
      if (!seen.waits || seen.isEnded) continue;
      if (this.#expected(seen, this.#stage.machine.revision).length > 0)
        expect(seen.told, "who waits is told").toBe(1);
    }
  }

  #open(request: WatchRequest): void {
    const { hub, machine } = this.#stage;
    const isFresh = request.startRevision === 0 || request.startRevision > machine.revision;
    const seen: Seen = {
      watch: hub.open(request, () => seen.told++),
      request,
      position: request.startRevision === 0 ? machine.revision + 1 : request.startRevision,
      isEnded: false,
      told: 0,
      waits: true,
      isFresh,
    };
    this.#seen.push(seen);
  }

  #take(seen: Seen, maxBytes: number): void {
    const { machine } = this.#stage;
    if (seen.isEnded) {
      expect(seen.watch.take(maxBytes)).toBeNull();
      return;
    }
    const bookmark = seen.watch.revision;
    const news = seen.watch.take(maxBytes);
    seen.told = 0;
    seen.waits = news === null;
    if (news === null) return;
    if (news.kind === "compacted") {
      seen.isEnded = true;
      seen.waits = true;
      expect(news.compactRevision).toBeGreaterThan(seen.position);
      expect(news.compactRevision).toBeLessThanOrEqual(machine.revision + 1);
      expect(seen.isFresh && this.#keepsUp, "who kept up is not compacted").toBe(false);
      if (this.#settings !== HISTORY_OFF)
        expect(news.compactRevision).toBeLessThanOrEqual(machine.compactRevision);
      return;
    }
    if (news.kind === "failed") throw news.error;
    expect(news.revision).toBeLessThanOrEqual(machine.revision);
    const expected = this.#expected(seen, news.revision);
    expect(shown(news.events)).toEqual(shown(expected));
    for (const [i, event] of sorted(news.events).entries()) {
      const { prevKv } = sorted(expected)[i] as WatchEvent;
      const isReadable =
        this.#settings === HISTORY_OFF || event.kv.modRevision > machine.compactRevision;
      expect(event.prevKv).toEqual(seen.request.prevKv && isReadable ? prevKv : null);
    }
    expect(news.events.length).toBeGreaterThan(0);
    expect(news.events[0]?.kv.modRevision).toBeGreaterThan(bookmark);
    seen.position = news.revision + 1;
  }

  /** What the watcher has to be told of up to `revision`. */
  #expected(seen: Seen, revision: number): WatchEvent[] {
    const { key, rangeEnd, noPut, noDelete } = seen.request;
    return this.#oracle.events.filter(({ type, kv }) => {
      if (kv.modRevision < seen.position || kv.modRevision > revision) return false;
      if (type === "put" ? noPut : noDelete) return false;
      if (rangeEnd.length === 0) return equalBytes(kv.key, key);
      const isOpen = rangeEnd.length === 1 && rangeEnd[0] === 0;
      return compareBytes(kv.key, key) >= 0 && (isOpen || compareBytes(kv.key, rangeEnd) < 0);
    });
  }
}

/** Within a revision by key: in which order a transaction changes its keys the oracle cannot see. */
function sorted(events: readonly WatchEvent[]): readonly WatchEvent[] {
  for (let i = 1; i < events.length; i++)
    expect(events[i]?.kv.modRevision).toBeGreaterThanOrEqual(events[i - 1]?.kv.modRevision ?? 0);
  return [...events].sort(
    (a, b) => a.kv.modRevision - b.kv.modRevision || compareBytes(a.kv.key, b.kv.key),
  );
}

function shown(events: readonly WatchEvent[]): unknown[] {
  return sorted(events).map(({ type, kv, cause }) => ({ type, kv, cause }));
}

export function hubSuite(name: string, makeEngine: () => Engine, numRuns: number): void {
  describe(`watchers on ${name}`, () => {
    for (const [what, settings] of [
      ["with history", HISTORY_ON],
      ["without history", HISTORY_OFF],
    ] as const)
      for (const recentBytes of [undefined, 1500, 1])
        it(`see what happened, ${what}, ${recentBytes ?? "enough"} bytes of recent changes`, () => {
          fc.assert(
            fc.property(fc.array(arbStep, { maxLength: 60, size: "max" }), (steps) => {
              new Program(makeEngine(), settings, recentBytes).run(steps);
            }),
            { numRuns },
          );
        }, 60_000);
  });
}
