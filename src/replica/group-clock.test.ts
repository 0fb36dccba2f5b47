import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GroupClock } from "./group-clock.ts";

class TestClock {
  mono = 1_000;
  wall = 1_700_000_000_000;
  monotonicMs(): number {
    return this.mono;
  }
  wallMs(): number {
    return this.wall;
  }
  pass(ms: number): void {
    this.mono += ms;
    this.wall += ms;
  }
}

describe("the group's clock", () => {
  it("starts a new group at the wall clock", () => {
    const clock = new TestClock();
    const group = new GroupClock(clock, 0);
    group.adoptWallClock(0);
    expect(group.stamp()).toBe(clock.wall);
  });

  it("goes on after a stop of all from the wall clock, but never back", () => {
    const clock = new TestClock();
    const ahead = clock.wall + 5_000;
    const group = new GroupClock(clock, ahead);
    group.adoptWallClock(0);
    expect(group.stamp()).toBe(ahead);
    const behind = new GroupClock(clock, clock.wall - 3_600_000);
    behind.adoptWallClock(0);
    expect(behind.stamp()).toBe(clock.wall);
  });

  it("follows real time while the clocks agree, whole milliseconds without losing the rest", () => {
    const clock = new TestClock();
    const group = new GroupClock(clock, 0);
    group.adoptWallClock(0);
    const start = group.stamp();
    for (let i = 0; i < 10_000; i++) {
      clock.pass(0.3);
      group.stamp();
    }
    expect(Math.abs(group.stamp() - start - 3_000)).toBeLessThanOrEqual(2);
  });

  it("keeps its own pace when somebody sets the wall clock, in either direction, and says so", () => {
    for (const step of [365 * 86_400_000, -365 * 86_400_000]) {
      const clock = new TestClock();
      const group = new GroupClock(clock, 0);
      group.adoptWallClock(0);
      const start = group.stamp();
      clock.wall += step;
      clock.pass(1_000);
      expect(group.stamp() - start).toBe(1_000);
      expect(group.isAstray).toBe(true);
    }
  });

  it("is not drawn towards a wall clock that is ahead: no lease ends early by a monotonic clock", () => {
    const clock = new TestClock();
    const group = new GroupClock(clock, 0);
    group.adoptWallClock(0);
    const start = group.stamp();
    clock.wall += 10_000;
    clock.pass(1_000);
    expect(group.stamp() - start).toBe(1_000);
    expect(group.isAstray).toBe(false);
    clock.pass(60_000);
    expect(group.stamp() - start).toBe(61_000);
  });

  it("is drawn towards a wall clock that is behind at no less than half of real time", () => {
    const clock = new TestClock();
    const group = new GroupClock(clock, 0);
    group.adoptWallClock(0);
    const start = group.stamp();
    clock.wall -= 10_000;
    clock.pass(1_000);
    expect(group.stamp() - start).toBe(500);
  });

  it("loses no time to the disk: an own stamp that is applied later is no news", () => {
    const clock = new TestClock();
    const group = new GroupClock(clock, 0);
    group.adoptWallClock(0);
    // One client, one write after the other: each stamp is applied when the disk has answered, 10 ms later.
    for (let write = 0; write < 30_000; write++) {
      const { clockMs } = group.stampEntry(1);
      clock.pass(10);
      group.observe(clockMs, 1);
    }
    expect(group.stamp()).toBe(clock.wall);
    expect(group.isAstray).toBe(false);
  });

  it("stays as far behind the wall clock over a stop of all as it was, whatever put it behind", () => {
    const clock = new TestClock();
    const group = new GroupClock(clock, 0);
    group.adoptWallClock(0);
    // Somebody set the wall clock forward: what is stamped from now on lasts by the group's clock.
    clock.wall += 45_000;
    clock.pass(1_000);
    const last = group.stampEntry(1);
    expect(last.behindMs).toBe(45_000);
    clock.pass(7_000);
    const next = new GroupClock(clock, last.clockMs);
    next.adoptWallClock(last.behindMs);
    expect(next.stampEntry(1)).toEqual({ clockMs: last.clockMs + 7_000, behindMs: 45_000 });
  });

  it("is not put forward by a stop of all when the wall clock was behind and is put right meanwhile", () => {
    const clock = new TestClock();
    const group = new GroupClock(clock, clock.wall + 10_000);
    const last = group.stampEntry(1);
    expect(last).toEqual({ clockMs: clock.wall + 10_000, behindMs: 0 });
    clock.pass(4_000);
    const next = new GroupClock(clock, last.clockMs);
    next.adoptWallClock(last.behindMs);
    expect(next.stamp()).toBe(last.clockMs);
  });

  it("ends nothing early where wall clocks agree: leaders that lag, members that start, stops of all", () => {
    // What happens next, after `ms`, and how long the entry of the leader before is on its way to the one that follows it.
    const step = fc.record({
      what: fc.constantFrom("stamp", "lead", "restart", "stopAll"),
      who: fc.integer({ min: 0, max: 2 }),
      ms: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 5_000 })),
      wayMs: fc.integer({ min: 0, max: 300 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const clock = new TestClock();
        let group = new GroupClock(clock, 0);
        group.adoptWallClock(0);
        const stamps: { readonly clockMs: number; readonly atMs: number }[] = [];
        let last = { clockMs: 0, behindMs: 0 };
        let term = 1;
        // All have applied what there is, but for the last entry.
        const members = [group, new GroupClock(clock, 0), new GroupClock(clock, 0)];
        const stamp = (): void => {
          last = group.stampEntry(term);
          stamps.push({ clockMs: last.clockMs, atMs: clock.mono });
        };
        stamp();
        for (const { what, who, ms, wayMs } of steps) {
          if (what === "lead") {
            // It may have led before, and stamped what all have by now.
            const follower = members[who] as GroupClock;
            clock.pass(wayMs);
            follower.observe(last.clockMs, term);
            group = follower;
            term++;
          }
          clock.pass(ms);
          if (what === "restart" || what === "stopAll") {
            const before = members.indexOf(group);
            group = new GroupClock(clock, last.clockMs);
            members[before] = group;
          }
          if (what === "stopAll") group.adoptWallClock(last.behindMs);
          stamp();
        }
        const now = stamps.at(-1) as (typeof stamps)[number];
        for (const { clockMs, atMs } of stamps)
          expect(now.clockMs - clockMs).toBeLessThanOrEqual(now.atMs - atMs);
      }),
    );
  });

  it("is no further than its leader's for having been looked at", () => {
    const clock = new TestClock();
    const follower = new GroupClock(clock, 1_000);
    clock.pass(2_000);
    expect(follower.nowMs()).toBe(3_000);
    // The wall clock of the leader is behind, so its clock is slow.
    follower.observe(2_000, 1);
    expect(follower.stamp()).toBe(2_000);
    clock.pass(500);
    expect([follower.nowMs(), follower.stamp(), follower.nowMs()]).toEqual([2_500, 2_500, 2_500]);
  });

  it("follows whoever led in between, also when his stamp is no later than the last of its own", () => {
    for (const lostMs of [0, 500]) {
      const clock = new TestClock();
      const group = new GroupClock(clock, 0);
      group.adoptWallClock(0);
      const { clockMs } = group.stampEntry(1);
      // What it stamped last is replaced by entries of the next leader.
      clock.pass(lostMs);
      group.stampEntry(1);
      clock.pass(1_000 - lostMs);
      // The next leader has just got the first entry: its clock has stood still for a second, and so has the group's.
      group.observe(clockMs, 2);
      clock.pass(300);
      expect(group.stampEntry(3).clockMs).toBe(clockMs + 300);
    }
  });

  it("never decreases and never hurries from where the last stamp of another put it, whatever the clocks do", () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant("pass" as const),
        ms: fc.double({ min: 0, max: 100_000, noNaN: true }),
      }),
      fc.record({ kind: fc.constant("jump" as const), ms: fc.integer({ min: -1e11, max: 1e11 }) }),
      fc.record({ kind: fc.constant("observe" as const), ms: fc.integer({ min: -1e6, max: 1e6 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const clock = new TestClock();
        const group = new GroupClock(clock, 0);
        group.adoptWallClock(0);
        let term = 1;
        let last = group.stampEntry(term).clockMs;
        // What has passed by the monotonic clock since the last stamp that came from elsewhere.
        let base = { stamp: last, mono: clock.mono };
        for (const { kind, ms } of steps) {
          if (kind === "pass") clock.pass(ms);
          else if (kind === "jump") clock.wall = Math.max(0, clock.wall + ms);
          else {
            last = Math.max(0, last + ms);
            group.observe(last, ++term);
            base = { stamp: last, mono: clock.mono };
          }
          const { clockMs } = group.stampEntry(++term);
          expect(clockMs - base.stamp).toBeLessThanOrEqual(Math.ceil(clock.mono - base.mono) + 1);
          expect(clockMs).toBeGreaterThanOrEqual(last);
          expect(Number.isSafeInteger(clockMs)).toBe(true);
          last = clockMs;
        }
      }),
    );
  });
});
