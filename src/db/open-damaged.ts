/**
 * A directory whose log or data file lost what was proven durable. A node alone refuses it, with file and offset: nobody
 * else has what it lost. A member of a cluster puts it aside and begins with nothing, in quarantine, until the others have
 * healed it (requirements S2-51, S2-52, C41):
 *
 *     refused ─▶ QUARANTINE durable ─▶ log, data, snapshots aside ─▶ empty ones made ─▶ a new life durable in VOTE ─▶ runs
 *
 * Each step can be repeated after a crash. What it must still know is kept twice elsewhere: whom it voted for, in VOTE,
 * without which it refuses as well, also when one of two slots cannot be read: the newest vote may have stood in it, and
 * the log that knew it, too, is put aside. What is aside stays there until it is healed.
 */
import { CorruptionError } from "../base/index.ts";
import type { Env, Io } from "../env/index.ts";
import { isSameLog, readVotes } from "../wal/index.ts";
import type { Durability } from "./database.ts";
import type { Closing } from "./node.ts";
import type { NodeOptions } from "./node-options.ts";
import {
  identify,
  type Identified,
  openFound,
  saveVote,
  type Storage,
  walIdentityOf,
} from "./open-storage.ts";
import {
  putAside,
  type QuarantineReason,
  readQuarantine,
  writeQuarantine,
} from "./quarantine-file.ts";

export interface OpenedStorage extends Storage {
  /** Why the replica begins in quarantine; null: it does not. */
  readonly quarantine: QuarantineReason | null;
}

/** As `openFound`, and goes on where a member may. */
export function* openStorage(
  env: Env,
  options: NodeOptions,
  durability: Durability,
  opened: Closing[],
): Io<OpenedStorage> {
  const { dataDir } = options;
  const found = yield* identify(env, options, durability);
  const own: Closing[] = [];
  let quarantine = hasOthers(env, found) ? yield* readQuarantine(env.files, dataDir) : null;
  let storage: Storage;
  try {
    storage = yield* openFound(env, options, durability, own, found, false);
  } catch (error) {
    const isHealable = error instanceof CorruptionError && hasOthers(env, found);
    if (!isHealable || !(yield* hasVotes(env, dataDir, found))) {
      opened.push(...own);
      throw error;
    }
    for (const close of own.splice(0).toReversed()) yield* close();
    quarantine = error.message;
    env.log("error", "node", "what is damaged is put aside, to be healed by the other members", {
      file: error.damage.file,
      offset: error.damage.offset,
      error: error.message,
    });
    yield* writeQuarantine(env.files, dataDir, quarantine);
    yield* putAside(env, dataDir);
    const emptied = withMembers(found, options);
    storage = yield* openFound(env, options, durability, own, emptied, true);
    storage = { ...storage, damagedPlaces: storage.damagedPlaces + 1 };
  }
  opened.push(...own);
  return quarantine === null ? { ...storage, quarantine } : yield* newLife(storage, quarantine);
}

/** Somebody who may hold what is lost here, and a way to him. */
function hasOthers(env: Env, { isNew, members, identity }: Identified): boolean {
  const isMember = members.members.some(({ id }) => id !== identity.memberId);
  return !isNew && isMember && env.links !== undefined;
}

/** The file is only read: a start that is refused for one slot must find it as it is the next time, too. */
function* hasVotes(env: Env, directory: string, { identity }: Identified): Io<boolean> {
  const votes = yield* readVotes(env.files, directory);
  return (
    votes.isWhole && votes.identity !== null && isSameLog(votes.identity, walIdentityOf(identity))
  );
}

/** Those whom it knew last are whom it asks; who they are by now comes with the snapshot. */
function withMembers(found: Identified, options: NodeOptions): Identified {
  const { members, identity } = found;
  const { name = "default", peerUrls = [], clientUrls = [] } = options;
  const self = { id: identity.memberId, name, peerUrls };
  const others = members.members.filter(({ id }) => id !== identity.memberId);
  const known = members.members.find(({ id }) => id === identity.memberId) ?? self;
  const founders = [known, ...others].map((member) => ({
    ...member,
    clientUrls: member === known ? clientUrls : [],
    isLearner: false,
  }));
  return { ...found, founders };
}

/** Begun before anything is said: what the life before acknowledged counts for nothing from now on. */
function* newLife(storage: Storage, quarantine: QuarantineReason): Io<OpenedStorage> {
  const { votes, hardState } = storage;
  const { term, vote } = hardState;
  const incarnation = storage.incarnation + 1;
  yield* saveVote(votes, { term, vote, incarnation });
  return { ...storage, incarnation, quarantine };
}
