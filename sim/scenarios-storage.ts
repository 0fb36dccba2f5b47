/** Short runs of the log, the votes and the data files of two groups, as steps of the storage world. */
import type { CrashMode } from "../src/env/sim/index.ts";
import { Marks } from "./marks.ts";
import type { Scenario } from "./scenario.ts";
import type { StorageWorldOptions } from "./storage-options.ts";
import type { AppendPart, FileClass, StorageStep } from "./storage-steps.ts";
import { StoragePlay } from "./storage-world.ts";
import { Trace } from "./trace.ts";
import { check } from "./violation.ts";

interface StorageScenario {
  readonly name: string;
  readonly options?: Partial<StorageWorldOptions>;
  readonly prepare: readonly StorageStep[];
  readonly run: readonly StorageStep[];
  /** Rare paths that it is there for: it must come along them. */
  readonly reaches?: readonly string[];
}

const OPTIONS: StorageWorldOptions = {
  storage: { segmentSizeBytes: 4096, groups: [0, 1], cacheBytes: 100_000 },
  lives: 0,
  shortWritePercent: 0,
  journaledNames: false,
  syncKeepsName: false,
  faults: {
    powerLoss: true,
    crashInRecovery: false,
    failedWrites: false,
    refusedFiles: false,
    fullDisk: false,
    slowSyncs: false,
    stuckSyncs: false,
    bitRot: false,
    lostWrites: false,
    movedFiles: false,
  },
  faultPercent: 0,
  overwrites: true,
  hasIdleGroup: false,
  large: false,
  keys: 3,
  checkpointPercent: 0,
  windowMax: 3,
  readBytes: 1_000_000,
};

// ---- steps by the word

const open: StorageStep = { do: "open", seed: 1 };
const settle: StorageStep = { do: "settle" };
const close: StorageStep = { do: "close" };
const room: StorageStep = { do: "room" };

interface Shape {
  readonly sizes?: readonly number[];
  readonly replaces?: number;
  readonly terms?: number;
  readonly commitLag?: number | null;
}

function part(group: number, shape: Shape = {}): AppendPart {
  const { sizes = [20], replaces = 0, terms = 0, commitLag = 0 } = shape;
  return {
    group,
    entries: sizes.map((size, i) => ({ isEmpty: false, ops: [{ tree: i % 3, key: i % 3, size }] })),
    replaces,
    terms,
    vote: 1,
    commitLag,
    withHardState: false,
  };
}

/** Appends and waits until it is acknowledged. */
function append(...parts: readonly AppendPart[]): StorageStep {
  return { do: "append", parts, reserve: false, window: 0 };
}

/** Appends and goes on at once. */
function issue(...parts: readonly AppendPart[]): StorageStep {
  return { do: "append", parts, reserve: false, window: 100 };
}

function put(group: number, size = 20): StorageStep {
  return append(part(group, { sizes: [size] }));
}

function times(count: number, ...steps: readonly StorageStep[]): StorageStep[] {
  return Array.from({ length: count }, () => steps).flat();
}

function checkpoint(...groups: readonly number[]): StorageStep[] {
  return [...groups.map((group): StorageStep => ({ do: "checkpoint", group })), settle];
}

function begin(group: number): StorageStep {
  return { do: "checkpoint", group };
}

function vote(group: number, terms = 1): StorageStep {
  return { do: "vote", group, terms, vote: 2 };
}

function pass(ms: number): StorageStep {
  return { do: "pass", ms };
}

function crash(mode: CrashMode | null = null, seed = 1): StorageStep {
  return { do: "crash", mode, seed };
}

function halt(file: FileClass | null, after: number): StorageStep {
  return { do: "halt", file, after, moment: "after" };
}

function fail(
  target: "log" | "votes" | number,
  operation: "write" | "sync",
  skip = 0,
): StorageStep {
  return { do: "fail-write", target, operation, skip };
}

const started: readonly StorageStep[] = [open, put(0), put(1), settle];
const twoCheckpoints: readonly StorageStep[] = [
  ...times(4, put(0, 700), put(1, 700)),
  ...checkpoint(0, 1),
  ...times(2, put(0, 300), put(1)),
  ...checkpoint(0, 1),
];

