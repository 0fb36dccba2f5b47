import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { equalBytes, setVerifying, text, utf8 } from "../../base/index.ts";
import {
  closeFile,
  type Env,
  type Io,
  lockDirectory,
  makeDirectory,
  openFile,
  renameFile,
  runIo,
  syncDirectory,
  syncFile,
  writeFile,
} from "../index.ts";
import { type CrashPoint, runIoNow, SimEnv, SimScheduler, sweepCrashes } from "./index.ts";
import { SimSha256 } from "./sha256.ts";

setVerifying(true);

describe("simulated time", () => {
  it("runs events by time, skips what is idle, and drops what is cancelled", () => {
    const scheduler = new SimScheduler(1);
    const ran: string[] = [];
    scheduler.after(3_600_000, () => ran.push("hour"));
    scheduler.after(2, () => ran.push("two"));
    scheduler.after(1, () => {
      ran.push("one");
      scheduler.after(0.5, () => ran.push("half"));
      scheduler.at(-5, () => ran.push("past"));
    });
    const cancelled = scheduler.after(1.5, () => ran.push("never"));
    cancelled.cancel();
    expect(scheduler.run()).toBe(5);
    expect(ran).toEqual(["one", "past", "half", "two", "hour"]);
    expect(scheduler.nowMs).toBe(3_600_000);
    expect(scheduler.idle).toBe(true);
    expect(scheduler.step()).toBe(false);
  });

  it("orders events of one moment by the seed, and `soon` after all of them", () => {
    const orderOf = (seed: number): string => {
      const scheduler = new SimScheduler(seed);
      let order = "";
      scheduler.soon(() => (order += "|1"));
      for (const name of "abcde") scheduler.after(0, () => (order += name));
      scheduler.soon(() => (order += "2"));
      scheduler.run();
      return order;
    };
    const orders = new Set(Array.from({ length: 20 }, (_, seed) => orderOf(seed)));
    expect(orders.size).toBeGreaterThan(10);
    for (const order of orders) expect(order).toMatch(/^[a-e]{5}\|12$/);
    expect(orderOf(3)).toBe(orderOf(3));
  });

  it("stops at the time asked for, events of that time included", () => {
    const scheduler = new SimScheduler(1);
    let ran = 0;
    for (const timeMs of [1, 2, 3]) scheduler.at(timeMs, () => ran++);
    scheduler.runUntil(2);
    expect([ran, scheduler.nowMs]).toEqual([2, 2]);
    scheduler.runUntil(2.5);
    expect([ran, scheduler.nowMs]).toEqual([2, 2.5]);
  });

  it("stalls: what became due meanwhile comes afterwards, in its order, and time does not go back", () => {
    const scheduler = new SimScheduler(1);
    const seen: [string, number][] = [];
    const see = (what: string) => (): unknown => seen.push([what, scheduler.nowMs]);
    scheduler.at(20, see("second"));
    scheduler.at(10, see("first"));
    scheduler.at(200, see("later"));
    scheduler.stall(100);
    expect(seen).toEqual([]);
    scheduler.run();
    expect(seen).toEqual([
      ["first", 100],
      ["second", 100],
      ["later", 200],
    ]);
  });

  it("keeps the order of a heap whatever is put in and taken out", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50)), fc.nat(), (times, seed) => {
        const scheduler = new SimScheduler(seed);
        const ran: number[] = [];
        for (const timeMs of times) scheduler.at(timeMs, () => ran.push(timeMs));
        scheduler.run();
        expect(ran).toEqual(times.toSorted((a, b) => a - b));
      }),
    );
  });
});

