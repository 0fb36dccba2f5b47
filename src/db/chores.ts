/**
 * What a database does without being asked: proposes the expiry of leases, keys and sessions, compacts its history, removes compacted
 * versions a slice at a time, and makes checkpoints.
 *
 * Every chore that changes the database goes through the log like a client's command; those that only move bytes
 * (slices, checkpoints) are local and leave what can be read as it is.
 *
 * A chore may come upon damage. Where the others can heal it the node goes on, in quarantine: then nothing is done here until
 * it is over, for another state takes the place of this one, whose trees may have been left in the middle of a change.
 */
import { assert, HarmonyError } from "../base/index.ts";
import type { CheckpointMeta, Engine } from "../btree/index.ts";
import { type Env, FileError, type Io, runIo, type Timer } from "../env/index.ts";
import type { Replica } from "../replica/index.ts";
import type { Wal } from "../wal/index.ts";
import { encodeCheckpointPayload } from "./checkpoint-payload.ts";
import { encodeCommand, encodeExpire } from "./command.ts";
import type { KvDatabase } from "./kv-database.ts";
import type { Outcome } from "./requests.ts";
import { Retention, type RetentionSettings } from "./retention.ts";
import type { KvStateMachine } from "./state-machine.ts";

/** How late a deadline is found at most; where one is known to come earlier, the next round comes with it. */
const CHORE_MS = 50;
const CHECKPOINT_RETRY_MS = 10_000;
/** On a full disk checkpoints are what lets segments of the log go; they follow each other no faster than this. */
const CHECKPOINT_FULL_MS = 1_000;
/** Old versions removed in one go: a few hundred microseconds of tree work. */
const COMPACT_EVENTS_PER_SLICE = 200;
/**
 * What one command ends at most: a few milliseconds of tree work, between which other requests are served. As long as
 * more is due the next command follows at once, so far more than 10,000 a second end in time.
 */
const EXPIRE_PER_COMMAND = 250;

/**
 * Two checkpoints' worth of log is needed as long as the newest one may be damaged, and a third gathers meanwhile. Who
 * keeps more than that lags: checkpoints fail, or do not keep up.
 */
const LAG_CHECKPOINTS = 3;

/** What brings a checkpoint about: whichever of them comes first since the last one. */
export interface CheckpointTriggers {
  /** So many bytes of log. Default: 256 MiB. */
  readonly walBytes: number;
  /** So many milliseconds, if anything has changed. Default: five minutes. */
  readonly intervalMs: number;
  /** So many commands. Default: 100,000. */
  readonly operations: number;
}

export const DEFAULT_CHECKPOINTS: CheckpointTriggers = Object.freeze({
  walBytes: 256 * 1024 * 1024,
  intervalMs: 5 * 60_000,
  operations: 100_000,
});

export interface ChoresConfig {
  readonly env: Env;
  readonly replica: Replica<Outcome>;
  readonly machine: KvStateMachine;
  readonly database: KvDatabase;
  readonly engine: Engine;
  readonly wal: Wal;
  readonly incarnation: number;
  readonly checkpoints: CheckpointTriggers;
  readonly retention: RetentionSettings;
  /** Makes durable what has to be before a checkpoint speaks of it; null when there is nothing. */
  readonly beforeCheckpoint: () => Io<void> | null;
  /** So much of the log stays, whatever is in checkpoints: others may still need it. */
  readonly keepLogBytes: () => number;
  readonly onFatal: (error: HarmonyError) => void;
}

export class Chores {
  readonly #config: ChoresConfig;
  readonly #env: Env;
  readonly #machine: KvStateMachine;
  #retention: Retention;
  #retentionOf: RetentionSettings;
  #timer: Timer | null = null;
  #isStopped = false;
  #isExpiring = false;
  #isFollowedUp = false;
  /** The term in which this leader has proposed its first expiry. */
  #expiredTerm = 0;
  #isCompacting = false;
  #checkpointing = false;
  #checkpointsMade = 0;
  #whenCheckpointed: (() => void)[] = [];
  #checkpointLsn: number;
  #checkpointIndex: number;
  #checkpointCommands: number;
  #checkpointAtMs: number;
  #checkpointNotBeforeMs = 0;
  #isLagging = false;
  #isPaused = false;
  #whenResumed: (() => void)[] = [];

