/**
 * Damage at rest (fault-rules D15 to D18): whatever happens to stored bytes, a reader gets the data of a checkpoint,
 * exactly, or a CorruptionError that names the place. Never anything else.
 */
import { describe, expect, it, vi } from "vitest";
import { CorruptionError, crc32c, Random, setVerifying, utf8, writeU32 } from "../base/index.ts";
import { runIoNow, SimEnv } from "../env/sim/index.ts";
import { entriesOf, filled, fingerprint, keyOf } from "./engine.suite.ts";
import { BTreeEngine, checkDataFile, type Engine } from "./index.ts";
import { openDataFile } from "./open.ts";

setVerifying(true);
// Against hanging, not against a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const PATH = "data.hdb";
const PAGE = 4096;
const FILE_ID: Uint8Array = utf8("file");
const OPTIONS = { fileId: FILE_ID, slabSizeBytes: 256 * 1024 };
/** Applied index of the newest checkpoint. Checkpoint i of a file has number i + 1, and stands in page number % 2. */
const LAST = 6;
const NEWEST_META = ((LAST + 1) % 2) * PAGE;
const OLDER_META = (LAST % 2) * PAGE;
const LEAF = 1;
const BRANCH = 2;
const OVERFLOW = 3;
const MAP = 4;

interface Sound {
  readonly machine: SimEnv;
  /** The disk before the last checkpoint: what lost writes bring back. */
  readonly before: SimEnv;
  readonly newest: string;
  readonly older: string;
  /** Page ids by what reaches them: the newest checkpoint, or only the older. */
  readonly reached: readonly number[];
  readonly onlyOlder: readonly number[];
  readonly pages: number;
}

function state(engine: Engine): string {
  return [0, 1].map((id) => fingerprint(entriesOf(engine.tree(id)))).join();
}

/** A file with every type of page, several levels, long keys and values, and two checkpoints that differ. */
function build(): Sound {
  const machine = new SimEnv({ seed: 4 });
  const { engine } = runIoNow(machine, BTreeEngine.open(machine.boot().files, PATH, OPTIONS));
  const random = new Random(4);
  const states: string[] = [];
  let before = machine;
  for (let round = 1; round <= LAST; round++) {
    for (let i = 0; i < 60; i++) {
      const size = random.percent(10) ? 9000 : random.below(800);
      engine.tree(random.below(2)).put(keyOf(random.below(150)), filled(size, i));
      if (random.percent(20)) engine.tree(0).delete(keyOf(random.below(150)));
    }
    if (round === LAST) {
      before = machine.fork();
      before.kill();
    }
    const meta = { appliedIndex: round, appliedTerm: 1, walLsn: 0, payload: utf8("p") };
    runIoNow(machine, engine.checkpoint(meta));
    states.push(state(engine));
  }
  runIoNow(machine, engine.close());
  machine.kill();
  const reader = machine.fork();
  const io = openDataFile(reader.boot().files, PATH, FILE_ID, "no");
  const { newest, older } = runIoNow(reader, io);
  const pages = machine.disk.contents(PATH).length / PAGE;
  const ids = Array.from({ length: pages }, (_, id) => id);
  return {
    machine,
    before,
    newest: states.at(-1) as string,
    older: states.at(-2) as string,
    reached: ids.filter((id) => newest.map.used.has(id)),
    onlyOlder: ids.filter((id) => !newest.map.used.has(id) && older?.map.used.has(id) === true),
    pages,
  };
}

const SOUND: Sound = build();
const BYTES: Uint8Array = SOUND.machine.disk.contents(PATH);

function typeOf(id: number): number {
  return BYTES[id * PAGE + 8] as number;
}

/** Opens and reads everything: which checkpoint it was, or where the damage is. */
function examine(
  machine: SimEnv,
): { kind: "newest" | "older" } | { kind: "damage"; offset: number } {
  try {
    const opened = runIoNow(machine, BTreeEngine.open(machine.boot().files, PATH, OPTIONS));
    const { engine } = opened;
    const found = state(engine);
    for (const id of [0, 1]) {
      // Descents for single keys read what a scan reads, on other ways.
      for (let n = 0; n < 300; n += 50) engine.tree(id).get(keyOf(n));
    }
    engine.invariants();
    const { newest } = engine.checkpoints;
    expect(found).toBe(newest?.appliedIndex === LAST ? SOUND.newest : SOUND.older);
    expect(newest?.appliedIndex).toBe(opened.usedOlderMeta ? LAST - 1 : LAST);
    return { kind: opened.usedOlderMeta ? "older" : "newest" };
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error;
    expect(error.damage.file).toBe(PATH);
    expect(error.damage.what).not.toBe("");
    return { kind: "damage", offset: error.damage.offset };
  }
}

