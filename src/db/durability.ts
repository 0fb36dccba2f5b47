/**
 * When a write is acknowledged (architecture section 3, requirements C13): after its sync, or by choice, on a node
 * that is alone, before it or without one. The node says so wherever somebody might rely on the default.
 *
 * A power loss in the interval mode takes the newest revisions back, and they would be given again to other writes:
 * whoever holds one, as a fencing token say, could not tell. So VERSION remembers a run in this mode before its first
 * acknowledgement, and forgets it at a clean stop. A start that finds it raises the revision, by a command in the log,
 * beyond all that can have been given, once:
 *
 *     clean ──a run begins──▶ running ──found by a start──▶ raising to N ──N is durable──▶ running, or clean
 *                                └─────clean stop, all synced──▶ clean
 *
 * That N is written down before it is proposed makes the step repeatable: a start that ends half way is no run of its
 * own, and the next one goes on to the same N.
 */
import { assert, HarmonyError } from "../base/index.ts";
import { type Env, FileError, type Io } from "../env/index.ts";
import type { ConfState } from "../raft/index.ts";
import type { Replica } from "../replica/index.ts";
import type { Wal } from "../wal/index.ts";
import { encodeRaiseRevision } from "./command.ts";
import { type Identity, type UnsyncedRun, writeVersion } from "./data-directory.ts";
import type { Durability } from "./database.ts";
import type { NodeOptions } from "./node-options.ts";
import type { Outcome } from "./requests.ts";
import type { KvStateMachine } from "./state-machine.ts";

/** More revisions than any node gives in the seconds that the interval and a sync may take. */
const RAISE_REVISIONS = 1_000_000;

export function durabilityOf(options: NodeOptions): Durability {
  if (options.persistence === "none") return { mode: "memory", fsyncIntervalMs: 0 };
  const { fsyncIntervalMs = 0 } = options;
  return { mode: fsyncIntervalMs === 0 ? "sync" : "interval", fsyncIntervalMs };
}

/**
 * Refuses what would break Raft: an entry that a voter acknowledged and forgets may be committed with its vote. A
 * learner is refused as well, for it would keep what the voter lost.
 */
export function assertAlone({ mode }: Durability, confState: ConfState): void {
  if (mode === "sync") return;
  const { voters, votersOutgoing, learners, learnersNext } = confState;
  const members = new Set([...voters, ...votersOutgoing, ...learners, ...learnersNext]);
  if (members.size === 1 && voters.length === 1) return;
  const flag = mode === "memory" ? "--disable-persistence" : "--fsync-interval-ms";
  throw new HarmonyError(
    "INVALID_ARGUMENT",
    `${flag} is for a node that is alone, and this group has ${members.size} members: a member that forgets what it acknowledged could undo what the others rely on`,
  );
}

/** A line at each start, so that nobody finds out by a power loss. */
export function warnOfDurability(env: Env, { mode, fsyncIntervalMs }: Durability): void {
  if (mode === "interval")
    env.log(
      "warn",
      "node",
      `acknowledged before the sync: a power loss may take back the last ${fsyncIntervalMs} ms of writes`,
      { durability: mode, fsyncIntervalMs },
    );
  if (mode === "memory")
    env.log("warn", "node", "nothing is written to disk: the data ends with the process", {
      durability: mode,
    });
}

interface UnsyncedConfig {
  readonly env: Env;
  readonly dataDir: string;
  readonly identity: Identity;
  /** What VERSION said at the start. */
  readonly found: UnsyncedRun | null;
  readonly durability: Durability;
  readonly machine: KvStateMachine;
  readonly replica: Replica<Outcome>;
  readonly wal: Wal;
}

/**
 * Settles what a run in the interval mode left, and remembers this one if it is another. Everything that was there
 * before is applied; nothing is acknowledged to a client before this has returned.
 */
export function* beginRun(config: UnsyncedConfig): Io<void> {
  const { env, dataDir, identity, found, durability, machine, replica, wal } = config;
  const remember = (run: UnsyncedRun | null): Io<void> =>
    writeVersion(env.files, dataDir, identity, run);
  let known = found;
  if (found !== null) {
    const from = machine.revision;
    const raiseTo = found.raiseTo ?? from + RAISE_REVISIONS;
    if (found.raiseTo === null) {
      try {
        yield* remember({ raiseTo });
        known = { raiseTo };
      } catch (error) {
        // On a full disk the start goes on: ending half way would only raise the revision a second time.
        if (!(error instanceof FileError && error.isFull)) throw error;
      }
    }
    if (from < raiseTo) {
      yield (done) =>
        replica.propose(encodeRaiseRevision(raiseTo), true, (error) =>
          // What the node failed with travels through an Io as it is.
          done(error as unknown as FileError | null, undefined),
        );
      assert(machine.revision === raiseTo, "the revision is raised before anybody is served");
      env.log(
        "warn",
        "node",
        `the last run ended without its last sync: revisions go on at ${raiseTo}`,
        { from, raiseTo },
      );
    }
  }
  if (durability.mode !== "interval") {
    // Its entry is synced with its acknowledgement.
    if (found !== null) yield* attemptForget(env, remember(null));
    return;
  }
  yield* wal.sync();
  if (known !== null && known.raiseTo === null) return;
  try {
    yield* remember({ raiseTo: null });
  } catch (error) {
    if (!(error instanceof FileError && error.isFull)) throw error;
    const what =
      "no room to remember the interval mode: make room, or start without fsyncIntervalMs";
    throw new HarmonyError("DISK_FULL", what, { cause: error });
  }
}

/** At a clean stop: everything is synced, so there is nothing to make up for. */
export function endRun(env: Env, dataDir: string, identity: Identity): Io<void> {
  return attemptForget(env, writeVersion(env.files, dataDir, identity, null));
}

/** On a full disk the run stays remembered: the next start raises the revision without need, which hurts nobody. */
function* attemptForget(env: Env, write: Io<void>): Io<void> {
  try {
    yield* write;
  } catch (error) {
    if (!(error instanceof FileError && error.isFull)) throw error;
    env.log("warn", "node", "no room to note that all is synced: the next start raises revisions", {
      error: error.message,
    });
  }
}