  constructor(config: ChoresConfig) {
    this.#config = config;
    this.#env = config.env;
    this.#machine = config.machine;
    this.#retention = new Retention(config.retention);
    this.#retentionOf = config.retention;
    this.#checkpointLsn = config.engine.checkpoints.newest?.walLsn ?? 0;
    this.#checkpointIndex = config.engine.checkpoints.newest?.appliedIndex ?? 0;
    this.#checkpointCommands = 0;
    this.#checkpointAtMs = config.env.clock.monotonicMs();
  }

  start(): void {
    this.#arm(CHORE_MS);
  }

  /** Ends the chores. A checkpoint that is on its way goes on: see `whenQuiet`. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  /**
   * Nothing is done until `resume`: another state is about to take the place of the one here. Calls `done` when no
   * checkpoint is on its way.
   */
  pause(done: () => void): void {
    this.#isPaused = true;
    if (this.#checkpointing) this.#whenCheckpointed.push(done);
    else done();
  }

  /** Goes on with what the engine holds now. */
  resume(): void {
    this.#isPaused = false;
    const { newest } = this.#config.engine.checkpoints;
    this.#checkpointLsn = Math.max(this.#checkpointLsn, newest?.walLsn ?? 0);
    this.#checkpointIndex = Math.max(this.#checkpointIndex, newest?.appliedIndex ?? 0);
    for (const next of this.#whenResumed.splice(0)) next();
  }

  /** Checkpoints since the start. */
  get checkpointsMade(): number {
    return this.#checkpointsMade;
  }

  /** A group that keeps more of the log than this lags behind. */
  get lagBytes(): number {
    return LAG_CHECKPOINTS * this.#config.checkpoints.walBytes;
  }

  /** Calls `done` when no checkpoint is on its way any more. After `stop`. */
  whenQuiet(done: () => void): void {
    assert(this.#isStopped, "only chores that have been stopped become quiet");
    if (this.#checkpointing) this.#whenCheckpointed.push(done);
    else done();
  }

  /**
   * Once the replica has stopped nothing is done any more: above all no checkpoint, for what ended it may have left an
   * entry half applied.
   */
  get #isOver(): boolean {
    return this.#isStopped || this.#config.replica.stopped !== null;
  }

  /** Why there is no checkpoint now, whoever asks for one. */
  get #refusal(): HarmonyError | null {
    const { stopped, quarantined } = this.#config.replica;
    return stopped ?? (this.#isStopped ? new HarmonyError("CLOSED") : quarantined);
  }

  #arm(delayMs: number): void {
    this.#timer = this.#env.timers.after(delayMs, () => {
      if (this.#isOver) return;
      let restMs = CHORE_MS;
      try {
        restMs = this.#round();
      } catch (error) {
        this.#config.onFatal(fatalOf(error));
      }
      // Damage need not have ended the node: once it is healed all chores are due again.
      if (!this.#isOver) this.#arm(restMs);
    });
  }

  /** Answers when the next one is due. */
  #round(): number {
    if (this.#isPaused || this.#config.replica.quarantined !== null) return CHORE_MS;
    const isLeader = this.#config.replica.raft.role === "leader";
    if (isLeader) {
      this.#expire();
      this.#compact();
    }
    const isMore =
      this.#machine.isCompacting && this.#machine.compactSlice(COMPACT_EVENTS_PER_SLICE);
    this.#config.database.compactionAdvanced();
    this.#maybeCheckpoint();
    this.#lookForLag();
    return isMore ? 1 : isLeader ? this.#restMs() : CHORE_MS;
  }

  /** How long there is nothing to do: until the next deadline, but a new one may come before it. */
  #restMs(): number {
    const dueMs = this.#machine.nextDeadlineMs;
    if (dueMs === null || this.#isExpiring) return CHORE_MS;
    const leftMs = dueMs - this.#config.replica.clock.nowMs();
    // What is due and not on its way could not be proposed: a moment later is soon enough.
    return leftMs > 0 ? Math.min(CHORE_MS, leftMs) : CHORE_MS;
  }

  #expire(): void {
    const dueMs = this.#machine.nextDeadlineMs;
    if (dueMs === null || this.#isExpiring) return;
    const nowMs = this.#config.replica.clock.nowMs();
    // The first one of a term is proposed in any case: the time that leases are given after a change of leader begins
    // with the first stamped entry of the term, and an idle group may not have another for long.
    const { term } = this.#config.replica.raft;
    if (dueMs > nowMs && this.#expiredTerm === term) return;
    this.#expiredTerm = term;
    this.#isExpiring = true;
    const command = encodeExpire({ upToClockMs: nowMs, limit: EXPIRE_PER_COMMAND });
    this.#config.replica.propose(command, true, (error) => {
      this.#isExpiring = false;
      if (error !== null || this.#isOver || this.#isFollowedUp) return;
      const nextMs = this.#machine.nextDeadlineMs;
      if (nextMs === null || nextMs > nowMs) return;
      this.#isFollowedUp = true;
      this.#env.timers.soon(() => this.#expireMore());
    });
  }

  /** In a turn of its own, so that what came meanwhile stands before it. */
  #expireMore(): void {
    this.#isFollowedUp = false;
    if (this.#isOver || this.#config.replica.raft.role !== "leader") return;
    try {
      this.#expire();
    } catch (error) {
      this.#config.onFatal(fatalOf(error));
    }
  }

  #compact(): void {
    if (this.#isCompacting) return;
    const { settings } = this.#machine;
    if (settings !== this.#retentionOf) {
      this.#retentionOf = settings;
      this.#retention = new Retention(settings);
    }
    const nowMs = this.#env.clock.monotonicMs();
    const revision = this.#retention.due(
      nowMs,
      this.#machine.revision,
      this.#machine.compactRevision,
    );
    if (revision === 0) return;
    this.#isCompacting = true;
    this.#config.replica.propose(
      encodeCommand({ kind: "compact", revision, physical: false }),
      true,
      () => {
        this.#isCompacting = false;
      },
    );
  }