function damaged(harm: (machine: SimEnv) => void): SimEnv {
  const machine = SOUND.machine.fork();
  harm(machine);
  return machine;
}

function checked(machine: SimEnv): ReturnType<typeof runCheck> {
  const copy = machine.fork();
  return runCheck(copy);
}

function runCheck(machine: SimEnv): { offsets: Set<number>; whats: string } {
  const report = runIoNow(machine, checkDataFile(machine.boot().files, PATH));
  return {
    offsets: new Set(report.damage.map(({ offset }) => offset)),
    whats: report.damage.map(({ what }) => what).join("; "),
  };
}

describe("a sound file", () => {
  it("has every type of page, and checks out", () => {
    const types = new Set(SOUND.reached.map((id) => typeOf(id)));
    expect([...types].toSorted((a, b) => a - b)).toEqual([LEAF, BRANCH, OVERFLOW, MAP]);
    expect(SOUND.onlyOlder.length).toBeGreaterThan(5);
    expect(examine(SOUND.machine.fork())).toEqual({ kind: "newest" });
    expect(checked(SOUND.machine)).toEqual({ offsets: new Set(), whats: "" });
  });

  it("holds nothing between its cells but zeros, and no byte of what was deleted", () => {
    const machine = new SimEnv({ seed: 1 });
    const { engine } = runIoNow(machine, BTreeEngine.open(machine.boot().files, PATH, OPTIONS));
    const secret = utf8("the secret of a deleted key");
    const tree = engine.tree(0);
    for (let i = 0; i < 200; i++) tree.put(keyOf(i), i % 3 === 0 ? secret : filled(30, i));
    for (let i = 0; i < 200; i += 3) {
      if (i % 2 === 0) tree.delete(keyOf(i));
      else tree.put(keyOf(i), utf8("x"));
    }
    const meta = { appliedIndex: 1, appliedTerm: 1, walLsn: 0, payload: utf8("p") };
    runIoNow(machine, engine.checkpoint(meta));
    const bytes = machine.disk.contents(PATH);
    const has = (at: number): boolean => secret.every((byte, i) => bytes[at + i] === byte);
    for (let at = bytes.indexOf(secret[0] as number); at >= 0;) {
      expect(has(at)).toBe(false);
      at = bytes.indexOf(secret[0] as number, at + 1);
    }
  });
});

describe("flipped bits", () => {
  it.each([LEAF, BRANCH, OVERFLOW, MAP])("in a page of type %d are found at its place", (type) => {
    const ids = SOUND.reached.filter((id) => typeOf(id) === type);
    const random = new Random(type);
    // Every byte of the header of one page, and bytes all over the others.
    const first = ids[0] as number;
    const places = Array.from({ length: 64 }, (_, i) => first * PAGE + i);
    for (let i = 0; i < 40; i++) places.push(random.pick(ids) * PAGE + random.below(PAGE));
    for (const [i, place] of places.entries()) {
      const machine = damaged(({ disk }) => disk.flipBit(PATH, place, random.below(8)));
      const offset = place - (place % PAGE);
      if (i % 4 === 0) expect(checked(machine).offsets).toContain(offset);
      expect(examine(machine)).toEqual({ kind: "damage", offset });
    }
  });

  it("in the newest meta lead to the checkpoint before, in the older one to the newest", () => {
    for (let at = 0; at < PAGE; at += 61) {
      const newest = damaged(({ disk }) => disk.flipBit(PATH, NEWEST_META + at, at % 8));
      expect(examine(newest)).toEqual({ kind: "older" });
      const older = damaged(({ disk }) => disk.flipBit(PATH, OLDER_META + at, at % 8));
      const opened = runIoNow(older, BTreeEngine.open(older.boot().files, PATH, OPTIONS));
      expect(opened.engine.checkpoints.newest?.appliedIndex).toBe(LAST);
      expect(opened.engine.checkpoints.older).toBeNull();
      expect(opened.usedOlderMeta).toBe(true);
      expect(opened.damage.map(({ offset }) => offset)).toEqual([OLDER_META]);
      expect(state(opened.engine)).toBe(SOUND.newest);
    }
  });

  it("in both metas leave nothing to trust", () => {
    const machine = damaged(({ disk }) => {
      disk.flipBit(PATH, 100);
      disk.flipBit(PATH, PAGE + 100);
    });
    expect(examine(machine)).toEqual({ kind: "damage", offset: 0 });
  });

  it("in pages of the older checkpoint do not disturb the newest", () => {
    for (const id of SOUND.onlyOlder.filter((_, i) => i % 3 === 0)) {
      const machine = damaged(({ disk }) => disk.flipBit(PATH, id * PAGE + 1000));
      expect(checked(machine).offsets).toContain(id * PAGE);
      expect(examine(machine)).toEqual({ kind: "newest" });
    }
  });

  it("in the map of the older checkpoint are told, and cost only the way back", () => {
    const id = SOUND.onlyOlder.find((page) => typeOf(page) === MAP) as number;
    const machine = damaged(({ disk }) => disk.flipBit(PATH, id * PAGE + 70));
    const opened = runIoNow(machine, BTreeEngine.open(machine.boot().files, PATH, OPTIONS));
    expect(opened.engine.checkpoints.older).toBeNull();
    expect(opened.damage.map(({ offset }) => offset)).toEqual([id * PAGE]);
    expect(state(opened.engine)).toBe(SOUND.newest);
  });
});

