/**
 * The log, the vote file and the data files of several groups on a simulated machine, without Raft above them: as many
 * crashes as possible, and appends that a lone voter never makes, such as those that overwrite a tail.
 *
 * What is checked: after a crash the log of every group is that after some number of appends, the same for all groups,
 * no less than were acknowledged; the trees are those of a checkpoint, and the log reaches from there; votes are the
 * last saved ones; a pinned version does not change; nothing is acknowledged that is not durable.
 */
import { CorruptionError, hash32, HarmonyError, Random } from "../src/base/index.ts";
import type { Version } from "../src/btree/index.ts";
import { FileError, type Io, runIo } from "../src/env/index.ts";
import { type CrashMode, SimEnv } from "../src/env/sim/index.ts";
import type { Entry, GroupId } from "../src/raft/index.ts";
import type { VoteState } from "../src/wal/index.ts";
import { FailedWrite } from "./failed-write.ts";
import { drive } from "./node-driver.ts";
import { failureOf, type Failure, type RunResult, NO_MARKS } from "./result.ts";
import {
  closeStorage,
  contentOf,
  createStorage,
  NO_VOTE,
  openStorage,
  ROOT,
  type Storage,
  type StorageOptions,
  voteOf,
  wasCreated,
} from "./storage.ts";
import { AppendSource } from "./storage-appends.ts";
import { findState, type Handed, type Knowledge, type Trees, type Votes } from "./storage-judge.ts";
import {
  contentAt,
  contentDifference,
  decodeOps,
  LogState,
  type ModelAppend,
  type TreeContent,
} from "./storage-model.ts";
import { drawStorageOptions, type StorageWorldOptions } from "./storage-options.ts";
import { Trace } from "./trace.ts";
import { check, Violation } from "./violation.ts";

/** Records that a life has to have written, in two groups at least, for its crash to count as a cycle. */
const RECORDS_PER_CYCLE = 20;
const MODES: readonly CrashMode[] = [
  "lose-all",
  "keep-all",
  "prefix",
  "subset",
  "sectors",
  "torn",
  "mixed",
];
const STREAM_WORLD = 22;
const STREAM_APPENDS = 23;

export function runStorageSeed(seed: number): RunResult {
  return new StorageWorld(seed, drawStorageOptions(seed)).run();
}

class StorageWorld {
  readonly #seed: number;
  readonly #options: StorageWorldOptions;
  readonly #machine: SimEnv;
  readonly #random: Random;
  readonly #source: AppendSource;
  readonly #trace = new Trace();
  /** Everything that was acknowledged, and then what was handed in after it. */
  #acknowledged = new LogState();
  #handed: Handed[] = [];
  readonly #trees = new Map<GroupId, Trees>();
  /** The last acknowledged vote of a group, and one that may or may not have been saved. */
  readonly #votes = new Map<GroupId, Votes>();
  #pins: { readonly group: GroupId; readonly version: Version; readonly content: TreeContent }[] =
    [];
  #life = 0;
  #recordsInLife = 0;
  #groupsInLife = new Set<GroupId>();
  #countsWhenVerified = false;
  #haltAt = 0;
  #haltMoment: "before" | "after" = "before";
  #failing = false;
  #cycles = 0;
  #commands = 0;

