import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import { type Env, type Io, runIo } from "../env/index.ts";
import { SimEnv } from "../env/sim/index.ts";
import { nodeEnv } from "../platform/index.ts";
import { logStorageSuite, type LogStorageHarness } from "../raft/log-storage.suite.ts";
import { Wal, type WalOptions } from "./index.ts";
import { batch, entries, IDENTITY, Lab } from "./testing/lab.ts";

setVerifying(true);

/** The group log of a log on `env`, opened again after each change when `cold`, so that all is read from disk. */
async function harness(
  env: Env,
  options: WalOptions,
  run: (condition: () => boolean) => Promise<void>,
  cold: boolean,
): Promise<LogStorageHarness> {
  const drive = async <T>(io: Io<T>): Promise<T> => {
    let outcome: { error: unknown; value: T | undefined } | undefined;
    runIo(io, (error, value) => {
      outcome = { error, value };
    });
    await run(() => outcome !== undefined);
    if (outcome?.error !== null) throw outcome?.error as Error;
    return outcome.value as T;
  };
  let wal = await drive(Wal.create(env, options, IDENTITY));
  let older = 0;
  let applied = 0;
  const reopen = async (): Promise<void> => {
    if (!cold) return;
    await drive(wal.close());
    const appliedTerm = wal.groupLog(0).term(applied) as number;
    const starts = [{ group: 0, appliedIndex: applied, appliedTerm, olderAppliedIndex: older }];
    ({ wal } = await drive(Wal.open(env, options, IDENTITY, starts)));
  };
  return {
    get storage() {
      return wal.groupLog(0);
    },
    async append(list) {
      let ended: unknown;
      wal.append([{ group: 0, entries: list, hardState: null }], (error) => {
        ended = error ?? "durable";
      });
      await run(() => ended !== undefined);
      expect(ended).toBe("durable");
      await reopen();
    },
    async compact(index) {
      // The log keeps what the older of two checkpoints lacks: two at one place let everything up to it go.
      for (let i = 0; i < 2; i++) {
        older = applied;
        applied = index;
        let ended: unknown;
        const appliedTerm = wal.groupLog(0).term(index) as number;
        wal.release(0, { appliedIndex: index, appliedTerm, olderAppliedIndex: older }, (error) => {
          ended = error ?? "released";
        });
        await run(() => ended !== undefined);
        expect(ended).toBe("released");
      }
      await reopen();
    },
    async restore(meta) {
      const snapshot = {
        meta,
        fileName: `0/${meta.term}-${meta.index}.snap`,
        sizeBytes: 1,
        sha256: new Uint8Array(32),
        installed: true,
      };
      let ended: unknown;
      wal.append([{ group: 0, snapshot, entries: [], hardState: null }], (error) => {
        ended = error ?? "durable";
      });
      await run(() => ended !== undefined);
      expect(ended).toBe("durable");
      older = applied = meta.index;
      await reopen();
    },
    async close() {
      await drive(wal.close());
    },
  };
}

function simulated(options: Partial<WalOptions>, cold: boolean): Promise<LogStorageHarness> {
  const machine = new SimEnv({ seed: 5 });
  const env = machine.boot();
  const run = (condition: () => boolean): Promise<void> => {
    while (!condition()) expect(machine.scheduler.step()).toBe(true);
    return Promise.resolve();
  };
  return harness(env, { directory: "", ...options }, run, cold);
}

describe("the log of a group as Raft's storage", () => {
  describe("in memory", () => logStorageSuite(() => simulated({ segmentSizeBytes: 4096 }, false)));
  describe("with nothing cached", () =>
    logStorageSuite(() => simulated({ segmentSizeBytes: 4096, cacheBytes: 0 }, false)));
  describe("opened again after each change", () =>
    logStorageSuite(() => simulated({ segmentSizeBytes: 4096 }, true)));
  describe("on files of this machine", () => {
    logStorageSuite(async () => {
      const directory = mkdtempSync(join(tmpdir(), "wal-"));
      const run = async (condition: () => boolean): Promise<void> => {
        while (!condition()) await new Promise((resolve) => setImmediate(resolve));
      };
      const inner = await harness(
        nodeEnv({ log: () => {} }),
        { directory, segmentSizeBytes: 8192 },
        run,
        true,
      );
      return {
        get storage() {
          return inner.storage;
        },
        append: (list) => inner.append(list),
        compact: (index) => inner.compact(index),
        restore: (meta) => inner.restore(meta),
        async close() {
          await inner.close?.();
          rmSync(directory, { recursive: true });
        },
      };
    });
  });
});