describe("a process", () => {
  it("hears nothing after its end, does nothing more, and frees its lock", () => {
    const machine = new SimEnv({ seed: 3 });
    const env = machine.boot();
    runIoNow(machine, makeDirectory(env.files, "d"));
    runIoNow(machine, lockDirectory(env.files, "d"));
    expect(() => runIoNow(machine, lockDirectory(env.files, "d"))).toThrow("ELOCKED");
    let heard = 0;
    env.files.list("d", () => heard++);
    env.timers.after(1, () => heard++);
    env.timers.soon(() => heard++);
    machine.kill();
    env.files.mkdir("after-death", () => heard++);
    machine.scheduler.run();
    expect(heard).toBe(0);
    expect(machine.disk.paths()).toEqual(["d"]);
    const next = machine.boot();
    runIoNow(machine, lockDirectory(next.files, "d"));
    expect(() => machine.boot()).toThrow("one process at a time");
  });

  it("does not come back to a disk that nobody crashed", () => {
    const machine = new SimEnv({ seed: 3 });
    machine.boot().files.mkdir("d", () => {});
    machine.halt();
    expect(() => machine.boot()).toThrow("settled by kill or losePower");
  });

  it("reads clocks: one only forward, one that may be set, and entropy of its own", () => {
    const machine = new SimEnv({ seed: 3 });
    const env = machine.boot();
    machine.scheduler.runUntil(5);
    const wallMs = env.clock.wallMs();
    expect(env.clock.monotonicMs()).toBe(5);
    machine.wallSkewMs = -60_000;
    expect(env.clock.wallMs()).toBe(wallMs - 60_000);
    expect(env.clock.monotonicMs()).toBe(5);
    const drawn = env.entropy.bytes(16);
    machine.kill();
    expect(machine.boot().entropy.bytes(16)).not.toEqual(drawn);
    expect(new SimEnv({ seed: 3 }).boot().entropy.bytes(16)).toEqual(drawn);
  });

  it("is stopped right before or right after the operation of a number", () => {
    const left = (ordinal: number, moment: "before" | "after"): string => {
      const machine = new SimEnv({ seed: 1 });
      const env = machine.boot();
      machine.haltAt(ordinal, moment);
      let ended = false;
      runIo(replaceFile(env, "a", "new"), () => (ended = true));
      machine.scheduler.run();
      expect(ended).toBe(false);
      expect(machine.running).toBe(false);
      return `${machine.disk.opCount} ${machine.disk.paths().join(" ")}`;
    };
    expect(left(1, "before")).toBe("0 ");
    expect(left(1, "after")).toBe("1 a.new");
    expect(left(5, "before")).toBe("4 a.new");
    expect(left(5, "after")).toBe("5 a");
  });

  it("says that a sequence cannot end when its process is dead", () => {
    const machine = new SimEnv({ seed: 1 });
    const env = machine.boot();
    machine.kill();
    expect(() => runIoNow(machine, makeDirectory(env.files, "d"))).toThrow("did not end");
  });
});

/** The classic: write aside, sync, rename over, sync the directory. Steps can be left out. */
function* replaceFile(
  env: Env,
  path: string,
  content: string,
  leaveOut: "nothing" | "sync" | "syncDir" | "rename" = "nothing",
): Io<void> {
  const aside = leaveOut === "rename" ? path : `${path}.new`;
  const file = yield* openFile(env.files, aside, { access: "readwrite", create: "if-missing" });
  yield* writeFile(file, 0, utf8(content));
  if (leaveOut !== "sync") yield* syncFile(file);
  yield* closeFile(file);
  if (leaveOut !== "rename") yield* renameFile(env.files, aside, path);
  if (leaveOut !== "syncDir") yield* syncDirectory(env.files, "");
}

/** Replaces a file three times under a sweep. Returns what was wrong at some crash, and how many were tried. */
function sweepReplacing(
  seed: number,
  leaveOut: Parameters<typeof replaceFile>[3],
): { wrong: Set<string>; crashes: number; points: CrashPoint[] } {
  const machine = new SimEnv({ seed });
  const env = machine.boot();
  const contents = ["first ".repeat(100), "second ".repeat(200), "third ".repeat(150)];
  runIoNow(machine, replaceFile(env, "a", contents[0] as string));
  let acknowledged = 0;
  let started = 0;
  const wrong = new Set<string>();
  const points: CrashPoint[] = [];
  const stop = sweepCrashes(machine, (crashed, point) => {
    points.push(point);
    const found = crashed.disk.paths().includes("a") ? text(crashed.disk.contents("a")) : "nothing";
    const version = contents.indexOf(found);
    if (version < 0) wrong.add("torn");
    else if (version < acknowledged) wrong.add("lost");
    else if (version > started) wrong.add("early");
  });
  for (const [i, content] of contents.entries()) {
    if (i === 0) continue;
    started = i;
    runIoNow(machine, replaceFile(env, "a", content, leaveOut));
    acknowledged = i;
  }
  stop();
  return { wrong, crashes: points.length, points };
}

describe("a sweep of crashes", () => {
  it("finds nothing wrong with a sound protocol", () => {
    for (let seed = 0; seed < 5; seed++) {
      const { wrong, crashes, points } = sweepReplacing(seed, "nothing");
      expect([...wrong]).toEqual([]);
      expect(crashes).toBeGreaterThan(50);
      expect(new Set(points.map((point) => point.crash))).toEqual(new Set(["power", "kill"]));
      expect(new Set(points.map((point) => point.moment))).toEqual(new Set(["before", "after"]));
    }
  });

  it("finds a sync, a directory sync and a rename that were left out", () => {
    expect(sweepReplacing(1, "sync").wrong).toContain("torn");
    expect(sweepReplacing(1, "syncDir").wrong).toContain("lost");
    expect(sweepReplacing(1, "rename").wrong).toContain("torn");
  });

  it("does not disturb the run that it watches", () => {
    const trace = (swept: boolean): string[] => traceOf(9, swept);
    expect(trace(true)).toEqual(trace(false));
  });
});

