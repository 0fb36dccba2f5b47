/** The interval mode: what is acknowledged before it is durable, and what is never. */
import { describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import { runIo } from "../env/index.ts";
import { runIoNow } from "../env/sim/index.ts";
import type { HardState } from "../raft/index.ts";
import { Wal } from "./index.ts";
import { decodeManifest } from "./manifest.ts";
import { crashEverywhere } from "./testing/crash.ts";
import { batch, IDENTITY, Lab } from "./testing/lab.ts";

setVerifying(true);

/** `WAL_SWEEP=20 npx vitest run src/wal/interval.test.ts` tries so many times as much. */
const SWEEP = Number(process.env["WAL_SWEEP"] ?? 1);
const TIMEOUT_MS = 20_000 * SWEEP;
const INTERVAL_MS = 50;
const INTERVAL = { fsyncIntervalMs: INTERVAL_MS };

function state(term: number, commit: number): HardState {
  return { term, vote: 7, commit };
}

/** The files of the log that were synced, in order. */
function syncsOf(lab: Lab): string[] {
  const syncs: string[] = [];
  lab.machine.disk.observer = (moment, operation): void => {
    if (moment === "after" && operation.kind === "sync") syncs.push(operation.path);
  };
  return syncs;
}

describe("in the interval mode", () => {
  it("appends are done when they are written, and one sync follows for all of them", () => {
    const lab = new Lab(1, { ...INTERVAL, segmentSizeBytes: 64 * 1024 });
    const wal = lab.create();
    const begin = wal.durableLsn;
    const syncs = syncsOf(lab);
    const startMs = lab.machine.scheduler.nowMs;
    for (let i = 1; i <= 20; i++) lab.append(wal, [batch(0, 1, i, i)]);
    const writtenMs = lab.machine.scheduler.nowMs;
    expect(writtenMs - startMs).toBeLessThan(INTERVAL_MS);
    expect([wal.durableLsn, wal.isSynced, syncs.length]).toEqual([begin, false, 0]);
    expect(wal.groupLog(0).entries(1, 21, Number.POSITIVE_INFINITY).length).toBe(20);
    lab.wait(() => wal.isSynced);
    expect(lab.machine.scheduler.nowMs - startMs).toBeLessThan(INTERVAL_MS + 20);
    expect(syncs.length).toBe(1);
    wal.invariants();
  });

  it("whatever was acknowledged an interval and a sync ago is durable, however the load comes", () => {
    for (let seed = 1; seed <= 5; seed++) {
      const lab = new Lab(seed, INTERVAL);
      const wal = lab.create();
      const acknowledgedMs: number[] = [0];
      let syncMs = 0;
      let begunMs = 0;
      lab.machine.disk.observer = (moment, operation): void => {
        if (operation.kind !== "sync") return;
        if (moment === "before") begunMs = lab.machine.scheduler.nowMs;
        else syncMs = Math.max(syncMs, lab.machine.scheduler.nowMs - begunMs);
      };
      for (let i = 1; i <= 120; i++) {
        lab.append(wal, [batch(0, 1, i, i, null, 40 + ((i * seed) % 200))]);
        const nowMs = lab.machine.scheduler.nowMs;
        acknowledgedMs.push(nowMs);
        const oldest = acknowledgedMs[lab.durable + 1];
        // An operation takes up to a few milliseconds on this disk, a roll a dozen of operations.
        if (oldest !== undefined) expect(nowMs - oldest).toBeLessThan(INTERVAL_MS + 40);
        if (i % 7 === 0) lab.idle((i * seed) % 60);
      }
    }
  });

  it("a new term, a vote and what came before them are durable before they are done", () => {
    const lab = new Lab(2, INTERVAL);
    const wal = lab.create();
    lab.append(wal, [batch(0, 1, 1, 3, state(1, 0))]);
    expect(wal.isSynced).toBe(true);
    lab.append(wal, [batch(0, 1, 4, 5, state(1, 3))]);
    expect(wal.isSynced).toBe(false);
    lab.append(wal, [{ group: 0, entries: [], hardState: state(2, 3) }]);
    expect(wal.isSynced).toBe(true);
    lab.losePower("lose-all");
    const { wal: again } = lab.open();
    expect(lab.matching(again)).toBe(3);
  });

  it("waits with a vote for a sync of its own when one is under way that began before", () => {
    const lab = new Lab(3, INTERVAL);
    const wal = lab.create();
    lab.append(wal, [batch(0, 1, 1, 1, state(1, 0))]);
    const fault = lab.machine.disk.inject({ operation: "sync", delayMs: 30 });
    lab.append(wal, [batch(0, 1, 2, 2)]);
    const syncs: string[] = [];
    lab.machine.disk.observer = (moment, { kind }): void => {
      if (moment === "before" && kind === "sync") syncs.push("performed");
    };
    lab.idle(INTERVAL_MS + 5);
    expect(wal.isSynced).toBe(false);
    const vote = lab.submit(wal, [{ group: 0, entries: [], hardState: state(2, 1) }]);
    lab.wait(() => vote.error !== undefined);
    fault.remove();
    expect([vote.error, wal.isSynced, syncs.length]).toEqual([null, true, 2]);
    lab.losePower("lose-all");
    expect(lab.matching(lab.open().wal)).toBe(3);
  });

  it("`sync` returns when everything acknowledged is durable, also under load", () => {
    const lab = new Lab(4, INTERVAL);
    const wal = lab.create();
    let next = 1;
    let synced = 0;
    const push = (): void => {
      const index = next++;
      const outcome = lab.submit(wal, [batch(0, 1, index, index)]);
      lab.wait(() => outcome.error !== undefined);
    };
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 3; i++) push();
      for (let i = 0; i < 4; i++) lab.submit(wal, [batch(0, 1, next, next++)]);
      lab.run(wal.sync());
      synced++;
      expect([wal.isSynced, lab.durable]).toEqual([true, lab.acknowledged]);
    }
    expect(synced).toBe(10);
    const outcome = lab.submit(wal, [batch(0, 1, next, next)]);
    lab.wait(() => outcome.error !== undefined);
    expect(lab.acknowledged).toBe(lab.states.length - 1);
  });

  it("`sync` returns although the next append always comes at once", () => {
    const lab = new Lab(9, { ...INTERVAL, segmentSizeBytes: 1024 * 1024 });
    const wal = lab.create();
    let next = 1;
    let isOver = false;
    const go = (): void => {
      if (isOver) return;
      const index = next++;
      wal.append([batch(0, 1, index, index)], go);
    };
    go();
    go();
    // Longer than a frame takes, so that some always come while a sync runs.
    lab.machine.disk.inject({ operation: "sync", delayMs: 10, times: Number.POSITIVE_INFINITY });
    lab.idle(5);
    let isSynced = false;
    runIo(wal.sync(), () => {
      isSynced = true;
    });
    lab.idle(40);
    isOver = true;
    expect(isSynced).toBe(true);
  });

  it("what is written while a sync runs has a sync of its own, if nothing else comes", () => {
    const lab = new Lab(10, { ...INTERVAL, markAfterMs: 60_000 });
    const wal = lab.create();
    lab.append(wal, [batch(0, 1, 1, 1)]);
    lab.machine.disk.inject({ operation: "sync", delayMs: 30 });
    lab.idle(INTERVAL_MS + 2);
    lab.append(wal, [batch(0, 1, 2, 2)]);
    lab.idle(35);
    expect([wal.isSynced, lab.durable]).toEqual([false, 1]);
    lab.idle(INTERVAL_MS);
    expect(wal.isSynced).toBe(true);
  });

  it("a manifest says nothing that a power loss at its writing takes back", () => {
    const lab = new Lab(11, INTERVAL);
    const wal = lab.create();
    let manifests = 0;
    lab.machine.disk.observer = (moment, operation): void => {
      if (
        moment !== "before" ||
        operation.kind !== "write" ||
        operation.path !== "data/tmp/MANIFEST"
      )
        return;
      const manifest = decodeManifest(operation.bytes, operation.path);
      if (manifest === null) return;
      manifests++;
      const fork = lab.machine.fork();
      fork.losePower("lose-all");
      const open = Wal.open(fork.boot(), lab.options, IDENTITY, lab.starts);
      const { wal: again } = runIoNow(fork, open);
      for (const { group, commit, appliedIndex, truncatedIndex } of manifest.groups)
        expect(again.groupLog(group).lastIndex()).toBeGreaterThanOrEqual(
          Math.max(commit, appliedIndex, truncatedIndex),
        );
    };
    for (let i = 1; i <= 40; i++) {
      lab.submit(wal, [batch(0, 1, i, i, state(1, i), 150)]);
      if (i % 3 === 0) lab.wait(() => lab.acknowledged === i);
      if (i % 12 === 0) lab.release(wal, 0, i - 5);
    }
    lab.wait(() => lab.acknowledged === 40);
    lab.machine.disk.observer = undefined;
    expect(manifests).toBeGreaterThan(5);
  });

  it("a sync that fails is the end: nothing is acknowledged any more, nothing is retried", () => {
    const lab = new Lab(5, INTERVAL);
    const wal = lab.create();
    lab.append(wal, [batch(0, 1, 1, 1)]);
    lab.machine.disk.inject({ operation: "sync", error: "EIO", times: 1 });
    lab.wait(() => wal.failed !== null);
    expect(wal.failed?.code).toBe("STOPPED");
    const after = lab.submit(wal, [batch(0, 1, 2, 2)]);
    lab.wait(() => after.error !== undefined);
    expect(after.error?.code).toBe("STOPPED");
    const syncs = syncsOf(lab);
    let release: string | undefined;
    wal.release(0, { appliedIndex: 0, appliedTerm: 0, olderAppliedIndex: 0 }, (error) => {
      release = error?.code;
    });
    lab.wait(() => release !== undefined);
    expect(() => lab.run(wal.sync())).toThrow();
    lab.run(wal.close());
    expect([release, syncs]).toEqual(["STOPPED", []]);
  });

  it("a close syncs, and the next start finds a log that was closed in order", () => {
    const lab = new Lab(6, INTERVAL);
    const wal = lab.create();
    lab.append(wal, [batch(0, 1, 1, 5)]);
    expect(wal.isSynced).toBe(false);
    lab.run(wal.close());
    lab.losePower("lose-all");
    const { wal: again, recovery } = lab.open();
    expect([lab.matching(again), recovery.unclean]).toEqual([1, false]);
  });

  it("an idle log proves its end as ever, once it is synced", () => {
    const lab = new Lab(7, {
      fsyncIntervalMs: 1000,
      markAfterMs: 300,
      segmentSizeBytes: 64 * 1024,
    });
    const wal = lab.create();
    lab.append(wal, [batch(0, 1, 1, 5)]);
    lab.idle(500);
    expect(wal.isSynced).toBe(true);
    lab.kill();
    const { recovery } = lab.open();
    expect([recovery.unclean, recovery.tornBytesCut]).toEqual([false, 0]);
  });

  it("old entries are read back from frames that only the page cache holds", () => {
    const lab = new Lab(8, { ...INTERVAL, segmentSizeBytes: 64 * 1024, cacheBytes: 100 });
    const wal = lab.create();
    for (let i = 1; i <= 10; i++) lab.append(wal, [batch(0, 1, i, i, null, 300)]);
    expect(wal.isSynced).toBe(false);
    const found = wal.groupLog(0).entries(1, 11, Number.POSITIVE_INFINITY);
    expect(found.map((entry) => entry.index)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });
});