describe("reading back", () => {
  it("old entries come from disk while recent ones come from memory", () => {
    const lab = new Lab(1, { segmentSizeBytes: 65536, cacheBytes: 4000 });
    const wal = lab.create();
    for (let i = 1; i <= 200; i += 5)
      lab.append(wal, [batch(0, 1, i, i + 4, null, 100), batch(1, 2, i, i + 4, null, 50)]);
    const reads = lab.machine.disk.inject({ operation: "read" });
    wal.groupLog(0).entries(198, 201, 1e6);
    expect(reads.matched).toBe(0);
    expect(lab.matching(wal)).toBe(40);
    expect(reads.matched).toBeGreaterThan(0);
  });

  it("what is dropped from memory comes from disk, and what came after it does not", () => {
    const lab = new Lab(5, { segmentSizeBytes: 65536, cacheBytes: 1e6 });
    const wal = lab.create();
    for (let i = 1; i <= 20; i++) lab.append(wal, [batch(0, 1, i, i)]);
    wal.dropCached(0, 15);
    const reads = lab.machine.disk.inject({ operation: "read" });
    expect(wal.groupLog(0).entries(16, 21, 1e6)).toHaveLength(5);
    expect(reads.matched).toBe(0);
    expect(wal.groupLog(0).entries(10, 21, 1e6)).toHaveLength(11);
    expect(reads.matched).toBe(1);
  });

  it("a slice of many frames takes few reads", () => {
    const lab = new Lab(2, { segmentSizeBytes: 1 << 20, cacheBytes: 0 });
    const wal = lab.create();
    for (let i = 1; i <= 300; i++) lab.append(wal, [batch(0, 1, i, i)]);
    const reads = lab.machine.disk.inject({ operation: "read" });
    expect(wal.groupLog(0).entries(1, 301, 1e6)).toHaveLength(300);
    expect(reads.matched).toBe(1);
  });

  it("damage that comes after the start is seen when it is read, with file and offset", () => {
    const lab = new Lab(3, { segmentSizeBytes: 65536, cacheBytes: 0 });
    const wal = lab.create();
    for (let i = 1; i <= 4; i++) lab.append(wal, [batch(0, 1, i, i, null, 300)]);
    const path = lab.machine.disk.paths().find((it) => it.endsWith(".wal")) as string;
    lab.machine.disk.flipBit(path, 512 + 512 + 200);
    expect(wal.groupLog(0).entries(1, 2, 1)).toHaveLength(1);
    expect(() => wal.groupLog(0).entries(1, 4, 1e6)).toThrow(
      expect.objectContaining({
        code: "CORRUPT",
        damage: expect.objectContaining({ file: path, offset: 1024 }),
      }),
    );
  });

  it("a frame may hold an entry and what overwrote it", () => {
    const lab = new Lab(4, { segmentSizeBytes: 65536, cacheBytes: 0 });
    const wal = lab.create();
    lab.submit(wal, [batch(0, 1, 1, 1)]);
    // These three share a frame, because the first one is on its way.
    lab.submit(wal, [batch(0, 1, 2, 5)]);
    lab.submit(wal, [batch(0, 2, 3, 4)]);
    const last = lab.submit(wal, [batch(0, 3, 4, 4)]);
    lab.wait(() => last.error !== undefined);
    expect(wal.stats.framesWritten).toBe(2);
    expect(lab.matching(wal)).toBe(4);
    lab.kill();
    expect(lab.matching(lab.open().wal)).toBe(4);
  });

  it("an installed snapshot takes the place of the log, over a restart too", () => {
    const lab = new Lab(5);
    const wal = lab.create();
    lab.append(wal, [batch(0, 1, 1, 3)]);
    const snapshot = {
      meta: {
        index: 50,
        term: 4,
        confState: {
          voters: [1, 2],
          votersOutgoing: [3],
          learners: [],
          learnersNext: [4],
          autoLeave: true,
        },
      },
      fileName: "0/4-50.snap",
      sizeBytes: 12345,
      sha256: new Uint8Array(32).fill(9),
      installed: true,
    };
    let done = false;
    wal.append(
      [
        {
          group: 0,
          snapshot,
          entries: entries(51, 52, 4),
          hardState: { term: 4, vote: 0, commit: 51 },
        },
      ],
      (error) => {
        done = error === null;
      },
    );
    lab.wait(() => done);
    for (let round = 0; round < 2; round++) {
      const { wal: again } = round === 0 ? { wal } : (lab.kill(), lab.open());
      const log = again.groupLog(0);
      expect([log.firstIndex(), log.lastIndex(), log.term(50), log.term(49)]).toEqual([
        51,
        52,
        4,
        "compacted",
      ]);
      expect(again.snapshot(0)).toEqual(snapshot);
      expect(again.hardState(0)).toEqual({ term: 4, vote: 0, commit: 51 });
    }
  });
});
