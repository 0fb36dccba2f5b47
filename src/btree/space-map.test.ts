import { describe, expect, it } from "vitest";
import { assert, Random, utf8 } from "../base/index.ts";
import { type File, openFile } from "../env/index.ts";
import { runIoNow, SimEnv } from "../env/sim/index.ts";
import { writePages } from "./checkpoint.ts";
import { MAP_IDS_PER_PAGE, PAGE_SIZE } from "./layout.ts";
import { firstMeta } from "./meta.ts";
import { PageSet } from "./page-set.ts";
import { Pager } from "./pager.ts";
import { readMap, SpaceMap } from "./space-map.ts";

const PARTS = 6;
const IDS = PARTS * MAP_IDS_PER_PAGE;
const TAG = 7;

/** A file so large that its map has several parts, without the pages that it would hold. */
class Bench {
  readonly machine: SimEnv = new SimEnv({ seed: 1 });
  readonly file: File;
  readonly pager: Pager;
  readonly map: SpaceMap = new SpaceMap();

  constructor() {
    const { files } = this.machine.boot();
    const options = { access: "readwrite", create: "exclusive" } as const;
    this.file = runIoNow(this.machine, openFile(files, "map", options));
    this.pager = new Pager(this.file, TAG, 64 * 1024);
    this.pager.reserveIds(IDS);
    this.pager.freelist.restore(new PageSet(), IDS);
  }

  /** Only ids of this part may be given out. */
  offer(part: number): void {
    const { free, used } = this.pager.freelist;
    for (let id = free.next(0); id >= 0; id = free.next(id)) free.delete(id);
    for (let id = Math.max(2, part * MAP_IDS_PER_PAGE), left = 40; left > 0; id++) {
      if (used.has(id)) continue;
      free.add(id);
      left--;
    }
  }

  use(id: number): void {
    const { freelist } = this.pager;
    freelist.free.delete(id);
    assert(freelist.used.add(id), "the id is not in use yet");
    freelist.changedMapPages.add(Math.floor(id / MAP_IDS_PER_PAGE));
  }

  /** Renews the map, writes it, and reads it back. */
  store(): PageSet {
    this.map.renew(this.pager);
    this.pager.epoch++;
    const { dirty } = this.pager;
    this.pager.dirty = new PageSet();
    runIoNow(this.machine, writePages(this.file, this.pager, dirty));
    const meta = {
      ...firstMeta(2, utf8("file")),
      epoch: this.pager.epoch,
      pageCount: IDS,
      map: [...this.map.lists],
    };
    return runIoNow(this.machine, readMap(this.file, meta, TAG, new Uint8Array(PAGE_SIZE))).used;
  }
}

function members(set: PageSet): number[] {
  const ids: number[] = [];
  for (let id = set.next(0); id >= 0; id = set.next(id + 1)) ids.push(id);
  return ids;
}

describe("the map of pages in use", () => {
  it("has its own pages, wherever they come to lie", () => {
    for (let seed = 0; seed < 20; seed++) {
      const bench = new Bench();
      const random = new Random(seed);
      const { used } = bench.pager.freelist;
      for (let round = 0; round < 6; round++) {
        for (let i = 0; i < 5; i++) {
          const id = 50 + random.below(IDS - 50);
          if (!used.has(id)) bench.use(id);
        }
        const victim = used.next(random.below(IDS));
        if (victim >= 0 && ![...bench.map.pages()].includes(victim)) bench.pager.retire(victim);
        bench.offer(random.below(PARTS));
        const stored = bench.store();
        expect(members(stored)).toEqual(members(used));
        for (const id of bench.map.pages()) expect(used.has(id)).toBe(true);
      }
    }
  });

  it("takes no page when nothing is in use, nor where nothing is", () => {
    const bench = new Bench();
    expect(members(bench.store())).toEqual([]);
    const far = 4 * MAP_IDS_PER_PAGE + 5;
    bench.use(far);
    bench.offer(4);
    expect(members(bench.store())).toContain(far);
    // One part and its list, both in part 4.
    expect([...bench.map.pages()].length).toBe(2);
    expect(bench.pager.freelist.used.size).toBe(3);
  });

  it("is left alone when nothing changed", () => {
    const bench = new Bench();
    bench.use(100);
    bench.store();
    const before = [...bench.map.pages()];
    expect(members(bench.store())).toEqual(members(bench.pager.freelist.used));
    expect([...bench.map.pages()]).toEqual(before);
  });
});