  #maybeCheckpoint(): void {
    if (this.#checkpointing) return;
    const { engine, replica, wal, checkpoints } = this.#config;
    const nowMs = this.#env.clock.monotonicMs();
    if (nowMs < this.#checkpointNotBeforeMs) return;
    const isFull = wal.space === "full" && nowMs - this.#checkpointAtMs >= CHECKPOINT_FULL_MS;
    const isFar = wal.durableLsn - this.#checkpointLsn >= checkpoints.walBytes;
    if (this.#machine.appliedIndex === this.#checkpointIndex) {
      // The log goes behind the older of the two checkpoints, so the newest one is made twice where what stands between
      // them keeps too much: on a full disk, or because other groups wrote on (docs/decisions/0016-nothing-in-the-log-moves.md).
      const olderIndex = engine.checkpoints.older?.appliedIndex ?? 0;
      if ((isFull || isFar) && olderIndex < this.#checkpointIndex) this.checkpoint(() => {});
      return;
    }
    if (
      isFull ||
      isFar ||
      replica.commandsApplied - this.#checkpointCommands >= checkpoints.operations ||
      nowMs - this.#checkpointAtMs >= checkpoints.intervalMs
    ) {
      this.checkpoint(() => {});
    }
  }

  /** Said once when it begins and once when it is over. */
  #lookForLag(): void {
    const { wal } = this.#config;
    const keptBytes = wal.durableLsn - this.#checkpointLsn;
    const isLagging = keptBytes > this.lagBytes;
    if (isLagging === this.#isLagging) return;
    this.#isLagging = isLagging;
    if (isLagging)
      this.#env.log("warn", "checkpoint", "the data file lags behind the log, which cannot go", {
        keptBytes,
        expectedBytes: this.lagBytes,
      });
    else this.#env.log("info", "checkpoint", "the data file has caught up with the log", {});
  }

