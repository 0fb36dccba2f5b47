/**
 * The log, the vote file and the data files of several groups on a simulated machine, without Raft above them: as many
 * crashes as possible, and appends that a lone voter never makes, such as those that overwrite a tail.
 *
 * What is checked: after a crash the log of every group is that after some number of appends, the same for all groups,
 * no less than were acknowledged; the trees are those of a checkpoint, and the log reaches from there; votes are the
 * last saved ones; a pinned version does not change; nothing is acknowledged that is not durable; damage at rest is
 * refused by name or costs nothing.
 */
import { CorruptionError, HarmonyError } from "../src/base/index.ts";
import type { Version } from "../src/btree/index.ts";
import { FileError, type Io, runIo } from "../src/env/index.ts";
import { type InjectedFault, type Operation, SimEnv } from "../src/env/sim/index.ts";
import type { GroupId } from "../src/raft/index.ts";
import type { VoteState } from "../src/wal/index.ts";
import { FailedWrite } from "./failed-write.ts";
import type { Marks } from "./marks.ts";
import { drive } from "./node-driver.ts";
import type { Play, World } from "./play.ts";
import { AppendMaker } from "./storage-appends.ts";
import { damage } from "./storage-damage.ts";
import { StorageDraw } from "./storage-draw.ts";
import { StoragePins } from "./storage-pins.ts";
import { findState, type Handed, type Knowledge, type Trees, type Votes } from "./storage-judge.ts";
import { hasTornSlot, StorageMarks } from "./storage-marks.ts";
import { entryOf, KeyTable, LogState, type ModelAppend, TreeBase } from "./storage-model.ts";
import {
  drawStorageOptions,
  simplerStorageOptions,
  type StorageWorldOptions,
} from "./storage-options.ts";
import {
  type DamageKind,
  fileClassOf,
  simplerStorageSteps,
  type StorageStep,
} from "./storage-steps.ts";
import { type Answered, strangerOf, verdictOf } from "./storage-verdict.ts";
import {
  closeStorage,
  createStorage,
  NO_VOTE,
  openStorage,
  ROOT,
  type Storage,
  type StorageOptions,
  voteOf,
  wasCreated,
} from "./storage.ts";
import type { Trace } from "./trace.ts";
import { check, Violation } from "./violation.ts";

type Step<Kind extends StorageStep["do"]> = StorageStep & { readonly do: Kind };
/** What a process does while it lives. */
type WorkStep = Exclude<
  StorageStep,
  Step<"open" | "crash" | "halt" | "refuse" | "damage" | "remember">
>;

/** Records that a life has to have written, in two groups at least, for its crash to count as a cycle. */
const RECORDS_PER_CYCLE = 20;
/** A value that does not fit into its leaf. */
const LARGE_VALUE_BYTES = 2048;
/** Longer than any retry of the log, so that what waits for room has found it. */
const ROOM_MS = 10_000;
const STUCK_MS = 20;
/** Longer than the closing of a file. */
const CLOSE_MS = 5;
const FIRST_SLOT_SECTOR_BYTES = 512;

export const STORAGE_WORLD: World<StorageWorldOptions, StorageStep> = {
  name: "storage",
  drawOptions: drawStorageOptions,
  begin: (seed, options, trace, marks) => new StoragePlay(seed, options, trace, marks),
  simplerOptions: simplerStorageOptions,
  simplerSteps: simplerStorageSteps,
};

export class StoragePlay implements Play<StorageStep> {
  readonly #seed: number;
  readonly #options: StorageWorldOptions;
  readonly #draw: StorageDraw;
  readonly #trace: Trace;
  readonly #marks: StorageMarks;
  readonly #table: KeyTable;
  readonly #maker: AppendMaker;
  #machine: SimEnv;
  /** Open, in a process that may have ended since. */
  #storage: Storage | null = null;
  #isCreated = false;
  /** Ended in good order, and nothing has touched it since. */
  #isClosed = false;
  /** Everything that was acknowledged, and then what was handed in after it. */
  #acknowledged = new LogState();
  #handed: Handed[] = [];
  /** How far the log was durable when this life began, and when each of its answers came, and the state then. */
  #answers: Answered[] = [];
  readonly #trees = new Map<GroupId, Trees>();
  /** The last acknowledged vote of a group, and one that may or may not have been saved. */
  readonly #votes = new Map<GroupId, Votes>();
  readonly #pins: StoragePins;
  #life = 0;
  #recordsInLife = 0;
  readonly #groupsInLife = new Set<GroupId>();
  #countsWhenVerified = false;
  #halt: (Step<"halt"> & { left: number }) | null = null;
  #isFailing = false;
  #isClosing = false;
  /** A write or sync that fails, and to what. */
  #failure: { readonly fault: FailedWrite; readonly target: "log" | "votes" | GroupId } | null =
    null;
  #refusal: InjectedFault | null = null;
  #slow: { readonly fault: InjectedFault; readonly isStuck: boolean } | null = null;
  #wasFull = false;
  #remembered: SimEnv | null = null;
  #foreign: SimEnv | null = null;
  #cycles = 0;
  #commands = 0;

