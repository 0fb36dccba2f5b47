import { describe, expect, it } from "vitest";
import { OracleClock, type Start } from "./oracle-clock.ts";

const WALL_MS = 1_000_000;

/** A clock whose node was started at 100 ms, when the wall clock showed a million. */
function started(): OracleClock {
  const clock = new OracleClock();
  clock.started({
    beganAtMs: 90,
    wallBeganMs: WALL_MS,
    nowMs: 100,
    wallMs: WALL_MS + 10,
    isOpen: true,
  });
  return clock;
}

describe("the bounds of a group's clock", () => {
  it("say nothing before anybody told of a start", () => {
    const clock = new OracleClock();
    expect(clock.highMs(100)).toBe(Number.POSITIVE_INFINITY);
    expect(clock.lowMs(100)).toBe(0);
  });

  it("hold a clock that goes with time, and refuse one that is faster or stands still", () => {
    const clock = started();
    for (const passedMs of [0, 1000, 60_000]) {
      const paced = WALL_MS + 10 + passedMs;
      const nowMs = 100 + passedMs;
      expect(clock.highMs(nowMs)).toBeGreaterThanOrEqual(paced);
      expect(clock.highMs(nowMs)).toBeLessThan(paced + 10);
      // Half of the speed is allowed.
      expect(clock.lowMs(nowMs)).toBeLessThanOrEqual(WALL_MS + passedMs / 2);
      expect(clock.lowMs(nowMs)).toBeGreaterThan(WALL_MS + passedMs / 4 - 10);
    }
  });

  it("are narrowed by a stamp that is known", () => {
    const clock = started();
    clock.stamped(WALL_MS + 500, 1100, 1100);
    // It showed 500 at most a second after the start, so it is slow.
    expect(clock.highMs(1100)).toBe(WALL_MS + 502);
    expect(clock.highMs(2100)).toBe(WALL_MS + 1502);
    expect(clock.lowMs(1100)).toBe(WALL_MS + 498);
  });

  it("leave open what a stamp says when its answer took long", () => {
    const clock = started();
    clock.stamped(WALL_MS + 500, 600, 1100);
    expect(clock.highMs(1100)).toBe(WALL_MS + 1002);
  });

  const HOUR_MS = 3_600_000;
  const aStart = (atMs: number, wallMs: number, isOpen = true): Start => ({
    beganAtMs: atMs,
    nowMs: atMs,
    wallBeganMs: wallMs,
    wallMs,
    isOpen,
  });

  it("go on by the wall clock over a start", () => {
    const clock = started();
    clock.started(aStart(50_000, WALL_MS + 50_000));
    expect(clock.highMs(50_000)).toBeLessThan(WALL_MS + 50_000 + 10);
    expect(clock.lowMs(50_000)).toBe(WALL_MS + 50_000 - 2);
  });

  it("are taken forward by a start after the wall clock was set, and by nothing else", () => {
    const clock = started();
    const beforeMs = clock.highMs(5000);
    clock.setForward(HOUR_MS, 4000);
    expect(clock.highMs(5000)).toBe(beforeMs);
    clock.started(aStart(5000, WALL_MS + HOUR_MS));
    expect(clock.highMs(5000)).toBe(WALL_MS + HOUR_MS + 2);
    // It may have been set before an entry was stamped that nobody knows.
    expect(clock.lowMs(5000)).toBeLessThan(WALL_MS + 5000);
  });

  it("are not taken forward by a start when an entry was stamped after the wall clock was set", () => {
    const clock = started();
    clock.setForward(HOUR_MS, 1000);
    clock.stamped(WALL_MS + 2000, 2000, 2000);
    const beforeMs = clock.highMs(5000);
    clock.started(aStart(5000, WALL_MS + HOUR_MS + 5000));
    expect(clock.highMs(5000)).toBe(beforeMs);
    expect(clock.lowMs(5000)).toBe(WALL_MS + 5000 - 2);
  });

  it("go back no further than the last stamp when the wall clock was set back", () => {
    const clock = started();
    clock.stamped(WALL_MS + 900, 1000, 1000);
    const beforeMs = clock.highMs(5000);
    clock.started(aStart(5000, 0));
    expect(clock.lowMs(5000)).toBe(WALL_MS + 898);
    expect(clock.highMs(5000)).toBe(beforeMs);
  });

  it("know nothing from below of a process that never opened, nor of moments before it", () => {
    const clock = started();
    expect(clock.lowMs(99)).toBe(0);
    clock.setForward(HOUR_MS, 4000);
    clock.started(aStart(5000, WALL_MS + HOUR_MS, false));
    // Its wall clock may be in an entry or not.
    expect(clock.lowMs(5000)).toBeLessThan(WALL_MS + 5000);
    expect(clock.highMs(5000)).toBe(WALL_MS + HOUR_MS + 2);
  });
});
