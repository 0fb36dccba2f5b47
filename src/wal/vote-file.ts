/**
 * The second copy of every group's term, vote and incarnation. The first is the log; this one is small, is written
 * only in elections, and is not touched by what may damage the log's tail: a node that forgot its vote could vote
 * twice, and that loses committed data.
 *
 *     sector 0          preamble, identity, checksum
 *     sectors 1, 2      the slots A and B of the first group, one sector each
 *     sectors 3, 4      of the second group, and so on
 *
 * Invariants: a save writes the slot that holds the older generation, so the newer one survives a torn write; `done`
 * comes after the write is durable; the first save of a group fills both slots, so a pair of which one slot is
 * unreadable and the other empty was never answered, and a pair with two unreadable slots is damage.
 */
import {
  assert,
  crc32c,
  equalBytes,
  HarmonyError,
  readU32,
  readU64,
  writeU32,
  writeU64,
} from "../base/index.ts";
import {
  closeFile,
  type Env,
  type File,
  FileError,
  type Files,
  type Io,
  openFile,
  runIo,
  writeFile,
} from "../env/index.ts";
import type { GroupId, HardState } from "../raft/index.ts";
import { checkPreamble, isZero, SECTOR_BYTES, VOTE_MAGIC, writePreamble } from "./format.ts";
import { readWhole, replaceFile } from "./manifest.ts";
import { IDENTITY_BYTES, readIdentity, writeIdentity } from "./segment.ts";
import { stopped } from "./segment-supply.ts";
import type { AppendDone, VoteState, WalIdentity } from "./types.ts";

const NAME = "VOTE";
const PAIR_BYTES = 2 * SECTOR_BYTES;
/** "HDBV". */
const SLOT_MAGIC = 0x56424448;
const PAIRS_MIN = 16;
const BYTES_MAX = 64 * 1024 * 1024;

interface Slot {
  readonly group: GroupId;
  readonly generation: number;
  readonly state: VoteState;
}

interface Place {
  /** Which pair of sectors. */
  readonly pair: number;
  generation: number;
  /** The slot, 0 or 1, that the next save writes. */
  next: number;
  state: VoteState;
}

/** What the file says of a group: "none" never voted; "unreadable" may have voted, but the file is damaged. */
export type VoteRead = VoteState | "none" | "unreadable";

export class VoteFile {
  readonly #file: File | null;
  /** Seeds the checksums of the slots, so that those of another file are never read as ours. */
  readonly #seed: number;
  readonly #places: Map<GroupId, Place>;
  #nextPair: number;
  readonly #lost: boolean;
  #failed: HarmonyError | null = null;
  readonly #saving: Map<GroupId, { state: VoteState; readonly waiters: AppendDone[] }[]> =
    new Map();
  #closed = false;

  private constructor(
    file: File | null,
    seed: number,
    places: Map<GroupId, Place>,
    pairs: number,
    lost: boolean,
  ) {
    this.#file = file;
    this.#seed = seed;
    this.#places = places;
    this.#nextPair = pairs;
    this.#lost = lost;
  }

  /** Writes a new vote file that holds these states, in the place of any before it. */
  static *create(
    env: Env,
    options: { readonly directory: string },
    identity: WalIdentity,
    states: ReadonlyMap<GroupId, VoteState> = new Map(),
  ): Io<VoteFile> {
    const groups = [...states].sort(([a], [b]) => a - b);
    // Room from the start: a first vote must not fail because the disk is full.
    const bytes = new Uint8Array(SECTOR_BYTES + Math.max(groups.length, PAIRS_MIN) * PAIR_BYTES);
    const seed = writeFileHead(bytes, identity);
    const places = new Map<GroupId, Place>();
    groups.forEach(([group, state], pair) => {
      const slot = { group, generation: 1, state };
      writeSlot(bytes, slotOffset(pair, 0), slot, seed);
      writeSlot(bytes, slotOffset(pair, 1), slot, seed);
      places.set(group, { pair, generation: 1, next: 0, state });
    });
    yield* replaceFile(env.files, options.directory, NAME, bytes);
    return new VoteFile(
      yield* openDurable(env, options.directory),
      seed,
      places,
      groups.length,
      false,
    );
  }

