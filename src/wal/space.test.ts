import { describe, expect, it } from "vitest";
import { equalBytes, HarmonyError, setVerifying } from "../base/index.ts";
import { verifyWal, Wal } from "./index.ts";
import { batch, IDENTITY, Lab } from "./testing/lab.ts";

setVerifying(true);

/** Hands in appends of one entry each until the log says that the disk is full. Returns the last index. */
function fillUp(lab: Lab, wal: Wal): number {
  let index = wal.groupLog(0).lastIndex();
  while (wal.space === "ok") {
    index++;
    const state = { term: 1, vote: 7, commit: index - 1 };
    const outcome = lab.submit(wal, [batch(0, 1, index, index, state, 400)]);
    lab.wait(() => outcome.error !== undefined || wal.space === "full");
    if (wal.failed !== null) throw wal.failed;
    if (index > 1000) throw new Error("the disk never became full");
  }
  return index;
}

describe("a full disk (D11)", () => {
  it("is said, keeps what is there, leaves room for the reserve's users, and ends by itself", () => {
    const lab = new Lab(1, { segmentSizeBytes: 65536, reserveBytes: 8192 });
    const wal = lab.create();
    const changes: string[] = [];
    wal.onSpace = (space) => changes.push(space);
    lab.machine.disk.quotaBytes = 200_000;
    let index = fillUp(lab, wal);
    expect(changes).toEqual(["full"]);
    expect(wal.failed).toBeNull();
    expect(lab.matching(wal)).toBe(lab.acknowledged);
    // Ordinary appends end up waiting before the reserve, which is still there for a delete or a vote.
    const waiting: { error: unknown }[] = [];
    for (let i = 0; i < 400; i++) {
      index++;
      waiting.push(lab.submit(wal, [batch(0, 1, index, index, null, 400)]));
      lab.idle(2);
      if (waiting[waiting.length - 1]?.error === undefined) break;
    }
    expect(waiting[waiting.length - 1]?.error).toBeUndefined();
    const vote = lab.submit(
      wal,
      [{ group: 1, entries: [], hardState: { term: 2, vote: 3, commit: 0 } }],
      true,
    );
    lab.idle(10);
    expect(vote.error).toBeNull();
    // Space comes back.
    lab.machine.disk.quotaBytes = Number.POSITIVE_INFINITY;
    lab.idle(10_000);
    expect(changes).toEqual(["full", "ok"]);
    index++;
    lab.append(wal, [batch(0, 1, index, index)]);
    lab.losePower("lose-all");
    expect(lab.matching(lab.open().wal)).toBe(lab.states.length - 1);
  });

  it("ends when a checkpoint lets segments go", () => {
    const lab = new Lab(2, { segmentSizeBytes: 16384 });
    const wal = lab.create();
    lab.machine.disk.quotaBytes = 100_000;
    const index = fillUp(lab, wal);
    const used = lab.machine.disk.usedBytes;
    lab.release(wal, 0, index - 2);
    lab.release(wal, 0, index - 1);
    lab.idle(50);
    expect(wal.space).toBe("ok");
    expect(lab.machine.disk.usedBytes).toBeLessThan(used);
    expect(wal.failed).toBeNull();
  });

  it("a release on it fails without harm, and the next one makes up for it", () => {
    const lab = new Lab(3, { segmentSizeBytes: 16384 });
    const wal = lab.create();
    for (let i = 1; i <= 60; i++)
      lab.append(wal, [batch(0, 1, i, i, { term: 1, vote: 7, commit: i }, 400)]);
    const segments = wal.stats.segments;
    lab.machine.disk.inject({ operation: "write", path: "data/tmp/MANIFEST", error: "ENOSPC" });
    expect(() => lab.release(wal, 0, 50)).toThrow(expect.objectContaining({ code: "DISK_FULL" }));
    expect(wal.failed).toBeNull();
    lab.release(wal, 0, 55);
    lab.release(wal, 0, 60);
    expect(wal.stats.segments).toBeLessThan(segments);
    lab.losePower("lose-all");
    expect(lab.matching(lab.open().wal)).toBe(60);
  });

  it("a log that waits for room can be closed; what never left is refused", () => {
    const lab = new Lab(4, { segmentSizeBytes: 8192 });
    const wal = lab.create();
    lab.machine.disk.quotaBytes = 32_768;
    let index = fillUp(lab, wal);
    let last: { error: unknown } = { error: null };
    while (last.error !== undefined) {
      index++;
      last = lab.submit(wal, [batch(0, 1, index, index, null, 400)]);
      lab.idle(20);
    }
    lab.run(wal.close());
    expect(last.error).toMatchObject({ code: "DISK_FULL", maybeApplied: false });
    lab.kill();
    lab.machine.disk.quotaBytes = Number.POSITIVE_INFINITY;
    expect(lab.matching(lab.open().wal)).toBe(lab.acknowledged);
  });

  it("D13: without a free file handle the log goes on in the present segment, and makes the next one later", () => {
    const lab = new Lab(5, { segmentSizeBytes: 8192 });
    const wal = lab.create();
    const fault = lab.machine.disk.inject({
      operation: "open",
      error: "EMFILE",
      times: Number.POSITIVE_INFINITY,
    });
    const index = fillUp(lab, wal);
    expect(wal.failed).toBeNull();
    fault.remove();
    lab.idle(20_000);
    expect(wal.space).toBe("ok");
    lab.append(wal, [batch(0, 1, index + 1, index + 1)]);
    lab.losePower("lose-all");
    expect(lab.matching(lab.open().wal)).toBe(lab.states.length - 1);
  });
});