const SCENARIOS: readonly StorageScenario[] = [
  // ---- appends
  { name: "an append of one group", prepare: started, run: times(3, put(0)) },
  {
    name: "an append of two groups in one frame",
    prepare: started,
    run: times(3, append(part(0, { sizes: [20, 30, 40] }), part(1, { terms: 1 }))),
  },
  {
    name: "appends that wait for each other's write",
    prepare: started,
    run: times(2, ...times(4, issue(part(0)), issue(part(1, { commitLag: 1 }))), settle),
  },
  {
    name: "a HardState alone, and a commit that only moves",
    prepare: [...started, append(part(0, { commitLag: null, sizes: [5, 5] }))],
    run: [
      append(part(1, { sizes: [], terms: 1, commitLag: null })),
      append(part(0, { sizes: [] })),
    ],
  },
  {
    name: "writes that take only a part of their bytes",
    options: { shortWritePercent: 50 },
    reaches: ["short write"],
    prepare: started,
    run: [put(0, 900), put(1, 300), vote(0), settle],
  },
  {
    name: "a Mark of a log that has fallen idle",
    prepare: started,
    run: [put(0), pass(1500), put(1)],
  },
  // ---- overwrites
  {
    name: "an uncommitted tail is overwritten",
    reaches: ["entries overwritten"],
    prepare: [...started, append(part(0, { sizes: [9, 9, 9], commitLag: null }))],
    run: [append(part(0, { sizes: [7], replaces: 3 })), put(0), put(1)],
  },
  {
    name: "an uncommitted tail is overwritten again and again",
    prepare: [...started, append(part(0, { sizes: [9, 9, 9, 9], commitLag: null }))],
    run: [4, 3, 2].map((replaces) => append(part(0, { sizes: [7, 8], replaces, commitLag: null }))),
  },
  {
    name: "tails of two groups are overwritten in one frame",
    prepare: [
      ...started,
      append(
        part(0, { sizes: [9, 9], commitLag: null }),
        part(1, { sizes: [9, 9], commitLag: null }),
      ),
    ],
    run: [append(part(0, { replaces: 1 }), part(1, { replaces: 2 })), put(0), put(1)],
  },
  {
    name: "a tail is overwritten from the segment before",
    reaches: ["entries overwritten", "segment rolled"],
    prepare: [...started, append(part(0, { sizes: [1500, 900], commitLag: null })), put(1, 900)],
    run: [append(part(0, { sizes: [900], replaces: 2 })), put(1, 1500)],
  },
  {
    name: "what a crash left is overwritten after it",
    prepare: [
      ...started,
      issue(part(0, { sizes: [9, 9], commitLag: null })),
      issue(part(0, { sizes: [300, 300], commitLag: null })),
      crash(),
    ],
    run: [open, append(part(0, { sizes: [5], replaces: 9 }))],
  },
  // ---- rolls
  {
    name: "a roll",
    reaches: ["segment rolled"],
    prepare: started,
    run: times(2, put(0, 900), put(1, 900)),
  },
  {
    name: "a roll that appends wait for",
    prepare: started,
    run: [...times(3, issue(part(0, { sizes: [700] })), issue(part(1, { sizes: [700] }))), settle],
  },
  {
    name: "a roll for every append",
    reaches: ["segment rolled"],
    prepare: started,
    run: times(3, put(0, 2600)),
  },
  {
    name: "a frame larger than a segment",
    reaches: ["segment rolled"],
    prepare: started,
    run: [put(0, 6000), put(1)],
  },
  {
    name: "a roll on a file system that keeps names in order",
    options: { journaledNames: true, syncKeepsName: true },
    prepare: started,
    run: times(2, put(0, 900), put(1, 900)),
  },
  {
    name: "a roll beside a vote and a checkpoint",
    prepare: [...started, put(0, 900)],
    run: [
      vote(0),
      begin(0),
      issue(part(1, { sizes: [2000] })),
      issue(part(0, { sizes: [900] })),
      settle,
    ],
  },
  {
    name: "a roll that leaves an idle group behind",
    reaches: ["segment rolled", "segment released"],
    prepare: [
      ...started,
      append(part(1, { sizes: [], terms: 3, commitLag: null })),
      ...checkpoint(1),
      ...checkpoint(1),
    ],
    run: [...times(3, put(0, 1500)), ...checkpoint(0), put(0), ...checkpoint(0), pass(10)],
  },
  // ---- votes
  { name: "the first vote of a group", prepare: started, run: [vote(0), pass(5), put(0)] },
  {
    name: "the next votes of a group",
    prepare: [...started, vote(0), pass(5)],
    run: times(3, vote(0, 2), pass(5)),
  },
  {
    name: "votes of two groups at the same time",
    prepare: [...started, vote(0), pass(5), vote(1), pass(5)],
    run: [vote(0), vote(1), put(0), pass(5)],
  },
  // ---- checkpoints
  { name: "the first checkpoint of a group", prepare: started, run: checkpoint(0) },
  {
    name: "checkpoints one after another",
    prepare: [...started, ...checkpoint(0)],
    run: times(2, put(0), ...checkpoint(0)),
  },
  {
    name: "a checkpoint of what has not changed",
    prepare: [...started, ...checkpoint(0)],
    run: checkpoint(0),
  },
  {
    name: "checkpoints of two groups at the same time",
    prepare: [...started, ...checkpoint(0)],
    run: [put(0, 300), put(1, 300), begin(0), begin(1), settle],
  },
  {
    name: "a checkpoint beside appends",
    prepare: [...started, ...checkpoint(0)],
    run: [put(0), begin(0), issue(part(0)), issue(part(0)), issue(part(1)), settle],
  },
  {
    name: "a checkpoint while a version is pinned",
    prepare: [...started, { do: "pin", group: 0 }, put(0, 300)],
    run: [...checkpoint(0), put(0), ...checkpoint(0), { do: "unpin" }, put(0), ...checkpoint(0)],
  },
  {
    name: "a checkpoint of deletes",
    prepare: [...started, ...times(3, put(0, 900)), ...checkpoint(0)],
    run: [append(part(0, { sizes: [-1, -1, -1] })), ...checkpoint(0), put(0), ...checkpoint(0)],
  },
  {
    name: "large values come and go",
    options: { large: true, storage: { ...OPTIONS.storage, segmentSizeBytes: 16_384 } },
    reaches: ["large value in overflow pages"],
    prepare: [...started, put(0, 9000), ...checkpoint(0)],
    run: [put(0, 9500), ...checkpoint(0), put(0, -1), ...checkpoint(0)],
  },
  // ---- releases
  {
    name: "a checkpoint that lets segments go",
    reaches: ["segment released"],
    prepare: [...started, ...times(3, put(0, 1500)), ...checkpoint(0, 1), put(0), put(1)],
    run: [...checkpoint(0, 1), pass(10)],
  },
  {
    name: "segments go while the log rolls",
    reaches: ["segment released", "segment rolled"],
    prepare: [...started, ...times(3, put(0, 1500)), ...checkpoint(0, 1), put(0), put(1)],
    run: [
      begin(0),
      begin(1),
      issue(part(0, { sizes: [2000] })),
      issue(part(1, { sizes: [2000] })),
      settle,
      // Segments go one after the other, each with a sync of its own.
      pass(10),
    ],
  },
  {
    name: "recovery of a log that has let segments go",
    prepare: [...started, ...twoCheckpoints, put(0), crash("keep-all")],
    run: [open, put(1)],
  },
  // ---- full disks
  {
    name: "a disk that is full at the roll",
    reaches: ["full disk and back"],
    prepare: [...started, { do: "full", pages: 0 }],
    run: [...times(4, append(part(0, { sizes: [900] }))), room],
  },
  {
    name: "a disk that is full at the checkpoint",
    prepare: [...started, put(0, 300), { do: "full", pages: 1 }],
    run: [begin(0), pass(10), room, ...checkpoint(0)],
  },
  {
    name: "a start on a full disk",
    reaches: ["started on a full disk"],
    prepare: [...started, put(0, 300), issue(part(1)), { do: "full", pages: 8 }, crash()],
    run: [open, put(0), room, put(1)],
  },
  // ---- writes that fail
  {
    name: "a write of the log fails",
    reaches: ["failed write or sync heard"],
    prepare: [...started, fail("log", "write", 1)],
    run: [...times(3, put(0, 300)), pass(10)],
  },
  {
    name: "a start after a failed write of the log",
    reaches: ["failed write or sync heard"],
    prepare: [...started, fail("log", "write", 1), ...times(3, put(0, 300)), pass(10), crash()],
    run: [open, put(0), put(1)],
  },
  {
    name: "a start after a failed vote",
    reaches: ["failed write or sync heard"],
    prepare: [...started, vote(0), pass(5), fail("votes", "write"), vote(0), pass(10), crash()],
    run: [open, vote(0), pass(5)],
  },
  {
    name: "a start after a failed sync of pages",
    reaches: ["failed write or sync heard"],
    prepare: [
      ...started,
      ...checkpoint(0),
      put(0, 300),
      fail(0, "sync"),
      begin(0),
      pass(10),
      crash(),
    ],
    run: [open, put(0), ...checkpoint(0)],
  },
  {
    name: "a start after a failed sync of a meta",
    reaches: ["failed write or sync heard"],
    prepare: [
      ...started,
      ...checkpoint(0),
      put(0),
      fail(0, "sync", 1),
      begin(0),
      pass(10),
      crash(),
    ],
    run: [open, put(0), ...checkpoint(0)],
  },
  {
    name: "a write that never returns",
    prepare: [...started, { do: "slow", file: "log", skip: 1, times: 1, ms: null }],
    run: [...times(3, issue(part(0))), vote(0), pass(50)],
  },
  // ---- recoveries
  ...[1, 2, 3, 4].map((after): StorageScenario => ({
    name: `recovery of a process that ended in a roll, ${after} of 4`,
    reaches: after > 3 ? ["crash inside a roll"] : [],
    prepare: [
      ...started,
      put(0, 1200),
      halt("log", after),
      ...times(4, issue(part(1, { sizes: [900] }))),
      pass(20),
      crash(),
    ],
    run: [open, put(0)],
  })),
  {
    name: "recovery of a checkpoint whose meta is missing",
    reaches: ["checkpoint interrupted between pages and meta"],
    prepare: [
      ...started,
      ...checkpoint(0),
      put(0, 300),
      halt("data", 2),
      begin(0),
      pass(10),
      crash("keep-all"),
    ],
    run: [open, put(0), ...checkpoint(0)],
  },
  {
    name: "recovery of a torn meta",
    reaches: ["checkpoint interrupted at its meta"],
    prepare: [
      ...started,
      ...checkpoint(0),
      put(0, 300),
      halt("data", 3),
      begin(0),
      pass(10),
      crash("torn", 3),
    ],
    run: [open, put(0)],
  },
  {
    name: "recovery of three segments and an unproven tail",
    prepare: [...started, ...times(3, put(0, 1500), put(1, 1500)), issue(part(0)), crash()],
    run: [open, put(0)],
  },
  {
    name: "recovery of a torn frame of two groups",
    reaches: ["torn tail cut"],
    prepare: [
      ...started,
      issue(part(0, { sizes: [500] }), part(1, { sizes: [500] })),
      crash("sectors", 3),
    ],
    run: [open, put(1)],
  },
  {
    name: "a recovery that is lost twice",
    reaches: ["recovery crashed and repeated"],
    prepare: [
      ...started,
      ...times(2, issue(part(0, { sizes: [300] }))),
      crash(),
      halt(null, 24),
      open,
      crash("subset", 7),
      halt(null, 30),
      open,
      crash("mixed", 9),
    ],
    run: [open, put(0)],
  },
  // ---- ends
  {
    name: "a close with everything under way",
    prepare: [...started, ...checkpoint(0)],
    run: [
      vote(1),
      begin(0),
      pass(5),
      issue(part(0, { sizes: [900] })),
      issue(part(1)),
      settle,
      close,
    ],
  },
  {
    name: "a start after a close",
    prepare: [...started, ...checkpoint(1), close],
    run: [open, put(0)],
  },
];

/** Plays the whole of it undisturbed. */
function rehearse(
  { name, options, prepare, run, reaches = [] }: StorageScenario,
  seed: number,
): void {
  const marks = new Marks();
  const play = new StoragePlay(seed, { ...OPTIONS, ...options }, new Trace(), marks);
  for (const step of [...prepare, ...run]) play.perform(step);
  for (const mark of reaches)
    check(
      marks.hits.has(`storage: ${mark}`),
      "a scenario does what its name says",
      () => `"${name}" has not reached: ${mark}`,
    );
}

export const STORAGE_SCENARIOS: readonly Scenario[] = SCENARIOS.map((scenario) => ({
  name: `storage: ${scenario.name}`,
  begin: (seed) => {
    const { options, prepare, run } = scenario;
    const play = new StoragePlay(seed, { ...OPTIONS, ...options }, new Trace(), new Marks());
    return {
      get machine() {
        return play.machine;
      },
      prepare: () => {
        rehearse(scenario, seed);
        for (const step of prepare) play.perform(step);
      },
      acts: run.map((step) => () => play.perform(step)),
      judge: (crashed) => play.judge(crashed),
    };
  },
}));