/** Everything that happens in a run: operations with their times, in order. */
function traceOf(seed: number, swept = false): string[] {
  const machine = new SimEnv({ seed, disk: { shortWritePercent: 30 } });
  const env = machine.boot();
  const trace: string[] = [];
  if (swept) sweepCrashes(machine, (crashed) => crashed.scheduler.run());
  const sweeping = machine.disk.observer;
  machine.disk.observer = (moment, operation, ordinal): void => {
    trace.push(
      `${machine.scheduler.nowMs} ${moment} ${ordinal} ${operation.kind} ${operation.path}`,
    );
    sweeping?.(moment, operation, ordinal);
  };
  for (const path of ["a", "b", "c"])
    runIo(replaceFile(env, path, path.repeat(2000)), () => trace.push(`${path} done`));
  machine.scheduler.run();
  expect(trace.filter((line) => line.endsWith("done"))).toHaveLength(3);
  return trace;
}

it("plays one run for one seed and another for another", () => {
  expect(traceOf(1)).toEqual(traceOf(1));
  const runs = new Set(Array.from({ length: 10 }, (_, seed) => traceOf(seed).join("\n")));
  expect(runs.size).toBe(10);
});

describe("a fork", () => {
  function* put(env: Env, value: number, at: number): Io<void> {
    const file = yield* openFile(env.files, "a", { access: "readwrite", create: "if-missing" });
    yield* writeFile(file, at, new Uint8Array(3000).fill(value));
    if (value % 3 === 0) yield* syncFile(file);
    yield* closeFile(file);
  }

  it("and what it was taken from do not see each other's writes", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(2), fc.integer({ min: 1, max: 99 }), fc.nat(9000)), {
          maxLength: 20,
        }),
        (script) => {
          const machines = [new SimEnv({ seed: 5 })];
          const images: Uint8Array[] = [new Uint8Array(0)];
          const first = machines[0] as SimEnv;
          runIoNow(first, put(first.boot(), 1, 0));
          first.kill();
          images[0] = first.disk.contents("a");
          for (const [pick, value, at] of script) {
            const index = pick % machines.length;
            const machine = machines[index] as SimEnv;
            if (machines.length < 3) {
              machines.push(machine.fork());
              images.push(images[index] as Uint8Array);
            }
            runIoNow(machine, put(machine.boot(), value, at));
            machine.kill();
            const before = images[index] as Uint8Array;
            const after = new Uint8Array(Math.max(before.length, at + 3000));
            after.set(before);
            after.fill(value, at, at + 3000);
            images[index] = after;
            for (const [i, other] of machines.entries()) {
              expect(equalBytes(other.disk.contents("a"), images[i] as Uint8Array)).toBe(true);
              other.disk.invariants();
            }
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  it("keeps the bytes of a write in flight when their owner uses the buffer again", () => {
    const machine = new SimEnv({ seed: 1 });
    const env = machine.boot();
    const file = runIoNow(
      machine,
      openFile(env.files, "a", { access: "readwrite", create: "exclusive" }),
    );
    const bytes = utf8("first");
    file.write(0, bytes, () => {});
    const fork = machine.fork();
    machine.scheduler.run();
    bytes.fill(0);
    fork.losePower("keep-all");
    expect(text(fork.disk.contents("a"))).toBe("first");
  });

  it("continues at the time of the fork, on its own clock", () => {
    const machine = new SimEnv({ seed: 1 });
    machine.boot();
    machine.scheduler.runUntil(100);
    const fork = machine.fork();
    const env = fork.boot();
    fork.scheduler.runUntil(200);
    expect(env.clock.monotonicMs()).toBe(200);
    expect(machine.scheduler.nowMs).toBe(100);
  });
});

it("computes SHA-256 as the host does", () => {
  for (const size of [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000]) {
    const bytes = new Uint8Array(size).map((_, i) => i * 7);
    const expected = new Uint8Array(createHash("sha256").update(bytes).digest());
    const digest = new SimSha256()
      .update(bytes.subarray(0, size >> 1))
      .update(bytes.subarray(size >> 1));
    expect(digest.finish()).toEqual(expected);
    expect(() => digest.finish()).toThrow("once");
  }
});