describe("preparing ahead", () => {
  it("a new log costs one MiB, and grows with what is written", () => {
    const lab = new Lab(6, { segmentSizeBytes: 64 * 1024 * 1024 });
    const wal = lab.create();
    expect(wal.stats.bytesOnDisk).toBe(1024 * 1024);
    for (let i = 1; i <= 40; i++) lab.append(wal, [batch(0, 1, i, i, null, 100_000)]);
    lab.idle(50);
    expect(wal.stats.bytesOnDisk).toBeGreaterThan(7 * 1024 * 1024);
    expect(wal.stats.bytesOnDisk).toBeLessThan(10 * 1024 * 1024);
  });

  it("the next segment is ready before the present one is full", () => {
    const lab = new Lab(7, { segmentSizeBytes: 1024 * 1024 });
    const wal = lab.create();
    let index = 0;
    while (wal.stats.segments === 1) {
      index++;
      lab.append(wal, [batch(0, 1, index, index, null, 2000)]);
      lab.idle(2);
      if (wal.stats.bytesOnDisk >= 2 * 1024 * 1024) break;
    }
    expect(wal.stats.segments).toBe(1);
    expect(wal.durableLsn).toBeLessThan(1024 * 1024);
  });

  it("an append of more than 8 MiB is split into frames, and one entry of more has a segment of its own", () => {
    const lab = new Lab(8, { segmentSizeBytes: 4 * 1024 * 1024 });
    // Checking megabytes at every step is not what is tested here.
    setVerifying(false);
    try {
      const wal = lab.create();
      const outcomes: unknown[] = [];
      const note = (error: unknown): void => void outcomes.push(error);
      wal.append([batch(0, 1, 1, 18, { term: 1, vote: 7, commit: 18 }, 512 * 1024)], note);
      lab.wait(() => outcomes.length === 1);
      expect(wal.stats.framesWritten).toBe(2);
      wal.append([batch(0, 1, 19, 19, null, 9 * 1024 * 1024)], note);
      lab.wait(() => outcomes.length === 2);
      expect(outcomes).toEqual([null, null]);
      expect(wal.stats.framesWritten).toBe(3);
      lab.kill();
      const { wal: again } = lab.open();
      expect(again.groupLog(0).lastIndex()).toBe(19);
      expect(again.groupLog(0).entries(19, 20, 1)[0]?.data.length).toBe(9 * 1024 * 1024);
    } finally {
      setVerifying(true);
    }
  }, 30_000);
});