  constructor(seed: number, options: StorageWorldOptions, trace: Trace, marks: Marks) {
    this.#seed = seed;
    this.#options = options;
    this.#trace = trace;
    this.#marks = new StorageMarks(marks);
    this.#table = new KeyTable(options.keys, options.large);
    this.#pins = new StoragePins(this.#table);
    this.#maker = new AppendMaker(this.#table);
    this.#draw = new StorageDraw(seed, options, {
      isRunning: () => this.#isOpen,
      isFailing: () => this.#isFailing,
      isEnough: () => this.#isEnough,
      isFull: () => this.#isFull,
    });
    const { shortWritePercent, journaledNames, syncKeepsName } = options;
    this.#machine = new SimEnv({
      seed,
      disk: { shortWritePercent, journaledNames, syncKeepsName },
    });
    for (const group of options.storage.groups)
      this.#trees.set(group, {
        base: new TreeBase(this.#table),
        appliedIndex: 0,
        begunIndex: 0,
        checkpointIndex: 0,
        releasedIndex: 0,
        checkpointing: false,
      });
    this.#observe();
  }

  get cycles(): number {
    return this.#cycles;
  }

  get commands(): number {
    return this.#commands;
  }

  get machine(): SimEnv {
    return this.#machine;
  }

  /** Opens a crashed copy of the machine, which must hold what is known to be there now. */
  judge(crashed: SimEnv): void {
    let storage = this.#tryToOpen(crashed, false);
    if (storage instanceof FileError && storage.isFull && this.#isFull) {
      crashed.kill();
      crashed.disk.quotaBytes = Number.POSITIVE_INFINITY;
      storage = this.#tryToOpen(crashed, false);
    }
    if (storage === null || storage instanceof Error)
      throw new Violation("a directory opens again after a crash", `${storage?.stack}`);
    findState(storage, this.#knowledge(), false);
  }

  draw(): StorageStep | null {
    return this.#draw.next();
  }

  perform(step: StorageStep): void {
    this.#note(step.do, 0, step);
    switch (step.do) {
      case "open":
        this.#open(step);
        break;
      case "crash":
        this.#crash(step);
        break;
      case "halt":
        if (this.#isCreated) this.#halt = { ...step, left: step.after };
        break;
      case "refuse":
        this.#refuse(step);
        break;
      case "damage":
        this.#damage(step);
        break;
      case "remember":
        this.#remembered = this.#machine.fork();
        this.#remembered.losePower("keep-all");
        break;
      case "append":
      case "vote":
      case "checkpoint":
      case "pin":
      case "unpin":
      case "pass":
      case "settle":
      case "close":
      case "prove":
      case "fail-write":
      case "slow":
      case "full":
      case "room":
        if (this.#storage !== null && this.#isOpen && (!this.#isFailing || step.do === "close"))
          this.#work(step, this.#storage);
    }
  }

  get #isOpen(): boolean {
    return this.#storage !== null && this.#machine.running;
  }

  get #isEnough(): boolean {
    return this.#recordsInLife >= RECORDS_PER_CYCLE && this.#groupsInLife.size >= 2;
  }

  get #nowMs(): number {
    return this.#machine.scheduler.nowMs;
  }

  get #isFull(): boolean {
    return this.#machine.disk.quotaBytes !== Number.POSITIVE_INFINITY;
  }

  #note(what: string, number = 0, detail: unknown = null): void {
    this.#trace.event(this.#nowMs, what, number, detail);
  }

  #observe(): void {
    const machine = this.#machine;
    machine.disk.observer = (moment, operation, ordinal): void => {
      if (moment === "before") {
        this.#trace.operation(machine.scheduler.nowMs, operation, ordinal);
        this.#marks.operation(operation);
      }
      const halt = this.#halt;
      if (halt !== null) this.#countToHalt(halt, moment, operation);
    };
  }

  #countToHalt(
    halt: Step<"halt"> & { left: number },
    moment: "before" | "after",
    { path }: Operation,
  ): void {
    if (halt.file !== null && fileClassOf(path) !== halt.file) return;
    if (moment === "before") halt.left--;
    if (halt.left > 0 || moment !== halt.moment) return;
    this.#note(`the process ends ${moment} this operation`);
    this.#halt = null;
    this.#machine.halt();
  }

  // ---- beginning and end of a life ----

  #open({ seed }: Step<"open">): void {
    // A process that ended leaves things under way: a crash says what becomes of them.
    if (this.#machine.running || this.#storage !== null || !this.#machine.disk.quiet) return;
    this.#isClosed = false;
    this.#marks.isOpening = true;
    let storage = this.#tryToOpen(this.#machine, !this.#isCreated);
    if (storage instanceof Error && this.#mayRefuse(storage)) {
      this.#note("refused", 0, storage.message);
      this.#hearRefusal(storage);
      this.#halt = null;
      this.#restart(seed);
      storage = this.#tryToOpen(this.#machine, !this.#isCreated);
    }
    this.#marks.isOpening = false;
    this.#endRefusal();
    if (storage instanceof Error)
      throw new Violation("a directory opens again after a crash", `${storage.stack}`);
    if (storage === null) {
      this.#marks.hit("recovery crashed and repeated");
      return;
    }
    this.#halt = null;
    this.#isCreated = true;
    this.#life++;
    this.#recordsInLife = 0;
    this.#groupsInLife.clear();
    this.#isFailing = false;
    this.#adopt(findState(storage, this.#knowledge(), false), storage);
    this.#storage = storage;
    this.#marks.verified(storage);
    if (this.#isFull) this.#marks.hit("started on a full disk");
    this.#note("verified");
    if (this.#countsWhenVerified) this.#cycles++;
    this.#countsWhenVerified = false;
  }

  /** Whether a start has a reason to refuse: a full disk, or an operation that was made to fail. */
  #mayRefuse(error: Error): boolean {
    if (this.#isFull && error instanceof FileError && error.isFull) return true;
    return (this.#refusal?.struck ?? 0) > 0;
  }

  #hearRefusal(error: Error): void {
    check(
      error instanceof FileError || error instanceof HarmonyError,
      "a start refuses by name",
      () => `${error.stack}`,
    );
    if ((this.#refusal?.struck ?? 0) > 0) this.#marks.hit("start refused by a file error");
    this.#endRefusal();
    this.#machine.disk.quotaBytes = Number.POSITIVE_INFINITY;
  }

  /** The process that refused ends, and another one begins. */
  #restart(seed: number): void {
    this.#leave(seed);
    this.#machine.kill();
  }

  #tryToOpen(machine: SimEnv, isFirst: boolean): Storage | Error | null {
    const env = machine.boot();
    const steps = function* (options: StorageOptions): Io<Storage> {
      if (isFirst) return yield* createStorage(env, options);
      check(yield* wasCreated(env), "what was created stays", () => "CREATED is gone");
      return yield* openStorage(env, options);
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

  /** Process or power ends. It counts when enough was written and something was not durable. */
  #crash({ mode, seed }: Step<"crash">): void {
    if (!this.#isCreated) return;
    const { disk } = this.#machine;
    const { files, directories } = disk.unsynced();
    const unsynced = disk.changesInFlight || files.length > 0 || directories.length > 0;
    if (this.#storage !== null) this.#countsWhenVerified = unsynced && this.#isEnough;
    this.#marks.crashed(mode !== null);
    if (this.#slow?.isStuck === true && this.#slow.fault.struck > 0)
      this.#marks.hit("stuck sync at the crash");
    this.#machine.halt();
    const votes = this.#votesBefore();
    this.#leave(seed);
    if (mode === null) this.#machine.kill();
    else this.#machine.losePower(mode);
    if (votes !== null && hasTornSlot(votes, this.#machine.disk.contents(`${ROOT}/VOTE`)))
      this.#marks.hit("vote slot torn");
  }

  /** What readers see of the vote file while a save is under way. */
  #votesBefore(): Uint8Array | null {
    const isSaving = [...this.#votes.values()].some(({ pending }) => pending !== null);
    if (!isSaving || this.#storage === null) return null;
    const votes = this.#machine.disk.contents(`${ROOT}/VOTE`);
    return votes.length > FIRST_SLOT_SECTOR_BYTES ? votes : null;
  }

  /**
   * Nobody runs any more. The machine goes on as a copy that draws what was left open from a seed of its own: what a
   * crash leaves does not depend on how many decisions came before.
   */
  #leave(seed: number): void {
    this.#machine.halt();
    this.#storage = null;
    this.#pins.forget();
    this.#halt = null;
    this.#failure = null;
    this.#slow = null;
    this.#endRefusal();
    this.#isClosed = false;
    this.#machine.disk.observer = undefined;
    this.#machine = this.#machine.fork(seed);
    this.#observe();
  }

  #close(storage: Storage): void {
    this.#pins.check(Number.POSITIVE_INFINITY);
    this.#endSlow();
    // As a node does: what is on its way to a data file comes to its end before the file is closed.
    drive(
      this.#machine,
      "checkpoints",
      () => ![...this.#trees.values()].some(({ checkpointing }) => checkpointing),
    );
    if (!this.#machine.running) return;
    let isOver = false;
    this.#isClosing = true;
    runIo(closeStorage(storage), (error) => {
      if (error !== null && !this.#isFailing && this.#failure === null) throw error as Error;
      isOver = true;
    });
    drive(this.#machine, "a close", () => isOver);
    this.#isClosing = false;
    if (!this.#machine.running) return;
    this.#note("closed");
    if (this.#isFailing) {
      // A close that nobody waited for is on its way, if at all.
      this.#pass(CLOSE_MS);
      check(
        this.#machine.disk.quiet,
        "what has failed and is closed holds nothing",
        () => "files are open",
      );
    }
    this.#isClosed = !this.#isFailing && this.#handed.length === 0;
    this.#machine.halt();
    if (this.#machine.disk.quiet) this.#storage = null;
    else this.#isClosed = false;
  }

  // ---- work ----

  #work(step: WorkStep, storage: Storage): void {
    switch (step.do) {
      case "append":
        this.#append(step, storage);
        break;
      case "vote":
        this.#saveVote(step, storage);
        break;
      case "checkpoint":
        this.#checkpoint(step.group, storage);
        break;
      case "pin":
        this.#pin(step.group, storage);
        break;
      case "unpin":
        this.#pins.check(1);
        break;
      case "pass":
        this.#pass(step.ms);
        break;
      case "settle":
        this.#settle(storage);
        break;
      case "close":
        this.#close(storage);
        break;
      case "prove":
        this.#prove();
        break;
      case "fail-write":
        this.#failWrite(step);
        break;
      case "slow":
        this.#slowDown(step);
        break;
      case "full":
        this.#fill(step);
        break;
      case "room":
        this.#makeRoom(storage);
    }
  }

  #append({ parts, reserve, window }: Step<"append">, storage: Storage): void {
    if (this.#isFull && storage.wal.space === "full") return;
    const newest = this.#handed.at(-1)?.after ?? this.#acknowledged;
    const batch: ModelAppend[] = [];
    for (const part of parts)
      if (this.#trees.has(part.group)) batch.push(this.#maker.fit(part, newest.of(part.group)));
    if (batch.length === 0) return;
    const handed: Handed = { batch, after: newest.after(batch) };
    this.#handed.push(handed);
    if (parts.some(({ replaces }) => replaces > 0) && isOverwriting(batch, newest))
      this.#marks.hit("entries overwritten");
    storage.wal.append(batch, (error) => this.#answered(storage, handed, error), { reserve });
    this.#wait(() => this.#handed.length <= window || this.#isFailing);
  }

  /** Time passes until `isOver`; on a disk that is full or stuck only for a while. */
  #wait(isOver: () => boolean): void {
    if (!this.#isFull && this.#slow?.isStuck !== true) {
      drive(this.#machine, "an append", isOver);
      return;
    }
    const untilMs = this.#nowMs + STUCK_MS;
    while (!isOver() && this.#machine.running && this.#nowMs < untilMs)
      if (!this.#machine.scheduler.step()) return;
  }

  #settle(storage: Storage): void {
    this.#wait(
      () =>
        this.#isFailing ||
        (this.#handed.length === 0 &&
          ![...this.#trees.values()].some(({ checkpointing }) => checkpointing)),
    );
    storage.wal.invariants();
  }

  #pass(durationMs: number): void {
    this.#machine.scheduler.runUntil(this.#nowMs + durationMs);
  }

  #answered(storage: Storage, handed: Handed, error: HarmonyError | null): void {
    this.#note("answer", 0, error === null ? null : error.message);
    if (error !== null) {
      // A log that is closed while the disk is full answers what waits for room.
      const isLeft = this.#isClosing && error.code === "DISK_FULL";
      check(
        storage.wal.failed !== null || isLeft,
        "an append fails only with the log",
        () => error.message,
      );
      this.#fail();
      return;
    }
    check(
      !this.#hasFailed("log"),
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
    this.#answers.push({ lsn: storage.wal.durableLsn, state: handed.after });
    this.#commands++;
    for (const { group, entries, hardState } of handed.batch) {
      this.#recordsInLife += entries.length;
      this.#groupsInLife.add(group);
      if (hardState !== null) this.#marks.hardStateWritten(group);
      this.#apply(storage, group);
    }
  }

  #fail(): void {
    if (!this.#isFailing) this.#marks.failureHeard();
    this.#isFailing = true;
  }

  /** Whether a write to the log, the votes or the data file of a group has failed in this life. */
  #hasFailed(what: "log" | "votes" | GroupId): boolean {
    return this.#failure?.target === what && this.#failure.fault.hasArrived;
  }

  /** What is committed and durable goes into the trees. */
  #apply(storage: Storage, group: GroupId): void {
    const trees = this.#trees.get(group) as Trees;
    const state = this.#acknowledged.of(group);
    const { commit } = state.hardState;
    if (trees.appliedIndex >= commit) return;
    const engine = storage.engines.get(group);
    for (let index = trees.appliedIndex + 1; index <= commit; index++) {
      for (const { slot, value } of entryOf(state, index).ops) {
        const tree = engine?.tree(Math.floor(slot / this.#table.size));
        if (value === null) tree?.delete(this.#table.key(slot));
        else tree?.put(this.#table.key(slot), value);
        if (value !== null && value.length > LARGE_VALUE_BYTES)
          this.#marks.hit("large value in overflow pages");
      }
    }
    trees.appliedIndex = commit;
  }

  #checkpoint(group: GroupId, storage: Storage): void {
    const trees = this.#trees.get(group);
    const engine = storage.engines.get(group);
    if (trees === undefined || engine === undefined) return;
    if (trees.checkpointing || trees.appliedIndex === 0) return;
    trees.checkpointing = true;
    const { appliedIndex } = trees;
    trees.begunIndex = appliedIndex;
    const state = this.#acknowledged.of(group);
    // After an opening the entry itself may be one that the log has let go.
    const appliedTerm =
      appliedIndex > state.floor
        ? entryOf(state, appliedIndex).term
        : (engine.checkpoints.newest?.appliedTerm ?? 0);
    const life = this.#life;
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
          this.#fail();
          return;
        }
        check(
          !this.#hasFailed(group),
          "a checkpoint does not succeed after a failed write",
          () => `group ${group}`,
        );
        trees.checkpointIndex = appliedIndex;
        this.#note("checkpoint is durable", appliedIndex, { group });
        this.#release(storage, group, trees);
      },
    );
  }

  #release(storage: Storage, group: GroupId, trees: Trees): void {
    const { newest, older } = storage.engines.get(group)?.checkpoints ?? {
      newest: null,
      older: null,
    };
    trees.base.advance(this.#acknowledged.of(group), older?.appliedIndex ?? 0);
    if (newest === null || storage.wal.failed !== null) return;
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

  #saveVote({ group, terms, vote }: Step<"vote">, storage: Storage): void {
    if (!this.#trees.has(group)) return;
    const known = this.#votes.get(group) ?? { saved: NO_VOTE, pending: null };
    if (known.pending !== null) return;
    const state: VoteState = { term: known.saved.term + terms, vote, incarnation: 1 };
    known.pending = state;
    this.#votes.set(group, known);
    storage.votes.save(group, state, (error) => {
      if (error !== null) {
        this.#fail();
        return;
      }
      check(
        !this.#hasFailed("votes"),
        "nothing is acknowledged after a failed write",
        () => "a vote was",
      );
      known.saved = state;
      known.pending = null;
    });
  }

  /** A version that is pinned stays as it was, whatever is written and checkpointed meanwhile. */
  #pin(group: GroupId, storage: Storage): void {
    const trees = this.#trees.get(group);
    const engine = storage.engines.get(group);
    if (trees === undefined || engine === undefined) return;
    const content = trees.base.at(this.#acknowledged.of(group), trees.appliedIndex);
    this.#pins.add({ group, version: engine.pin(), content });
  }

  // ---- what must be there ----

  #knowledge(): Knowledge {
    return {
      table: this.#table,
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
    for (const [group, trees] of this.#trees) {
      const engine = storage.engines.get(group);
      if (engine === undefined) continue;
      const checkpointIndex = engine.checkpoints.newest?.appliedIndex ?? 0;
      // A start writes and syncs the newest meta again, so from now on this checkpoint is relied on, reported or not.
      trees.checkpointIndex = checkpointIndex;
      trees.appliedIndex = checkpointIndex;
      // The log may forget what the one before it covers.
      const older = engine.checkpoints.older?.appliedIndex ?? 0;
      trees.releasedIndex = Math.max(trees.releasedIndex, older);
      trees.checkpointing = false;
      trees.base.advance(state.of(group), older);
      this.#apply(storage, group);
      if (trees.appliedIndex > checkpointIndex) this.#checkApplied(group, trees, engine);
      const floor = Math.min(trees.base.index, storage.wal.groupLog(group).firstIndex() - 1);
      this.#acknowledged = this.#acknowledged.without(group, floor);
    }
    // What a start has found it has made durable, and the segment that it begins proves it.
    this.#answers = [{ lsn: 0, state: this.#acknowledged }];
    for (const [group, entry] of this.#votes) {
      entry.pending = null;
      entry.saved = voteOf(storage.votes, group) ?? entry.saved;
    }
  }

  #checkApplied(
    group: GroupId,
    { base, appliedIndex }: Trees,
    engine: { tree: Version["tree"] },
  ): void {
    const expected = base.at(this.#acknowledged.of(group), appliedIndex);
    const found = this.#table.difference((id) => engine.tree(id), expected);
    check(
      found === null,
      "checkpoint and log together give the state",
      () => `group ${group}: ${found}`,
    );
  }

  #prove(): void {
    const fork = this.#machine.fork();
    fork.losePower("lose-all");
    fork.disk.quotaBytes = Number.POSITIVE_INFINITY;
    const storage = this.#tryToOpen(fork, false);
    if (storage === null || storage instanceof Error)
      throw new Violation("what is durable can be opened", `${storage?.stack}`);
    try {
      findState(storage, this.#knowledge(), false);
    } catch (error) {
      if (error instanceof Violation)
        throw new Violation("an acknowledgement does not precede its sync", error.message);
      throw error;
    }
  }

  // ---- faults ----

  #failWrite({ operation, target, skip }: Step<"fail-write">): void {
    if (this.#failure !== null) return;
    const matches = (path: string): boolean => {
      const kind = fileClassOf(path);
      if (target === "log") return kind === "log";
      return target === "votes" ? path === `${ROOT}/VOTE` : path === `${ROOT}/db/${target}.hdb`;
    };
    this.#failure = {
      fault: new FailedWrite(this.#machine, operation, matches, "EIO", skip),
      target,
    };
  }

  /** The next start meets an error that a file system gives, once. */
  #refuse({ operation, error, skip }: Step<"refuse">): void {
    if (!this.#isCreated || this.#isOpen || this.#refusal !== null) return;
    this.#refusal = this.#machine.disk.inject({ operation, error, skip });
  }

  #endRefusal(): void {
    this.#refusal?.remove();
    this.#refusal = null;
  }

  #slowDown({ file, skip, times, ms }: Step<"slow">): void {
    if (this.#slow !== null) return;
    this.#slow = {
      isStuck: ms === null,
      fault: this.#machine.disk.inject({
        operation: ["write", "sync"],
        path: (path) => fileClassOf(path) === file,
        skip,
        times,
        delayMs: ms ?? Number.POSITIVE_INFINITY,
      }),
    };
    if (ms !== null) this.#marks.hit("slow sync");
  }

  #endSlow(): void {
    this.#slow?.fault.remove();
    this.#slow = null;
  }

  #fill({ pages }: Step<"full">): void {
    const { disk } = this.#machine;
    disk.quotaBytes = disk.usedBytes + pages * 4096;
    this.#wasFull = false;
  }

  #makeRoom({ wal }: Storage): void {
    if (!this.#isFull) return;
    this.#wasFull = wal.space === "full";
    check(wal.failed === null || this.#failure !== null, "a full disk does not stop the log", () =>
      String(wal.failed),
    );
    this.#machine.disk.quotaBytes = Number.POSITIVE_INFINITY;
    if (this.#failure !== null || this.#slow !== null) return;
    this.#pass(ROOM_MS);
    if (!this.#machine.running) return;
    check(
      wal.space === "ok" && this.#handed.length === 0,
      "a full disk is forgotten once there is room",
      () => `space is ${wal.space}, ${this.#handed.length} appends wait`,
    );
    if (this.#wasFull) this.#marks.hit("full disk and back");
  }

  /** Done to a copy of a directory that nobody has open: refused by name, or harmless. */
  #damage(step: Step<"damage">): void {
    const isCrashed = this.#isCreated && !this.#isClosed;
    if (isCrashed && (this.#storage !== null || !this.#machine.disk.quiet || isMove(step.kind)))
      return;
    if (!isCrashed && !this.#isClosed) return;
    const fork = this.#machine.fork(step.seed);
    fork.disk.quotaBytes = Number.POSITIVE_INFINITY;
    const done = damage(
      fork,
      step,
      this.#remembered,
      () => (this.#foreign ??= strangerOf(this.#seed, this.#options.storage)),
    );
    if (done === null) return;
    const { what } = done;
    this.#note("damage", step.offset, what);
    if (isCrashed) this.#marks.hit("damage after a crash");
    const verdict = verdictOf(fork, done, { ...this.#knowledge(), answers: this.#answers });
    const isLost = step.kind === "stale" || step.kind === "misdirected";
    const refused = (error: Error): void => {
      check(
        !verdict.mustOpen,
        "a start refuses nothing that it can do without",
        () => `${what}: ${error.stack}`,
      );
      this.#marks.hit("damage refused");
      if (isLost) this.#marks.hit("lost write refused");
      if (isMove(step.kind)) this.#marks.hit("moved file refused");
    };
    try {
      const storage = this.#tryToOpen(fork, false);
      if (storage instanceof Error) {
        check(
          storage instanceof HarmonyError,
          "damage is refused by name",
          () => `${what}: ${storage.stack}`,
        );
        refused(storage);
      } else if (storage !== null) {
        const found = findState(storage, { ...this.#knowledge(), ...verdict.known }, true);
        this.#marks.hit("damage harmless");
        if (what.includes("MANIFEST")) this.#marks.hit("manifest rebuilt");
        if (verdict.mustOpen) this.#marks.hit("damage that must not be refused");
        if (verdict.unproven.includes(found)) this.#marks.hit("unproven batch lost to damage");
      }
    } catch (error) {
      if (error instanceof Violation)
        throw new Violation("damage is refused or harmless", `${what}: ${error.message}`);
      if (!(error instanceof CorruptionError)) throw error;
      refused(error);
    }
  }
}

/** Done to whole files. */
function isMove(kind: DamageKind): boolean {
  return kind === "missing" || kind === "doubled" || kind === "swapped" || kind === "foreign";
}

/** Whether a batch takes away entries that are there. */
function isOverwriting(batch: readonly ModelAppend[], before: LogState): boolean {
  return batch.some(({ group, entries }) => {
    const first = entries[0];
    const { floor, entries: known } = before.of(group);
    return first !== undefined && first.index <= floor + known.length;
  });
}
