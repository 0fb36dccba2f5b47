import { describe, expect, it } from "vitest";
import { type Io, runIo } from "../src/env/index.ts";
import { SimEnv } from "../src/env/sim/index.ts";
import { Marks } from "./marks.ts";
import { drive } from "./node-driver.ts";
import { proofOf } from "./storage-proof.ts";
import type { StorageStep } from "./storage-steps.ts";
import { STORAGE_WORLD } from "./storage-world.ts";
import { closeStorage, createStorage, type Storage } from "./storage.ts";
import { Trace } from "./trace.ts";

const OPTIONS = { segmentSizeBytes: 16_384, groups: [0, 1], cacheBytes: 0 };

function finished<T>(machine: SimEnv, what: string, io: Io<T>): T {
  const outcome: { value?: T; isOver: boolean } = { isOver: false };
  runIo(io, (error, value) => {
    if (error !== null) throw error as Error;
    outcome.value = value as T;
    outcome.isOver = true;
  });
  drive(machine, what, () => outcome.isOver);
  return outcome.value as T;
}

/** Where the log ends after each of three appends. */
function appendThree(machine: SimEnv, { wal }: Storage): number[] {
  return [1, 2, 3].map((index) => {
    let isOver = false;
    const entry = { index, term: 1, type: 0, data: new Uint8Array(700) } as const;
    const hardState = { term: 1, vote: 1, commit: index };
    wal.append([{ group: 0, entries: [entry], hardState }], () => (isOver = true));
    drive(machine, "an append", () => isOver);
    return wal.durableLsn;
  });
}

describe("what the bytes of a log prove", () => {
  it("is all but the last batch, and after a close everything", () => {
    const machine = new SimEnv({ seed: 1 });
    const storage = finished(machine, "a start", createStorage(machine.boot(), OPTIONS));
    const [first, second, third] = appendThree(machine, storage) as [number, number, number];
    expect(proofOf(machine)?.provenLsn).toBe(second);

    const rotten = machine.fork();
    const { path, firstLsn } = proofOf(rotten) as { path: string; firstLsn: number };
    rotten.disk.flipBit(path, second - firstLsn + 30);
    expect(proofOf(rotten)?.provenLsn).toBe(first);
    rotten.disk.flipBit(path, 30);
    expect(proofOf(rotten)?.provenLsn).toBe(Number.POSITIVE_INFINITY);

    finished(machine, "a close", closeStorage(storage));
    expect(proofOf(machine)?.provenLsn).toBeGreaterThanOrEqual(third);
  });

  it("decides what damage after a crash may cost: the batch behind it, when it is damaged itself", () => {
    const marks = new Marks();
    const drawn = STORAGE_WORLD.drawOptions(1, "default");
    const options = { ...drawn, storage: OPTIONS, keys: 3, large: false, shortWritePercent: 0 };
    const play = STORAGE_WORLD.begin(1, options, new Trace(), marks);
    const append: StorageStep = {
      do: "append",
      parts: [
        {
          group: 0,
          entries: [{ isEmpty: false, ops: [{ tree: 0, key: 0, size: 20 }] }],
          replaces: 0,
          terms: 0,
          vote: 1,
          commitLag: 0,
          withHardState: false,
        },
      ],
      reserve: false,
      window: 0,
    };
    const crash: StorageStep = { do: "crash", mode: null, seed: 1 };
    for (const step of [{ do: "open", seed: 1 } as const, append, append, append, crash])
      play.perform(step);
    for (let file = 0; file < 5; file++)
      for (let offset = 0; offset < 3500; offset += 70)
        for (const kind of ["bit", "sector"] as const)
          play.perform({ do: "damage", kind, file, offset, seed: offset });
    const count = (name: string): number => marks.hits.get(`storage: ${name}`) ?? 0;
    expect(count("damage after a crash")).toBe(500);
    expect(count("damage refused")).toBeGreaterThan(20);
    expect(count("damage that must not be refused")).toBeGreaterThan(20);
    expect(count("unproven batch lost to damage")).toBeGreaterThan(5);
    expect(count("damage refused") + count("damage harmless")).toBe(500);
  });
});
