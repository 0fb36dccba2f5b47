import { describe, expect, it } from "vitest";
import { OracleClock } from "./oracle-clock.ts";

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

  it("are taken forward to the wall clock by a start, and by nothing else", () => {
    const clock = started();
    const beforeMs = clock.highMs(5000);
    const late = { beganAtMs: 5000, nowMs: 5000, wallBeganMs: WALL_MS + 3_600_000 };
    clock.started({ ...late, wallMs: WALL_MS + 3_600_000, isOpen: true });
    expect(clock.highMs(5000)).toBe(WALL_MS + 3_600_000 + 2);
    expect(clock.highMs(5000)).toBeGreaterThan(beforeMs);
    expect(clock.lowMs(5000)).toBe(WALL_MS + 3_600_000 - 2);
  });

  it("go back no further than the last stamp when the wall clock was set back", () => {
    const clock = started();
    clock.stamped(WALL_MS + 900, 1000, 1000);
    const beforeMs = clock.highMs(5000);
    clock.started({ beganAtMs: 5000, nowMs: 5000, wallBeganMs: 0, wallMs: 0, isOpen: true });
    expect(clock.lowMs(5000)).toBe(WALL_MS + 898);
    expect(clock.highMs(5000)).toBe(beforeMs);
  });

  it("know nothing from below of a process that never opened, nor of moments before it", () => {
    const clock = started();
    expect(clock.lowMs(99)).toBe(0);
    const wallMs = WALL_MS + 3_600_000;
    clock.started({ beganAtMs: 5000, nowMs: 5000, wallBeganMs: wallMs, wallMs, isOpen: false });
    // Its wall clock may be in an entry or not.
    expect(clock.lowMs(5000)).toBeLessThan(WALL_MS + 5000);
    expect(clock.highMs(5000)).toBe(wallMs + 2);
  });
});
