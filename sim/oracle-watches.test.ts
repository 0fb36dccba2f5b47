import { describe, expect, it } from "vitest";
import type { WatchEvent, WatchRequest } from "../src/db/index.ts";
import { KvModel, keyBytes } from "./model.ts";
import { watchMismatch } from "./oracle-watches.ts";

const NOTHING = new Uint8Array(0);
const ZERO = new Uint8Array(1);
const ALL: WatchRequest = {
  key: ZERO,
  rangeEnd: ZERO,
  startRevision: 2,
  prevKv: true,
  noPut: false,
  noDelete: false,
};

/** 2: a and b, 3: a goes, 4: b again. */
function model(): KvModel {
  const out = new KvModel(2, true);
  const value = keyBytes("value");
  out.inOneRevision((revision) => {
    out.write("a", value, 0n, revision);
    out.write("b", value, 0n, revision);
  });
  out.inOneRevision((revision) => out.write("a", null, 0n, revision));
  out.inOneRevision((revision) => out.write("b", value, 0n, revision));
  return out;
}

const EVENTS = model().eventsOf(2, 4);

function judged(
  events: readonly WatchEvent[],
  request: WatchRequest = ALL,
  { next = 2, through = 4, compactRevision = 0 } = {},
): string | null {
  const news = events.length === 0 ? null : { kind: "events" as const, events, revision: through };
  return watchMismatch(model(), { request, next }, news, through, compactRevision);
}

describe("what a watcher is told", () => {
  it("is everything, in order and once", () => {
    expect(judged(EVENTS)).toBeNull();
    expect(judged(EVENTS.slice(2), ALL, { next: 3 })).toBeNull();
    expect(judged(EVENTS.slice(0, 2), ALL, { through: 2 })).toBeNull();
  });

  it("is not a part of it, nor more, nor in another order", () => {
    const [first, second, ...rest] = EVENTS as [WatchEvent, WatchEvent, ...WatchEvent[]];
    expect(judged([first, ...rest])).not.toBeNull();
    expect(judged([first, second, second, ...rest])).not.toBeNull();
    expect(judged([second, first, ...rest])).not.toBeNull();
    expect(judged(EVENTS, ALL, { next: 3 })).not.toBeNull();
    expect(judged([])).not.toBeNull();
  });

  it("is no other change than that which happened", () => {
    const [first, ...rest] = EVENTS as [WatchEvent, ...WatchEvent[]];
    const other = { ...first, kv: { ...first.kv, value: keyBytes("other") } };
    expect(judged([other, ...rest])).toContain("value");
    const last = EVENTS[3] as WatchEvent;
    expect(judged([...EVENTS.slice(0, 3), { ...last, prevKv: null }])).toContain("prevKv");
  });

  it("is only what it asked for", () => {
    const [a, b, gone, again] = EVENTS as [WatchEvent, WatchEvent, WatchEvent, WatchEvent];
    expect(judged([gone], { ...ALL, noPut: true })).toBeNull();
    expect(judged([a, b, again], { ...ALL, noPut: true })).not.toBeNull();
    expect(judged([a, b, again], { ...ALL, noDelete: true })).toBeNull();
    expect(judged([b, again], { ...ALL, key: keyBytes("b"), rangeEnd: NOTHING })).toBeNull();
    expect(judged([a, gone], { ...ALL, rangeEnd: keyBytes("b") })).toBeNull();
    expect(judged(EVENTS, { ...ALL, rangeEnd: keyBytes("b") })).not.toBeNull();
    const bare = EVENTS.map((event) => ({ ...event, prevKv: null }));
    expect(judged(bare, { ...ALL, prevKv: false })).toBeNull();
    expect(judged(EVENTS, { ...ALL, prevKv: false })).not.toBeNull();
  });

  it("may leave out what was there before at the compact revision, and nowhere else", () => {
    const unread = EVENTS.map((event) => ({ ...event, prevKv: null }));
    expect(judged(unread, ALL, { compactRevision: 4 })).toBeNull();
    expect(judged(unread, ALL, { compactRevision: 3 })).not.toBeNull();
  });

  it("is that it was compacted away where it was, and never otherwise", () => {
    const told = (said: number, next: number, compactRevision: number): string | null => {
      const news = { kind: "compacted" as const, compactRevision: said };
      return watchMismatch(model(), { request: ALL, next }, news, 4, compactRevision);
    };
    expect(told(4, 2, 4)).toBeNull();
    expect(told(4, 4, 4)).not.toBeNull();
    expect(told(4, 2, 3)).not.toBeNull();
  });
});