describe("a crash at every file operation in the interval mode", () => {
  it(
    "leaves with the process everything, and with the power what was synced, and no append in half",
    () => {
      const counts = crashEverywhere({
        seed: 11,
        options: INTERVAL,
        imagesMax: 32 * SWEEP,
        nestedImagesMax: SWEEP,
        run: (lab) => {
          const wal = lab.create();
          lab.append(wal, [batch(0, 1, 1, 2, state(1, 1))]);
          for (let i = 3; i <= 6; i++) lab.append(wal, [batch(0, 1, i, i, state(1, i - 1), 300)]);
          lab.idle(INTERVAL_MS + 20);
          lab.append(wal, [batch(0, 1, 7, 9, null, 100), batch(5, 2, 1, 1)]);
          lab.append(wal, [batch(0, 2, 9, 9, state(2, 6))]);
        },
      });
      expect(counts.points).toBeGreaterThan(15);
    },
    TIMEOUT_MS,
  );

  it(
    "also while segments roll, checkpoints let them go, and the log is closed and opened",
    () => {
      const counts = crashEverywhere({
        seed: 12,
        options: INTERVAL,
        imagesMax: 6 * SWEEP,
        nestedImagesMax: SWEEP - 1,
        run: (lab) => {
          let wal = lab.create();
          lab.append(wal, [{ group: 9, entries: [], hardState: { term: 4, vote: 3, commit: 0 } }]);
          for (let i = 1; i <= 12; i++) {
            lab.append(wal, [batch(0, 1, i, i, null, 900)]);
            if (i % 4 === 0) lab.release(wal, 0, i);
            if (i % 5 === 0) lab.idle(20);
          }
          lab.kill();
          ({ wal } = lab.open());
          lab.append(wal, [batch(0, 1, 13, 15, null, 400)]);
          lab.run(wal.close());
        },
      });
      expect(counts.points).toBeGreaterThan(60);
    },
    TIMEOUT_MS,
  );
});
