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
    group.adoptWallClock();
    expect(group.stamp()).toBe(clock.wall);
  });

  it("goes on after a stop of all from the wall clock, but never back", () => {
    const clock = new TestClock();
    const ahead = clock.wall + 5_000;
    const group = new GroupClock(clock, ahead);
    group.adoptWallClock();
    expect(group.stamp()).toBe(ahead);
    const behind = new GroupClock(clock, clock.wall - 3_600_000);
    behind.adoptWallClock();
    expect(behind.stamp()).toBe(clock.wall);
  });

  it("follows real time while the clocks agree, whole milliseconds without losing the rest", () => {
    const clock = new TestClock();
    const group = new GroupClock(clock, 0);
    group.adoptWallClock();
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
      group.adoptWallClock();
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
    group.adoptWallClock();
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
    group.adoptWallClock();
    const start = group.stamp();
    clock.wall -= 10_000;
    clock.pass(1_000);
    expect(group.stamp() - start).toBe(500);
  });

  it("loses no time to the disk: an own stamp that is applied later is no news", () => {
    const clock = new TestClock();
    const group = new GroupClock(clock, 0);
    group.adoptWallClock();
    // One client, one write after the other: each stamp is applied when the disk has answered, 10 ms later.
    for (let write = 0; write < 30_000; write++) {
      const stamp = group.stamp();
      clock.pass(10);
      group.observe(stamp);
    }
    expect(group.stamp()).toBe(clock.wall);
    expect(group.isAstray).toBe(false);
  });

  it("never decreases, whatever the clocks do and whatever stamps arrive", () => {
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
        group.adoptWallClock();
        let last = group.stamp();
        // What has passed by the monotonic clock since the last stamp that came from elsewhere.
        let base = { stamp: last, mono: clock.mono };
        for (const { kind, ms } of steps) {
          if (kind === "pass") clock.pass(ms);
          else if (kind === "jump") clock.wall = Math.max(0, clock.wall + ms);
          else {
            group.observe(Math.max(0, last + ms));
            base = { stamp: Math.max(last, last + ms), mono: clock.mono };
          }
          const stamp = group.stamp();
          expect(stamp - base.stamp).toBeLessThanOrEqual(Math.ceil(clock.mono - base.mono) + 1);
          expect(stamp).toBeGreaterThanOrEqual(last);
          expect(Number.isSafeInteger(stamp)).toBe(true);
          last = stamp;
        }
      }),
    );
  });
});
