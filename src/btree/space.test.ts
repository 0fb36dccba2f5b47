/** What a data file takes: pages come back, the file shrinks, and nothing is lost on the way. */
import { describe, expect, it, vi } from "vitest";
import { Random, setVerifying, utf8 } from "../base/index.ts";
import { runIoNow, SimEnv } from "../env/sim/index.ts";
import { entriesOf, filled, fingerprint, keyOf } from "./engine.suite.ts";
import { BTreeEngine, checkDataFile, type Engine } from "./index.ts";

setVerifying(true);
// Against hanging, not against a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const PATH = "data.hdb";
const OPTIONS = { fileId: utf8("file"), slabSizeBytes: 256 * 1024 };
const PAGE = 4096;

class Bench {
  readonly machine: SimEnv = new SimEnv({ seed: 1 });
  engine: BTreeEngine;
  #index = 0;

  constructor() {
    this.engine = this.#open();
  }

  #open(): BTreeEngine {
    const io = BTreeEngine.open(this.machine.boot().files, PATH, OPTIONS);
    return runIoNow(this.machine, io).engine;
  }

  checkpoint(): void {
    this.#index = (this.engine.checkpoints.newest?.appliedIndex ?? this.#index) + 1;
    const meta = { appliedIndex: this.#index, appliedTerm: 1, walLsn: 0, payload: utf8("p") };
    runIoNow(this.machine, this.engine.checkpoint(meta));
  }

  reopen(): void {
    runIoNow(this.machine, this.engine.close());
    this.machine.losePower("lose-all");
    this.engine = this.#open();
  }

  get fileBytes(): number {
    return this.machine.disk.contents(PATH).length;
  }
}

function state(engine: Engine): string {
  return fingerprint(entriesOf(engine.tree(0)));
}