describe("a start on a full disk", () => {
  /** A log with `count` entries whose process was killed. What it waits for is not known. */
  function killed(seed: number, count: number): Lab {
    const lab = new Lab(seed, { segmentSizeBytes: 4 * 1024 * 1024 });
    const wal = lab.create();
    for (let i = 1; i <= count; i++)
      lab.append(wal, [batch(0, 1, i, i, { term: 1, vote: 7, commit: i }, 900)]);
    lab.kill();
    return lab;
  }

  it("comes up with a small tail and `full`, takes what may use the reserve, and ends by itself", () => {
    const lab = killed(20, 100);
    lab.machine.disk.quotaBytes = lab.machine.disk.usedBytes + 300 * 1024;
    const { wal } = lab.open();
    expect(wal.space).toBe("full");
    expect(lab.matching(wal)).toBe(100);
    expect(wal.stats.bytesOnDisk).toBeLessThan(300 * 1024);
    const vital = lab.submit(wal, [batch(0, 1, 101, 110)], true);
    lab.wait(() => vital.error !== undefined);
    expect(vital.error).toBeNull();
    lab.machine.disk.quotaBytes = Number.POSITIVE_INFINITY;
    lab.idle(20_000);
    expect(wal.space).toBe("ok");
    lab.append(wal, [batch(0, 1, 111, 140, null, 900)]);
    lab.losePower("lose-all");
    expect(lab.matching(lab.open().wal)).toBe(lab.states.length - 1);
  });

  it("with not one byte left takes the zeros of the old tail", () => {
    const lab = killed(21, 100);
    lab.machine.disk.quotaBytes = lab.machine.disk.usedBytes;
    const { wal } = lab.open();
    expect(wal.space).toBe("full");
    expect(lab.matching(wal)).toBe(100);
    const vital = lab.submit(wal, [batch(0, 1, 101, 101)], true);
    lab.wait(() => vital.error !== undefined);
    expect(vital.error).toBeNull();
    lab.run(wal.close());
    lab.kill();
    expect(lab.matching(lab.open().wal)).toBe(101);
  });

  it("without room for the log itself says so, and leaves nothing behind but what it found", () => {
    const lab = killed(22, 700);
    const path = lab.machine.disk.paths().find((it) => it.startsWith("data/wal/")) as string;
    const held = lab.machine.disk.contents(path);
    // Somebody else has taken what is free, and more.
    lab.machine.disk.quotaBytes = lab.machine.disk.usedBytes / 2;
    for (let attempt = 0; attempt < 3; attempt++) {
      expect(() => lab.open()).toThrow(expect.objectContaining({ code: "ENOSPC" }));
      expect(lab.machine.disk.paths()).not.toContain("data/tmp/next.wal");
      expect(lab.machine.disk.quiet).toBe(true);
    }
    const left = lab.machine.disk.contents(path);
    expect(equalBytes(left, held.subarray(0, left.length))).toBe(true);
    expect(held.subarray(left.length).every((byte) => byte === 0)).toBe(true);
    lab.machine.disk.quotaBytes = Number.POSITIVE_INFINITY;
    expect(lab.matching(lab.open().wal)).toBe(700);
  });

  it("uses the room of what an earlier attempt has left", () => {
    const lab = killed(23, 100);
    lab.writeFile("data/tmp/next.wal", new Uint8Array(500 * 1024));
    lab.writeFile("data/tmp/VOTE", new Uint8Array(600 * 1024));
    lab.machine.disk.quotaBytes = lab.machine.disk.usedBytes;
    const { wal } = lab.open();
    expect(wal.space).toBe("ok");
    expect(lab.matching(wal)).toBe(100);
  });

  it("without room for a new manifest goes on with the old one", () => {
    const lab = killed(24, 20);
    lab.machine.disk.inject({ operation: "write", path: "data/tmp/MANIFEST", error: "ENOSPC" });
    const { wal } = lab.open();
    expect(lab.matching(wal)).toBe(20);
    lab.run(wal.close());
    expect(lab.run(verifyWal(lab.env.files, "data"))).toMatchObject({
      manifest: "ok",
      durableLsn: wal.durableLsn,
    });
  });

  it("leaves nothing of a tail whose writing failed", () => {
    const lab = killed(25, 20);
    lab.machine.disk.inject({ operation: "write", path: "data/tmp/next.wal", error: "EIO" });
    expect(() => lab.open()).toThrow(expect.objectContaining({ code: "EIO" }));
    expect(lab.machine.disk.paths()).not.toContain("data/tmp/next.wal");
    expect(lab.machine.disk.quiet).toBe(true);
    expect(lab.matching(lab.open().wal)).toBe(20);
  });

  it("a log that cannot be created leaves neither a file nor a handle", () => {
    const lab = new Lab(26, { segmentSizeBytes: 4 * 1024 * 1024 });
    lab.machine.disk.quotaBytes = 200_000;
    expect(() => lab.create()).toThrow(expect.objectContaining({ code: "ENOSPC" }));
    expect(lab.machine.disk.usedBytes).toBe(0);
    expect(lab.machine.disk.quiet).toBe(true);
    lab.machine.disk.quotaBytes = Number.POSITIVE_INFINITY;
    lab.append(lab.create(), [batch(0, 1, 1, 1)]);
  });
});