describe("pages in the wrong place", () => {
  it("a page over another one is found", () => {
    const random = new Random(2);
    for (let i = 0; i < 80; i++) {
      const from = random.pick(SOUND.reached);
      const to = random.pick(SOUND.reached);
      if (from === to) continue;
      const machine = damaged(({ disk }) => {
        disk.misplace(PATH, from * PAGE, PATH, to * PAGE, PAGE);
      });
      if (i % 8 === 0) expect(checked(machine).whats).toContain("misdirected");
      expect(examine(machine)).toEqual({ kind: "damage", offset: to * PAGE });
    }
  });

  it("swapped pages are found", () => {
    const random = new Random(3);
    for (let i = 0; i < 40; i++) {
      const a = random.pick(SOUND.reached);
      const b = random.pick(SOUND.reached);
      if (a === b) continue;
      const machine = damaged(({ disk }) => {
        disk.misplace(PATH, a * PAGE, PATH, b * PAGE, PAGE);
        const bytes = BYTES.subarray(b * PAGE, (b + 1) * PAGE);
        disk.damage(PATH, a * PAGE, bytes);
      });
      const result = examine(machine);
      expect(result.kind).toBe("damage");
      if (result.kind === "damage") expect([a * PAGE, b * PAGE]).toContain(result.offset);
    }
  });

  it("a lost write, whose old page is sound in itself, is found by the pointer to it", () => {
    let lost = 0;
    for (const id of SOUND.reached) {
      const now = BYTES.subarray(id * PAGE, (id + 1) * PAGE);
      const then = SOUND.before.disk.contents(PATH).subarray(id * PAGE, (id + 1) * PAGE);
      if (then.length === 0 || now.every((byte, i) => byte === then[i])) continue;
      lost++;
      const machine = damaged(({ disk }) => {
        disk.makeStale(SOUND.before.disk, PATH, id * PAGE, PAGE);
      });
      expect(examine(machine)).toEqual({ kind: "damage", offset: id * PAGE });
    }
    expect(lost).toBeGreaterThan(10);
  });

  it("a lost write of the newest meta leads to the checkpoint before it, like a crash would", () => {
    const machine = damaged(({ disk }) =>
      disk.makeStale(SOUND.before.disk, PATH, NEWEST_META, PAGE),
    );
    const opened = runIoNow(machine, BTreeEngine.open(machine.boot().files, PATH, OPTIONS));
    expect(opened.engine.checkpoints.newest?.appliedIndex).toBe(LAST - 1);
    expect(state(opened.engine)).toBe(SOUND.older);
  });

  it("a meta in the place of the other is not taken for it", () => {
    const machine = damaged(({ disk }) => disk.misplace(PATH, NEWEST_META, PATH, OLDER_META, PAGE));
    const opened = runIoNow(machine, BTreeEngine.open(machine.boot().files, PATH, OPTIONS));
    expect(opened.engine.checkpoints.newest?.appliedIndex).toBe(LAST);
    expect(opened.damage[0]?.what).toContain("misdirected");
    const other = damaged(({ disk }) => disk.misplace(PATH, OLDER_META, PATH, NEWEST_META, PAGE));
    expect(examine(other)).toEqual({ kind: "older" });
  });

  it("an old meta beside a much newer one is no way back", () => {
    const machine = SOUND.machine.fork();
    const { engine } = runIoNow(machine, BTreeEngine.open(machine.boot().files, PATH, OPTIONS));
    const stale = machine.fork();
    for (let round = LAST + 1; round <= LAST + 2; round++) {
      engine.tree(0).put(keyOf(round), filled(10, round));
      const meta = { appliedIndex: round, appliedTerm: 1, walLsn: 0, payload: utf8("p") };
      runIoNow(machine, engine.checkpoint(meta));
    }
    runIoNow(machine, engine.close());
    machine.kill();
    // The write of checkpoint LAST + 1 is lost, and LAST - 1 stands beside LAST + 2.
    machine.disk.makeStale(stale.disk, PATH, OLDER_META, PAGE);
    const opened = runIoNow(machine, BTreeEngine.open(machine.boot().files, PATH, OPTIONS));
    expect(opened.engine.checkpoints.newest?.appliedIndex).toBe(LAST + 2);
    expect(opened.engine.checkpoints.older).toBeNull();
    expect(opened.damage[0]?.what).toContain("lost write");
  });
});