  /**
   * Opens the vote file. One that is missing or damaged opens as `lost`: the states are then decided from the log
   * (`decideVote`) and a new file is created. A whole one is written again: what a killed process left may be visible
   * and yet not be durable, and a vote that is answered from it must be (fault-rules D10). It is brought up to what the
   * log says in `logged`: a process that died between the two left a newer vote in the log alone. Throws
   * WRONG_CLUSTER, NEWER_FORMAT, FileError.
   */
  static *open(
    env: Env,
    options: { readonly directory: string },
    identity: WalIdentity,
    logged: ReadonlyMap<GroupId, HardState> = new Map(),
  ): Io<VoteFile> {
    const path = `${options.directory}/${NAME}`;
    const found = yield* readVotes(env.files, options.directory);
    if (found.identity !== null && !isSameLog(found.identity, identity))
      throw new HarmonyError("WRONG_CLUSTER", `${path} holds the votes of another log`);
    if (!found.lost)
      return yield* VoteFile.create(env, options, identity, broughtUp(found.states, logged));
    const places = new Map<GroupId, Place>();
    for (const [group, state] of found.states)
      places.set(group, { pair: 0, generation: 0, next: 0, state });
    return new VoteFile(null, 0, places, 0, true);
  }

  /** The file, or a part of it that may have held a group, cannot be read. Create a new one before anything is saved. */
  get lost(): boolean {
    return this.#lost;
  }

  get failed(): HarmonyError | null {
    return this.#failed;
  }

  read(group: GroupId): VoteRead {
    return this.#places.get(group)?.state ?? (this.#lost ? "unreadable" : "none");
  }