  /**
   * Makes what is applied durable in the data file and lets the WAL go behind it. `done` gets null, or what went
   * wrong: a full disk leaves the old checkpoint in force, and so does a quarantine; anything else ends the node.
   */
  checkpoint(done: (error: HarmonyError | null) => void): void {
    if (this.#checkpointing) {
      this.#whenCheckpointed.push(() => this.checkpoint(done));
      return;
    }
    const refusal = this.#refusal;
    if (refusal !== null) {
      done(refusal);
      return;
    }
    if (this.#isPaused) {
      this.#whenResumed.push(() => this.checkpoint(done));
      return;
    }
    this.#checkpointing = true;
    // No meta page is written before the log is synced through what it names.
    runIo(this.#prepareCheckpoint(), (error) => {
      const refusal = this.#refusal;
      if (error instanceof FileError && error.isFull) this.#foundNoRoom(error, done);
      else if (error !== null) this.#failed(error, done);
      else if (refusal !== null) this.#checkpointEnded(done, refusal);
      else this.#writeCheckpoint(done);
    });
  }

  /** The log comes last: what was applied while something else was written is to be synced, too. */
  *#prepareCheckpoint(): Io<void> {
    const { wal, beforeCheckpoint } = this.#config;
    do {
      const before = beforeCheckpoint();
      if (before !== null) yield* before;
      yield* wal.sync();
    } while (beforeCheckpoint() !== null);
  }

  #foundNoRoom(error: FileError, done: (error: HarmonyError | null) => void): void {
    this.#checkpointNotBeforeMs = this.#env.clock.monotonicMs() + CHECKPOINT_RETRY_MS;
    this.#env.log(
      "warn",
      "checkpoint",
      "no room for a checkpoint: the log is kept until there is",
      {
        error: error.message,
      },
    );
    this.#checkpointEnded(done, new HarmonyError("DISK_FULL", error.message, { cause: error }));
  }

  #writeCheckpoint(done: (error: HarmonyError | null) => void): void {
    const { engine, wal, replica, incarnation } = this.#config;
    const { confState } = replica.raft;
    const machine = this.#machine;
    const meta: CheckpointMeta = {
      appliedIndex: machine.appliedIndex,
      appliedTerm: machine.appliedTerm,
      walLsn: wal.durableLsn,
      payload: encodeCheckpointPayload({ incarnation, confState, machine: machine.payload() }),
    };
    assert(
      wal.isSynced && wal.groupLog(replica.group).lastIndex() >= meta.appliedIndex,
      "what is applied is durable in the log",
    );
    const commands = replica.commandsApplied;
    runIo(engine.checkpoint(meta), (error) => {
      const nowMs = this.#env.clock.monotonicMs();
      if (error === null) {
        this.#checkpointLsn = meta.walLsn;
        this.#checkpointIndex = meta.appliedIndex;
        this.#checkpointCommands = commands;
        this.#checkpointAtMs = nowMs;
        this.#checkpointsMade++;
        this.#release(() => this.#checkpointEnded(done, null));
      } else if (error instanceof FileError && error.isFull) {
        this.#foundNoRoom(error, done);
      } else this.#failed(error, done);
    });
  }

  /** Of what was found to be damaged meanwhile it is known already; a write that fails ends the node in any case. */
  #failed(error: unknown, done: (error: HarmonyError | null) => void): void {
    const { replica, onFatal } = this.#config;
    const { quarantined } = replica;
    if (quarantined !== null && !(error instanceof FileError)) {
      this.#checkpointEnded(done, quarantined);
      return;
    }
    const fatal = fatalOf(error);
    onFatal(fatal);
    this.#checkpointEnded(done, fatal);
  }

  #release(done: () => void): void {
    const { engine, wal, replica, keepLogBytes } = this.#config;
    const { newest, older } = engine.checkpoints;
    assert(newest !== null, "a checkpoint has just been made");
    const checkpoint = {
      appliedIndex: newest.appliedIndex,
      appliedTerm: newest.appliedTerm,
      olderAppliedIndex: older?.appliedIndex ?? 0,
    };
    const released = (error: HarmonyError | null): void => {
      // A manifest that could not be written is made up for by the next one; a log that failed has said so itself.
      if (error !== null)
        this.#env.log("warn", "checkpoint", "the log is kept longer than it has to be", {
          error: error.message,
        });
      done();
    };
    // On a full disk the room is needed here.
    const keepBytes = wal.space === "ok" ? keepLogBytes() : 0;
    wal.release(replica.group, checkpoint, released, keepBytes);
  }

  #checkpointEnded(done: (error: HarmonyError | null) => void, error: HarmonyError | null): void {
    this.#checkpointing = false;
    const waiting = this.#whenCheckpointed;
    this.#whenCheckpointed = [];
    done(error);
    for (const next of waiting) next();
  }
}

function fatalOf(error: unknown): HarmonyError {
  return error instanceof HarmonyError
    ? error
    : new HarmonyError("STOPPED", String(error), { cause: error });
}