describe("missing bytes", () => {
  it("zeroed sectors and pages are found", () => {
    const random = new Random(6);
    for (let i = 0; i < 40; i++) {
      const id = random.pick(SOUND.reached);
      const at = id * PAGE + random.below(PAGE);
      const was = SOUND.machine.disk
        .contents(PATH)
        .subarray(at - (at % 512), at - (at % 512) + 512);
      if (was.every((byte) => byte === 0)) continue;
      const machine = damaged(({ disk }) => disk.zeroSector(PATH, at));
      expect(examine(machine)).toEqual({ kind: "damage", offset: id * PAGE });
    }
  });

  it("a file that ends too early is refused at once", () => {
    const machine = SOUND.machine.fork();
    const { files } = machine.boot();
    let bytes = 0;
    files.open(PATH, { access: "readwrite" }, (_, file) => {
      bytes = (Math.max(...SOUND.reached) + 1) * PAGE - 1;
      file.truncate(bytes, () => file.close(() => {}));
    });
    machine.scheduler.run();
    machine.kill();
    expect(examine(machine)).toEqual({ kind: "damage", offset: bytes });
    machine.kill();
    expect(checked(machine).whats).toContain("the file ends here");
  });
});

describe("files of others", () => {
  it("another identity is refused by name", () => {
    const machine = SOUND.machine.fork();
    const other = { ...OPTIONS, fileId: utf8("another") };
    const io = BTreeEngine.open(machine.boot().files, PATH, other);
    expect(() => runIoNow(machine, io)).toThrow(expect.objectContaining({ code: "WRONG_CLUSTER" }));
  });

  it("a newer format is refused, not called damaged", () => {
    const machine = SOUND.machine.fork();
    const meta = machine.disk.contents(PATH).slice(0, PAGE);
    // The version stands at 12, in every version.
    writeU32(meta, 12, 2);
    writeU32(meta, 0, crc32c(meta, 4, PAGE));
    machine.disk.damage(PATH, 0, meta);
    const io = BTreeEngine.open(machine.boot().files, PATH, OPTIONS);
    expect(() => runIoNow(machine, io)).toThrow(expect.objectContaining({ code: "NEWER_FORMAT" }));
  });

  it("a page of another file is found", () => {
    const machine = new SimEnv({ seed: 4 });
    const other = { ...OPTIONS, fileId: utf8("another") };
    const { engine } = runIoNow(machine, BTreeEngine.open(machine.boot().files, PATH, other));
    engine.tree(0).put(keyOf(1), filled(10, 1));
    const meta = { appliedIndex: 1, appliedTerm: 1, walLsn: 0, payload: utf8("p") };
    runIoNow(machine, engine.checkpoint(meta));
    const foreign = machine.disk.contents(PATH).subarray(2 * PAGE, 3 * PAGE);
    const offset = (SOUND.reached[0] as number) * PAGE;
    const target = damaged(({ disk }) => disk.damage(PATH, offset, foreign));
    expect(checked(target).whats).toContain("another file");
    expect(examine(target)).toEqual({ kind: "damage", offset });
  });
});