  /** Every group that the file holds. */
  groups(): readonly GroupId[] {
    return [...this.#places.keys()].sort((a, b) => a - b);
  }

  /**
   * Makes a group's state durable; only then may a vote or a change of term be answered. Saves of one group follow
   * each other, and those that wait become one; saves of different groups overlap.
   */
  save(group: GroupId, state: VoteState, done: AppendDone): void {
    assert(!this.#lost, "a lost vote file is created anew before it is written");
    assert(!this.#closed, "a closed vote file is not written");
    const queue = this.#saving.get(group) ?? [];
    const before = queue[queue.length - 1]?.state ?? this.#places.get(group)?.state;
    assert(before === undefined || state.term >= before.term, "a term never decreases");
    assert(
      before === undefined || !conflicts(before, state),
      "a vote never changes within its term",
    );
    if (queue.length >= 2) {
      // The first is on its way; the one behind it has not begun.
      const waiting = queue[queue.length - 1] as { state: VoteState; waiters: AppendDone[] };
      waiting.state = state;
      waiting.waiters.push(done);
      return;
    }
    queue.push({ state, waiters: [done] });
    this.#saving.set(group, queue);
    if (queue.length === 1) this.#write(group);
  }

  /** Waits for what is being saved and closes the file. */
  *close(): Io<void> {
    this.#closed = true;
    let left = this.#saving.size;
    if (left > 0) {
      yield (done) => {
        const ended = (): void => {
          left--;
          if (left === 0) done(null, undefined);
        };
        for (const queue of this.#saving.values()) queue[queue.length - 1]?.waiters.push(ended);
      };
    }
    if (this.#file !== null) yield* closeFile(this.#file);
  }

  #write(group: GroupId): void {
    const queue = this.#saving.get(group) ?? [];
    const save = queue[0];
    if (save === undefined) {
      this.#saving.delete(group);
      return;
    }
    runIo(this.#writeSteps(group, save.state), (error) => {
      if (error !== null && !(error instanceof FileError)) throw error;
      if (error !== null) this.#failed ??= stopped(error);
      queue.shift();
      const result = this.#failed;
      // After a failure nothing is written any more: what waits fails with it.
      const over = result === null ? [] : queue.splice(0);
      // The next one begins before anybody is told: who is told may save again, which must find the queue in order.
      this.#write(group);
      for (const done of save.waiters) done(result);
      for (const { waiters } of over) for (const done of waiters) done(result);
    });
  }

  *#writeSteps(group: GroupId, state: VoteState): Io<void> {
    if (this.#failed !== null) return;
    const file = this.#file as File;
    const before = this.#places.get(group);
    const place = before ?? { pair: this.#nextPair++, generation: 0, next: 0, state };
    // The slot of an earlier life must not be what is left when the other one decays: nobody would hear this member then.
    if (before?.state.incarnation !== state.incarnation)
      yield* this.#writeSlot(file, place, group, state);
    if (before === undefined) this.#places.set(group, place);
    yield* this.#writeSlot(file, place, group, state);
  }

  *#writeSlot(file: File, place: Place, group: GroupId, state: VoteState): Io<void> {
    const sector = new Uint8Array(SECTOR_BYTES);
    const generation = place.generation + 1;
    writeSlot(sector, 0, { group, generation, state }, this.#seed);
    yield* writeFile(file, slotOffset(place.pair, place.next), sector);
    place.generation = generation;
    place.next = 1 - place.next;
    place.state = state;
  }
}

/** What a vote file says. `identity` is null when it does not say whose it is. */
export interface Votes {
  readonly lost: boolean;
  /** No slot is unreadable. One that is may have held a newer vote than the other one of its pair, which the log knows. */
  readonly isWhole: boolean;
  readonly identity: WalIdentity | null;
  readonly states: ReadonlyMap<GroupId, VoteState>;
}

const NOTHING: Votes = { lost: true, isWhole: false, identity: null, states: new Map() };

export function isSameLog(a: WalIdentity, b: WalIdentity): boolean {
  return (
    equalBytes(a.clusterId, b.clusterId) &&
    a.memberId === b.memberId &&
    equalBytes(a.walId, b.walId)
  );
}

/** With what the log knows better; a contradiction is left for `decideVote` to find. */
function broughtUp(
  states: ReadonlyMap<GroupId, VoteState>,
  logged: ReadonlyMap<GroupId, HardState>,
): ReadonlyMap<GroupId, VoteState> {
  const all = new Map(states);
  for (const [group, log] of logged) {
    const decided = decideVote(log, states.get(group) ?? "none", false);
    if (decided !== "corrupt" && decided.term > 0) all.set(group, decided);
  }
  return all;
}

/** Reads the vote file of a directory and changes nothing. Throws NEWER_FORMAT, FileError. */
export function* readVotes(files: Files, directory: string): Io<Votes> {
  const path = `${directory}/${NAME}`;
  let bytes: Uint8Array;
  try {
    bytes = yield* readWhole(files, path, BYTES_MAX);
    checkPreamble(bytes, VOTE_MAGIC, path);
  } catch (error) {
    const missing = error instanceof FileError && error.code === "ENOENT";
    const damaged = error instanceof HarmonyError && error.code === "CORRUPT";
    if (missing || damaged) return NOTHING;
    throw error;
  }
  if (bytes.length < SECTOR_BYTES || readU32(bytes, SECTOR_BYTES - 4) !== headCrc(bytes))
    return NOTHING;
  const identity = readIdentity(bytes, 16);
  if (identity === null) return NOTHING;
  const seed = headCrc(bytes);
  const states = new Map<GroupId, VoteState>();
  let lost = false;
  let isWhole = true;
  for (let at = SECTOR_BYTES; at < bytes.length; at += PAIR_BYTES) {
    const a = readSlot(bytes, at, seed);
    const b = readSlot(bytes, at + SECTOR_BYTES, seed);
    if (a === "damaged" || b === "damaged") isWhole = false;
    if (a === "damaged" && b === "damaged") lost = true;
    const newest =
      typeof a === "string" ? b : typeof b === "string" || a.generation >= b.generation ? a : b;
    if (typeof newest === "string") continue;
    const other = newest === a ? b : a;
    // A group in two pairs, two groups in one, two votes in one term: not what we wrote.
    const isStranger = typeof other !== "string" && other.group !== newest.group;
    const contradicts = typeof other !== "string" && conflicts(newest.state, other.state);
    if (states.has(newest.group) || isStranger || contradicts) lost = true;
    // Whatever a slot says of its own group still holds; of another group it says nothing.
    for (const slot of isStranger ? [newest, other] : [newest]) {
      const known = states.get(slot.group);
      const state = isStranger ? slot.state : merged(slot.state, other);
      states.set(slot.group, known === undefined ? state : merged(known, { ...slot, state }));
    }
  }
  return { lost, isWhole: isWhole && !lost, identity, states };
}

/**
 * What a replica starts from, given both copies: of two terms the higher one, of one term the copy that has a vote.
 * "corrupt": two different votes of one term, or the file is unreadable and others may rely on the vote: the member has
 * to be replaced. A lone voter goes on in the next term, in which it certainly has not voted.
 */
export function decideVote(
  log: HardState,
  file: VoteRead,
  loneVoter: boolean,
): VoteState | "corrupt" {
  if (file === "none") return { term: log.term, vote: log.vote, incarnation: 1 };
  if (file === "unreadable")
    return loneVoter ? { term: log.term + 1, vote: 0, incarnation: 1 } : "corrupt";
  if (conflicts(log, file)) return "corrupt";
  const { incarnation } = file;
  if (log.term > file.term) return { term: log.term, vote: log.vote, incarnation };
  if (log.term < file.term) return file;
  return { term: file.term, vote: file.vote === 0 ? log.vote : file.vote, incarnation };
}

interface TermVote {
  readonly term: number;
  readonly vote: number;
}

function conflicts(a: TermVote, b: TermVote): boolean {
  return a.term === b.term && a.vote !== 0 && b.vote !== 0 && a.vote !== b.vote;
}

/** The state of the newest slot, with a vote of the same term from the other one if it has none. */
function merged(state: VoteState, other: Slot | "empty" | "damaged"): VoteState {
  if (typeof other === "string" || other.state.term < state.term) return state;
  if (other.state.term > state.term) return other.state;
  return state.vote === 0 ? { ...state, vote: other.state.vote } : state;
}

function slotOffset(pair: number, slot: number): number {
  return SECTOR_BYTES + pair * PAIR_BYTES + slot * SECTOR_BYTES;
}

/** Returns the checksum of the head. */
function writeFileHead(bytes: Uint8Array, identity: WalIdentity): number {
  writePreamble(bytes, 0, VOTE_MAGIC);
  writeIdentity(bytes, 16, identity);
  assert(16 + IDENTITY_BYTES <= SECTOR_BYTES - 4, "the head fits into its sector");
  const crc = headCrc(bytes);
  writeU32(bytes, SECTOR_BYTES - 4, crc);
  return crc;
}

function headCrc(bytes: Uint8Array): number {
  return crc32c(bytes, 0, SECTOR_BYTES - 4);
}

function writeSlot(
  bytes: Uint8Array,
  at: number,
  { group, generation, state }: Slot,
  seed: number,
): void {
  writeU32(bytes, at, SLOT_MAGIC);
  writeU32(bytes, at + 4, group);
  writeU64(bytes, at + 8, generation);
  writeU64(bytes, at + 16, state.term);
  writeU64(bytes, at + 24, state.vote);
  writeU64(bytes, at + 32, state.incarnation);
  writeU32(bytes, at + SECTOR_BYTES - 4, crc32c(bytes, at, at + SECTOR_BYTES - 4, seed));
}

function readSlot(bytes: Uint8Array, at: number, seed: number): Slot | "empty" | "damaged" {
  const end = at + SECTOR_BYTES;
  if (isZero(bytes, at, Math.min(end, bytes.length))) return "empty";
  if (end > bytes.length || readU32(bytes, at) !== SLOT_MAGIC) return "damaged";
  if (readU32(bytes, end - 4) !== crc32c(bytes, at, end - 4, seed)) return "damaged";
  return {
    group: readU32(bytes, at + 4),
    generation: readU64(bytes, at + 8),
    state: {
      term: readU64(bytes, at + 16),
      vote: readU64(bytes, at + 24),
      incarnation: readU64(bytes, at + 32),
    },
  };
}

function openDurable(env: Env, directory: string): Io<File> {
  return openFile(env.files, `${directory}/${NAME}`, { access: "readwrite", durableWrites: true });
}