describe("the space of a data file", () => {
  it("does not grow under overwrites, with and without restarts", () => {
    const bench = new Bench();
    const random = new Random(1);
    const sizes: number[] = [];
    for (let round = 0; round < 24; round++) {
      for (let i = 0; i < 150; i++) {
        const size = random.percent(5) ? 10_000 : 300;
        bench.engine.tree(0).put(keyOf(random.below(300)), filled(size, round));
      }
      bench.checkpoint();
      if (round % 5 === 4) bench.reopen();
      bench.engine.invariants();
      sizes.push(bench.engine.stats.bytesTotal);
    }
    const { bytesInUse, bytesTotal, dirtyBytes } = bench.engine.stats;
    expect(dirtyBytes).toBe(0);
    expect(bytesTotal).toBe(bench.fileBytes);
    // The present, the older checkpoint, and what the next one writes before the older goes.
    expect(bytesTotal).toBeLessThan(4 * bytesInUse);
    expect(Math.max(...sizes.slice(12))).toBeLessThanOrEqual(1.3 * Math.max(...sizes.slice(6, 12)));
  });

  it("takes in memory what is in use, and no more after a checkpoint that all pages changed under", () => {
    const bench = new Bench();
    const tree = bench.engine.tree(0);
    const write = (round: number): void => {
      for (let i = 0; i < 6000; i++) tree.put(utf8(`key ${(i * 7919) % 6000}`), filled(700, round));
    };
    write(0);
    bench.checkpoint();
    // Read by somebody else, so that every page that changes takes a place of its own.
    const version = bench.engine.pin();
    write(1);
    version.release();
    const { memoryBytes, bytesInUse } = bench.engine.stats;
    expect(memoryBytes).toBeGreaterThan(1.8 * bytesInUse);
    // What the next one may need is known after it; what it did not need goes with the one behind it.
    for (let round = 0; round < 3; round++) bench.checkpoint();
    const spare = 2 * OPTIONS.slabSizeBytes;
    expect(bench.engine.stats.memoryBytes).toBeLessThan(1.1 * bytesInUse + spare);
    bench.engine.invariants();
    const before = bench.engine.stats.memoryBytes;
    write(2);
    // On disk and seen by nobody: each page keeps its place.
    expect(bench.engine.stats.memoryBytes).toBe(before);
    bench.reopen();
    expect(bench.engine.tree(0).count).toBe(6000);
  });

  it("is four fifths full when keys come at random, and full when they ascend", () => {
    const random = new Random(5);
    const fill = (key: (i: number) => Uint8Array): number => {
      const { engine } = new Bench();
      const tree = engine.tree(0);
      for (let i = 0; i < 20_000; i++) tree.put(key(i), filled(100, i));
      engine.invariants();
      // A cell and its slot, header and trailer of a page not counted.
      return (20_000 * (100 + 16 + 4 + 6)) / engine.stats.bytesInUse;
    };
    expect(fill(() => random.bytes(16))).toBeGreaterThan(0.78);
    expect(fill((i) => utf8(`key ${String(i).padStart(12, "0")}`))).toBeGreaterThan(0.94);
  });

  it("is given back when most keys are deleted, though the rest is spread over the file", () => {
    const bench = new Bench();
    const tree = bench.engine.tree(0);
    for (let i = 0; i < 6000; i++) {
      tree.put(utf8(`key ${i}`), filled(i % 40 === 0 ? 9000 : 700, i));
    }
    bench.checkpoint();
    const full = bench.fileBytes;
    for (let i = 0; i < 6000; i++) {
      if (i % 20 !== 0) tree.delete(utf8(`key ${i}`));
    }
    const kept = state(bench.engine);
    const version = bench.engine.pin();
    for (let round = 0; round < 16; round++) {
      bench.checkpoint();
      if (round === 8) version.release();
      bench.engine.invariants();
    }
    expect(bench.engine.stats.bytesTotal).toBe(bench.fileBytes);
    expect(bench.fileBytes).toBeLessThan(full / 2);
    expect(bench.fileBytes).toBeLessThan(1.5 * bench.engine.stats.bytesInUse);
    expect(state(bench.engine)).toBe(kept);
    bench.reopen();
    expect(state(bench.engine)).toBe(kept);
    bench.engine.invariants();
    runIoNow(bench.machine, bench.engine.close());
    bench.machine.kill();
    const report = runIoNow(bench.machine, checkDataFile(bench.machine.boot().files, PATH));
    expect(report.damage).toEqual([]);
    expect(report.checkpoints[0]?.counts[0]).toBe(300);
  });

  it("an empty tree takes no page, and an unchanged state costs one meta", () => {
    const bench = new Bench();
    bench.checkpoint();
    expect(bench.fileBytes).toBe(2 * PAGE);
    for (let i = 0; i < 100; i++) bench.engine.tree(5).put(keyOf(i), filled(50, i));
    bench.checkpoint();
    const writes = bench.machine.disk.inject({ operation: "write", skip: 1000 });
    bench.checkpoint();
    bench.checkpoint();
    expect(writes.matched).toBe(2);
    for (let i = 0; i < 100; i++) bench.engine.tree(5).delete(keyOf(i));
    expect(bench.engine.stats.dirtyBytes).toBe(0);
  });

  it("a checkpoint costs what changed, not what is stored", () => {
    const bench = new Bench();
    for (let i = 0; i < 3000; i++) bench.engine.tree(0).put(utf8(`key ${i}`), filled(300, i));
    bench.checkpoint();
    bench.engine.tree(0).put(utf8("key 1500"), utf8("changed"));
    // A leaf and the path above it; the map follows when the checkpoint begins.
    expect(bench.engine.stats.dirtyBytes).toBeLessThanOrEqual(3 * PAGE);
    const before = bench.machine.disk.opCount;
    bench.checkpoint();
    expect(bench.machine.disk.opCount - before).toBeLessThan(12);
  });

  it("a start reads the metas and the map, and a get one path", () => {
    const bench = new Bench();
    for (let i = 0; i < 3000; i++) bench.engine.tree(0).put(utf8(`key ${i}`), filled(300, i));
    bench.checkpoint();
    const reads = bench.machine.disk.inject({ operation: "read", skip: 100_000 });
    bench.reopen();
    const atStart = reads.matched;
    expect(atStart).toBeLessThanOrEqual(6);
    expect(bench.engine.tree(0).get(utf8("key 7"))).toEqual(filled(300, 7));
    expect(reads.matched - atStart).toBeLessThanOrEqual(3);
    expect(bench.engine.tree(0).countRange(utf8("key 1"), utf8("key 9"))).toBeGreaterThan(2000);
    expect(reads.matched - atStart).toBeLessThanOrEqual(9);
  });
});