describe("a log that fails, at whichever operation of its appends and rolls", () => {
  for (const operation of ["write", "rename", "syncDir"] as const) {
    it(`holds no file once it is closed: ${operation}`, () => {
      let failures = 0;
      for (let skip = 0; ; skip++) {
        const lab = new Lab(27, { segmentSizeBytes: 4096 });
        const wal = lab.create();
        const fault = lab.machine.disk.inject({
          operation,
          path: (name) => /\.wal$|\/wal$/.test(name),
          error: "EIO",
          skip,
        });
        for (let i = 1; i <= 14; i++) {
          wal.append([batch(0, 1, i, i, null, 600)], () => {});
          if (i % 3 === 0) lab.idle(20);
          // So much is on its way at once that a failure meets all of it at any place.
          if (i === 9)
            wal.release(0, { appliedIndex: 8, appliedTerm: 1, olderAppliedIndex: 8 }, () => {});
          if (i === 9) lab.idle((skip % 7) / 10);
        }
        lab.idle(100);
        if (fault.struck === 0) break;
        if (wal.failed !== null) failures++;
        lab.run(wal.close());
        expect(lab.machine.disk.quiet, `${operation} after ${skip} others`).toBe(true);
      }
      expect(failures).toBeGreaterThan(2);
    });
  }
});

describe("a refused start", () => {
  it("closes every file that it opened, whichever segment's header is damaged, and however", () => {
    const lab = new Lab(30, { segmentSizeBytes: 4096 });
    const wal = lab.create();
    for (let i = 1; i <= 12; i++) lab.append(wal, [batch(0, 1, i, i, null, 600)]);
    lab.run(wal.close());
    lab.machine.kill();
    const paths = lab.machine.disk.paths().filter((path) => path.startsWith("data/wal/"));
    expect(paths.length).toBeGreaterThan(3);
    for (const path of paths) {
      for (const offset of [0, 9, 17, 21, 30, 75, 85, 200]) {
        const machine = lab.machine.fork();
        machine.disk.flipBit(path, offset, 1);
        const env = machine.boot();
        expect(() => lab.runOn(machine, Wal.open(env, lab.options, IDENTITY, []))).toThrow(
          HarmonyError,
        );
        expect(machine.disk.quiet, `${path} at ${offset}`).toBe(true);
      }
    }
  });
});