  constructor(seed: number, options: StorageWorldOptions) {
    this.#seed = seed;
    this.#options = options;
    this.#random = new Random(hash32(seed, STREAM_WORLD));
    this.#source = new AppendSource(hash32(seed, STREAM_APPENDS), options);
    const { shortWritePercent, journaledNames, syncKeepsName } = options;
    this.#machine = new SimEnv({
      seed,
      disk: { shortWritePercent, journaledNames, syncKeepsName },
    });
    for (const group of options.storage.groups)
      this.#trees.set(group, {
        appliedIndex: 0,
        checkpointIndex: 0,
        releasedIndex: 0,
        checkpointing: false,
      });
    this.#machine.disk.observer = (moment, operation, ordinal): void => {
      if (moment === "before") this.#trace.operation(this.#nowMs, operation, ordinal);
      if (ordinal === this.#haltAt && moment === this.#haltMoment) {
        this.#note(`the process ends ${moment} this operation`);
        this.#machine.halt();
      }
    };
  }

  run(): RunResult {
    let failure: Failure | null = null;
    try {
      for (let life = 0; life < this.#options.lives; life++) this.#liveOnce();
      this.#ending();
    } catch (error) {
      failure = failureOf(error, this.#trace, this.#options);
    }
    return {
      world: "storage",
      seed: this.#seed,
      cycles: this.#cycles,
      commands: this.#commands,
      hash: this.#trace.hash,
      marks: NO_MARKS,
      failure,
    };
  }

  get #nowMs(): number {
    return this.#machine.scheduler.nowMs;
  }

  #note(what: string, number = 0, detail: unknown = null): void {
    this.#trace.event(this.#nowMs, what, number, detail);
  }

  #planHalt(within: number): void {
    this.#haltAt = this.#machine.disk.opCount + this.#random.between(1, within);
    this.#haltMoment = this.#random.percent(60) ? "before" : "after";
  }

  // ---- a life ----

  #liveOnce(): void {
    const storage = this.#open();
    this.#recordsInLife = 0;
    this.#groupsInLife = new Set();
    const plan = this.#random.below(100);
    const { failedWrites, fullDisk } = this.#options;
    if (failedWrites && plan < 40) this.#workUntilFailedWrite(storage);
    else if (fullDisk && plan < 60) this.#workOnFullDisk(storage);
    else this.#workUntilCrash(storage);
    if (this.#machine.running && plan >= 95) this.#close(storage);
    const enough = this.#recordsInLife >= RECORDS_PER_CYCLE && this.#groupsInLife.size >= 2;
    this.#countsWhenVerified = this.#crash() && enough;
  }

  #ending(): void {
    const storage = this.#open();
    this.#work(storage, 3);
    this.#settle(storage);
    this.#close(storage);
    if (this.#options.bitRot) this.#rot();
    this.#close(this.#open());
  }

  #open(): Storage {
    for (let attempt = 0; ; attempt++) {
      const crashes =
        attempt < 3 && this.#life > 0 && this.#options.crashInRecovery && this.#random.percent(40);
      if (crashes) this.#planHalt(30);
      const storage = this.#tryToOpen(this.#machine, this.#life === 0);
      this.#haltAt = 0;
      if (storage instanceof Error)
        throw new Violation("a directory opens again after a crash", `${storage.stack}`);
      if (storage !== null) {
        this.#life++;
        this.#adopt(this.#compare(storage), storage);
        this.#note("verified");
        if (this.#countsWhenVerified) this.#cycles++;
        this.#countsWhenVerified = false;
        return storage;
      }
      this.#note("crashed in recovery");
      this.#crash();
    }
  }

  #tryToOpen(machine: SimEnv, isFirst: boolean): Storage | Error | null {
    const env = machine.boot();
    const steps = function* (options: StorageOptions): Io<Storage> {
      if (!isFirst) {
        check(yield* wasCreated(env), "what was created stays", () => "CREATED is gone");
        return yield* openStorage(env, options);
      }
      return yield* createStorage(env, options);
    };
    const outcome: { isOver: boolean; error: unknown; storage: Storage | undefined } = {
      isOver: false,
      error: null,
      storage: undefined,
    };
    runIo(steps(this.#options.storage), (error, storage) => {
      outcome.isOver = true;
      outcome.error = error;
      outcome.storage = storage;
    });
    drive(machine, "an opening", () => outcome.isOver);
    if (!machine.running || !outcome.isOver) return null;
    const { error, storage } = outcome;
    if (error === null) return storage as Storage;
    if (error instanceof HarmonyError || error instanceof FileError) return error;
    throw error;
  }

  /** Process or power ends. True when something was not durable. */
  #crash(): boolean {
    const { disk } = this.#machine;
    this.#machine.halt();
    this.#pins = [];
    const { files, directories } = disk.unsynced();
    const unsynced = disk.changesInFlight || files.length > 0 || directories.length > 0;
    if (this.#options.powerLoss && this.#random.percent(75)) {
      const mode = this.#random.pick(MODES);
      this.#note("power loss", 0, mode);
      this.#machine.losePower(mode);
    } else {
      this.#note("kill");
      this.#machine.kill();
    }
    return unsynced;
  }

  #close(storage: Storage): void {
    let isOver = false;
    for (const { version } of this.#pins) version.release();
    this.#pins = [];
    runIo(closeStorage(storage), (error) => {
      if (error !== null) throw error as Error;
      isOver = true;
    });
    drive(this.#machine, "a close", () => isOver);
    this.#note("closed");
    this.#machine.halt();
  }

  // ---- work ----

  #workUntilCrash(storage: Storage): void {
    this.#work(storage, this.#random.between(RECORDS_PER_CYCLE / 2, RECORDS_PER_CYCLE));
    this.#planHalt(this.#random.pick([2, 6, 25]));
    this.#work(storage, 60);
    this.#haltAt = 0;
  }

  /** Hands in `batches` appends, with everything else that happens in between. */
  #work(storage: Storage, batches: number): void {
    const random = this.#random;
    for (let i = 0; i < batches && this.#machine.running; i++) {
      const die = random.below(100);
      if (die < 8) this.#checkpoint(storage, random.pick(this.#options.storage.groups));
      else if (die < 22) this.#saveVote(storage, random.pick(this.#options.storage.groups));
      else if (die < 26) this.#pin(storage, random.pick(this.#options.storage.groups));
      this.#append(storage);
      if (random.percent(3)) this.#pass(random.between(900, 2500));
      // Some appends share a frame, some come when the disk is idle.
      const waitFor = random.below(4);
      drive(this.#machine, "an append", () => this.#handed.length <= waitFor || this.#failing);
      if (this.#failing) return;
    }
  }

  #settle(storage: Storage): void {
    drive(
      this.#machine,
      "appends",
      () =>
        this.#handed.length === 0 &&
        ![...this.#trees.values()].some(({ checkpointing }) => checkpointing),
    );
    storage.wal.invariants();
  }

  #pass(durationMs: number): void {
    this.#note("time passes", durationMs);
    this.#machine.scheduler.runUntil(this.#nowMs + durationMs);
  }

  get #newest(): LogState {
    return this.#handed.at(-1)?.after ?? this.#acknowledged;
  }

  #append(storage: Storage): void {
    const random = this.#random;
    const { groups } = this.#options.storage;
    const count = random.percent(60) ? 1 : random.between(1, groups.length);
    const first = random.below(groups.length);
    const batch: ModelAppend[] = [];
    for (let i = 0; i < count; i++)
      batch.push(this.#appendOf(groups[(first + i) % groups.length] as GroupId));
    const handed: Handed = { batch, after: this.#newest.after(batch) };
    this.#handed.push(handed);
    this.#note(
      "append",
      batch.length,
      batch.map(({ group, entries, hardState }) => ({
        group,
        from: entries[0]?.index,
        count: entries.length,
        hardState,
      })),
    );
    storage.wal.append(batch, (error) => this.#answered(storage, handed, error), {
      reserve: random.percent(20),
    });
  }

  #appendOf(group: GroupId): ModelAppend {
    return this.#source.next(group, this.#newest.of(group));
  }

  #answered(storage: Storage, handed: Handed, error: HarmonyError | null): void {
    this.#note("answer", 0, error === null ? null : error.message);
    if (error !== null) {
      this.#refused(storage, error);
      return;
    }
    check(
      !this.#failed("log"),
      "nothing is acknowledged after a failed write",
      () => "an append was",
    );
    check(
      this.#handed[0] === handed,
      "appends are acknowledged in their order",
      () => "a later one came first",
    );
    this.#handed.shift();
    this.#acknowledged = handed.after;
    this.#commands++;
    for (const { group, entries } of handed.batch) {
      this.#recordsInLife += entries.length;
      this.#groupsInLife.add(group);
      this.#apply(storage, group);
    }
    if (this.#random.percent(2)) this.#checkDurable();
  }

  #refused(storage: Storage, error: HarmonyError): void {
    check(storage.wal.failed !== null, "an append fails only with the log", () => error.message);
    this.#failing = true;
  }

  /** What is committed and durable goes into the trees. */
  #apply(storage: Storage, group: GroupId): void {
    const trees = this.#trees.get(group) as Trees;
    const { entries, hardState } = this.#acknowledged.of(group);
    const engine = storage.engines.get(group);
    for (let index = trees.appliedIndex + 1; index <= hardState.commit; index++) {
      for (const { tree, key, value } of decodeOps((entries[index - 1] as Entry).data)) {
        if (value === null) engine?.tree(tree).delete(key);
        else engine?.tree(tree).put(key, value);
      }
      trees.appliedIndex = index;
    }
  }

  #checkpoint(storage: Storage, group: GroupId): void {
    const trees = this.#trees.get(group) as Trees;
    const engine = storage.engines.get(group);
    if (trees.checkpointing || engine === undefined || trees.appliedIndex === 0) return;
    trees.checkpointing = true;
    const { appliedIndex } = trees;
    const appliedTerm = (this.#acknowledged.of(group).entries[appliedIndex - 1] as Entry).term;
    const life = this.#life;
    this.#note("checkpoint", appliedIndex, { group });
    runIo(
      engine.checkpoint({
        appliedIndex,
        appliedTerm,
        walLsn: storage.wal.durableLsn,
        payload: Uint8Array.of(group, appliedIndex & 255),
      }),
      (error) => {
        if (life !== this.#life) return;
        trees.checkpointing = false;
        if (error !== null) {
          if (error instanceof FileError && error.isFull) return;
          if (!(error instanceof FileError)) throw error as Error;
          this.#failing = true;
          return;
        }
        check(
          !this.#failed(group),
          "a checkpoint does not succeed after a failed write",
          () => `group ${group}`,
        );
        trees.checkpointIndex = appliedIndex;
        this.#note("checkpoint is durable", appliedIndex, { group });
        this.#release(storage, group);
      },
    );
  }

  #release(storage: Storage, group: GroupId): void {
    const engine = storage.engines.get(group);
    const { newest, older } = engine?.checkpoints ?? { newest: null, older: null };
    if (newest === null || storage.wal.failed !== null) return;
    const trees = this.#trees.get(group) as Trees;
    trees.releasedIndex = older?.appliedIndex ?? 0;
    storage.wal.release(
      group,
      {
        appliedIndex: newest.appliedIndex,
        appliedTerm: newest.appliedTerm,
        olderAppliedIndex: older?.appliedIndex ?? 0,
      },
      () => {},
    );
  }

  #saveVote(storage: Storage, group: GroupId): void {
    const known = this.#votes.get(group);
    if (known !== undefined && known.pending !== null) return;
    const vote: VoteState = {
      term: (known?.saved.term ?? 0) + this.#random.between(1, 3),
      vote: this.#random.between(0, 3),
      incarnation: 1,
    };
    const entry = known ?? { saved: NO_VOTE, pending: null };
    entry.pending = vote;
    this.#votes.set(group, entry);
    this.#note("vote", vote.term, { group, vote });
    storage.votes.save(group, vote, (error) => {
      if (error !== null) {
        this.#failing = true;
        return;
      }
      check(
        !this.#failed("votes"),
        "nothing is acknowledged after a failed write",
        () => "a vote was",
      );
      entry.saved = vote;
      entry.pending = null;
      if (this.#random.percent(10)) this.#checkDurable();
    });
  }

  /** A version that is pinned stays as it was, whatever is written and checkpointed meanwhile. */
  #pin(storage: Storage, group: GroupId): void {
    const oldest = this.#pins.length > 3 ? this.#pins.shift() : undefined;
    if (oldest !== undefined) {
      const { version, content } = oldest;
      const found = contentDifference(
        contentOf((id) => version.tree(id)),
        content,
      );
      check(
        found === null,
        "a pinned version does not change",
        () => `group ${oldest.group}: ${found}`,
      );
      version.release();
    }
    const engine = storage.engines.get(group);
    if (engine === undefined) return;
    const { appliedIndex } = this.#trees.get(group) as Trees;
    this.#pins.push({
      group,
      version: engine.pin(),
      content: contentAt(this.#acknowledged.of(group), appliedIndex),
    });
  }

  // ---- what must be there ----

  #compare(storage: Storage, isDamaged = false): LogState {
    return findState(storage, this.#knowledge(), isDamaged);
  }

  #knowledge(): Knowledge {
    return {
      acknowledged: this.#acknowledged,
      handed: this.#handed,
      trees: this.#trees,
      votes: this.#votes,
      readBytes: this.#options.readBytes,
    };
  }

  /** What was found is from now on what everybody relies on. */
  #adopt(state: LogState, storage: Storage): void {
    this.#acknowledged = state;
    this.#handed = [];
    this.#failing = false;
    for (const [group, trees] of this.#trees) {
      trees.appliedIndex = storage.engines.get(group)?.checkpoints.newest?.appliedIndex ?? 0;
      // A checkpoint that a killed process left may be visible and not durable: only reported ones are relied on.
      // The log may forget what the one before it covers.
      const older = storage.engines.get(group)?.checkpoints.older?.appliedIndex ?? 0;
      trees.releasedIndex = Math.max(trees.releasedIndex, older);
      trees.checkpointing = false;
      this.#apply(storage, group);
      const engine = storage.engines.get(group);
      if (engine === undefined) continue;
      const found = contentDifference(
        contentOf((id) => engine.tree(id)),
        contentAt(state.of(group), trees.appliedIndex),
      );
      check(
        found === null,
        "checkpoint and log together give the state",
        () => `group ${group}: ${found}`,
      );
    }
    for (const entry of this.#votes.values()) entry.pending = null;
    for (const [group, entry] of this.#votes)
      entry.saved = voteOf(storage.votes, group) ?? entry.saved;
  }

  #checkDurable(): void {
    const fork = this.#machine.fork();
    fork.losePower("lose-all");
    fork.disk.quotaBytes = Number.POSITIVE_INFINITY;
    const storage = this.#tryToOpen(fork, false);
    if (storage === null || storage instanceof Error)
      throw new Violation("what is durable can be opened", `${storage?.stack}`);
    try {
      this.#compare(storage);
    } catch (error) {
      if (error instanceof Violation)
        throw new Violation("an acknowledgement does not precede its sync", error.message);
      throw error;
    }
  }

  // ---- faults ----

  /** Whether a write to the log, the votes or the data file of a group has failed in this life. */
  #failed: (what: "log" | "votes" | GroupId) => boolean = () => false;

  #workUntilFailedWrite(storage: Storage): void {
    const random = this.#random;
    const operation = random.pick(["write", "sync"] as const);
    const skip = random.below(operation === "write" ? 30 : 4);
    const target = random.pick(["log", "votes", ...this.#options.storage.groups]);
    const paths =
      target === "log"
        ? /\/wal\/|\/next\.wal$/
        : target === "votes"
          ? /\/VOTE$/
          : new RegExp(`/db/${target}\\.`);
    const fault = new FailedWrite(
      this.#machine,
      operation,
      (path) => paths.test(path),
      "EIO",
      skip,
    );
    this.#failed = (what) => what === target && fault.hasArrived;
    this.#note("a write will fail", skip, operation);
    this.#work(storage, 30);
    this.#pass(20);
    fault.remove();
    this.#failed = () => false;
    this.#machine.halt();
  }

  #workOnFullDisk(storage: Storage): void {
    const { disk } = this.#machine;
    disk.quotaBytes = disk.usedBytes + this.#random.below(4) * 4096;
    this.#note("the disk is full", disk.quotaBytes);
    const wanted = this.#handed.length + 1;
    for (let i = 0; i < 12 && storage.wal.space === "ok" && this.#machine.running; i++) {
      this.#append(storage);
      this.#pass(2);
    }
    check(
      storage.wal.failed === null,
      "a full disk does not stop the log",
      () => `${storage.wal.failed}`,
    );
    this.#pass(this.#random.below(1500));
    disk.quotaBytes = Number.POSITIVE_INFINITY;
    this.#note("the disk has room", wanted);
    this.#pass(10_000);
    check(
      !this.#machine.running || (storage.wal.space === "ok" && this.#handed.length === 0),
      "a full disk is forgotten once there is room",
      () => `space is ${storage.wal.space}, ${this.#handed.length} appends wait`,
    );
    this.#workUntilCrash(storage);
  }

  /** A bit changes in a directory that was closed: refused by name, or harmless. */
  #rot(): void {
    const files = this.#machine.disk
      .paths()
      .filter(
        (path) => path.startsWith(`${ROOT}/`) && /\.(?:wal|hdb)$|\/(?:VOTE|MANIFEST)$/.test(path),
      );
    for (let i = 0; i < 5; i++) {
      const fork = this.#machine.fork(hash32(this.#seed, i));
      const path = this.#random.pick(files);
      const size = fork.disk.contents(path).length;
      if (size === 0) continue;
      const offset = this.#random.below(Math.min(size, this.#random.pick([512, 4096, size])));
      fork.disk.flipBit(path, offset, this.#random.below(8));
      this.#note("a bit flips", offset, path);
      try {
        const storage = this.#tryToOpen(fork, false);
        if (storage instanceof Error)
          check(
            storage instanceof HarmonyError,
            "damage is refused by name",
            () => `${storage.stack}`,
          );
        else if (storage !== null) this.#compare(storage, true);
      } catch (error) {
        if (error instanceof Violation)
          throw new Violation(
            "damage is refused or harmless",
            `${path} at ${offset}: ${error.message}`,
          );
        if (!(error instanceof CorruptionError)) throw error;
      }
    }
  }
}
