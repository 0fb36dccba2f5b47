/**
 * What members say to each other, judged as it leaves: the promises of the Raft paper that can be seen from outside
 * (figure 3), over all lives. It knows of the members nothing but the bytes that they send.
 */
import { crc32c, hash32, hex } from "../src/base/index.ts";
import {
  DecodeError,
  decodePeerFrame,
  decodePeerItem,
  type PeerItem,
  type PeerPurpose,
  type PeerRefusal,
  type Welcome,
} from "../src/codec/index.ts";
import type { Entry, LogIndex, Message, NodeId, Term } from "../src/raft/index.ts";
import type { LinkObserver } from "./members-links.ts";
import { MEMBERS_MARKS, type MembersMark } from "./members-marks.ts";
import { check } from "./violation.ts";

/** Far above the terms of a run. */
const TERMS_MAX = 2 ** 20;

const IMPOSSIBLE_REFUSALS: ReadonlySet<string> = new Set([
  "WRONG_CLUSTER",
  "WRONG_VERSION",
  "WRONG_MEMBER",
  "REMOVED_MEMBER",
  "UNKNOWN_MEMBER",
  "DATA_LOST",
  "CORRUPT",
]);

/** Who speaks to whom. */
interface Ends {
  readonly from: NodeId;
  readonly to: NodeId;
}

interface Call extends Ends {
  readonly purpose: PeerPurpose;
  /** The one that the caller has. */
  readonly directory: string;
}

/** What others rely on of one member, over its lives. */
export interface Promised {
  term: Term;
  vote: NodeId;
  /** It holds this entry, as it has told the leader of `inTerm`. */
  index: LogIndex;
  entryTerm: Term;
  inTerm: Term;
}

export interface WireSurroundings {
  note(what: string, number: number, detail?: unknown): void;
  mark(name: MembersMark): void;
  /** A message that promises something has left this member. */
  promised(member: NodeId): void;
  /** A member is told by another one that it was removed, and stops for good. */
  refusedAsRemoved(by: NodeId, removed: NodeId): void;
  /** What was done to the members explains why one refuses another with this code. */
  mayRefuse(code: string): boolean;
}

export class WireOracle {
  readonly #world: WireSurroundings;
  readonly #leaders = new Map<Term, NodeId>();
  readonly #votes = new Map<string, NodeId>();
  /** By index and term: the hash of the entry and the term of the one before it. */
  readonly #entries = new Map<number, number>();
  /** By the term of a leader and an index: the term of its entry there, as far as it has been said. */
  readonly #logs = new Map<number, Term>();
  readonly #promises = new Map<NodeId, Promised>();
  /** Who has spoken to whom: each of the two knows for good with which directory the other came. */
  readonly #met = new Set<string>();
  /** Who has said that its disk is full. */
  readonly #full = new Set<NodeId>();

  /** By who called whom, and the directory of who was called: the directory with which the caller was welcome there. */
  readonly #welcomed: Map<string, string> = new Map();

  constructor(world: WireSurroundings) {
    this.#world = world;
  }

  get elections(): number {
    return this.#leaders.size;
  }

  /** Of the newest term in which anybody has spoken as a leader. */
  get newest(): { readonly leader: NodeId; readonly term: Term } {
    let term = 0;
    for (const known of this.#leaders.keys()) if (known > term) term = known;
    return { leader: this.#leaders.get(term) ?? 0, term };
  }

  promisedBy(member: NodeId): Promised | undefined {
    return this.#promises.get(member);
  }

  haveMet(one: NodeId, other: NodeId): boolean {
    return this.#met.has(`${one} ${other}`) || this.#met.has(`${other} ${one}`);
  }

  /** What it holds is damaged: nobody relies on the entries any more once it says so. Its votes stay. */
  losesEntries(member: NodeId): void {
    const promised = this.#promises.get(member);
    if (promised !== undefined) Object.assign(promised, { index: 0, entryTerm: 0, inTerm: 0 });
  }

  /** For one link of a member: a hello says who speaks to whom. */
  observer(): LinkObserver {
    let ends: Ends | null = null;
    /** Where the other side has called. */
    let call: Call | null = null;
    let isFirst = true;
    return {
      heard: (bytes) => {
        if (isFirst) call = callOf(bytes);
        isFirst = false;
      },
      said: (bytes) => {
        const frame = decodePeerFrame(bytes);
        if (frame.kind !== "batch") {
          this.#world.note(frame.kind, bytes.length, frame);
          if (frame.kind === "hello") ends = { from: frame.from, to: frame.to };
          if (frame.kind === "refusal") this.#refused(frame, call);
          if (frame.kind === "welcome" && call !== null) this.#welcomes(frame, call);
          if (frame.kind === "head") this.#world.mark(MEMBERS_MARKS.pulled);
          return;
        }
        if (ends !== null) this.#met.add(`${ends.from} ${ends.to}`);
        for (const each of frame.items) {
          check(
            ends !== null,
            "who says something has said who it is",
            () => "a batch comes first",
          );
          const item = decodePeerItem(each, ends);
          if (item !== null) this.#said(item, ends.from);
        }
      },
    };
  }

  /** Who was called remembers for good with which directory the caller came, unless its own is lost, too. */
  #welcomes({ walId }: Welcome, { from, to, purpose, directory }: Call): void {
    // Who pulls a snapshot may not have the directory yet that he is going to have.
    if (purpose !== "raft") return;
    const name = `${from} ${to} ${hex(walId)}`;
    const known = this.#welcomed.get(name) ?? directory;
    this.#welcomed.set(name, known);
    check(
      known === directory,
      "who has lost its disk is not heard under its old id",
      () => `${to.toString(16)} welcomes ${from.toString(16)}`,
    );
  }

  /** A process of before may not be given up yet, and a snapshot may not be there, or find no room. */
  #refused({ code, detail }: PeerRefusal, call: Ends | null): void {
    check(
      !IMPOSSIBLE_REFUSALS.has(code) || this.#world.mayRefuse(code),
      "members that are what they seem do not refuse each other",
      () => `${code}: ${detail}`,
    );
    if (code === "REMOVED_MEMBER" && call !== null)
      this.#world.refusedAsRemoved(call.to, call.from);
    if (code === "DUPLICATE_MEMBER") this.#world.mark(MEMBERS_MARKS.duplicate);
    else if (code === "DATA_LOST") this.#world.mark(MEMBERS_MARKS.dataLost);
    else this.#world.mark(MEMBERS_MARKS.pullRefused);
  }

  #said(item: PeerItem, from: NodeId): void {
    if (item.kind === "raft") this.#message(item.message);
    else if (item.kind === "stateHash") this.#world.note(item.kind, item.index, item);
    else if (item.kind === "quarantine") this.#world.note(item.kind, item.incarnation, item);
    else if (item.kind === "room") {
      this.#world.note(item.kind, Number(item.isFull), item);
      if (item.isFull) this.#full.add(from);
      else this.#full.delete(from);
    } else {
      const count = item.kind === "forward" ? item.commands.length : item.count;
      this.#world.note(item.kind, count, item);
      if (item.kind === "forward") this.#world.mark(MEMBERS_MARKS.forwarded);
      if (item.kind === "declined") this.#world.mark(MEMBERS_MARKS.declined);
    }
  }

  #message(message: Message): void {
    const { type, from, to, term } = message;
    this.#world.note(type, term, message);
    switch (type) {
      case "append":
        this.#leads(from, term);
        this.#append(term, message.prevIndex, message.prevTerm, message.entries);
        return;
      case "heartbeat":
      case "snapshot":
        this.#leads(from, term);
        return;
      case "timeoutNow":
        this.#leads(from, term);
        if (this.#full.has(from)) this.#world.mark(MEMBERS_MARKS.handedOn);
        return;
      case "vote":
        this.#vote(from, term, from);
        return;
      case "voteResponse":
        if (message.reject) this.#promise(from, term);
        else this.#vote(from, term, to);
        return;
      case "appendResponse":
        // One at no index says that its term is a later one, which also those may who promise nothing.
        if (message.reject && message.index === 0) return;
        this.#promise(from, term);
        if (!message.reject) this.#holds(from, term, message.index);
        return;
      case "heartbeatResponse":
      case "preVote":
      case "preVoteResponse":
      case "readIndex":
      case "readIndexResponse":
      case "transferLeader":
        return;
    }
  }

  #leads(member: NodeId, term: Term): void {
    const known = this.#leaders.get(term);
    check(
      known === undefined || known === member,
      "one leader in a term",
      () => `${known?.toString(16)} and ${member.toString(16)} lead term ${term}`,
    );
    this.#leaders.set(term, member);
  }

  #append(term: Term, prevIndex: LogIndex, prevTerm: Term, entries: readonly Entry[]): void {
    let before = prevTerm;
    this.#place(term, prevIndex, prevTerm);
    for (const entry of entries) {
      const name = entry.index * TERMS_MAX + entry.term;
      const claim = hash32(crc32c(entry.data), entry.type, before);
      const known = this.#entries.get(name);
      check(
        known === undefined || known === claim,
        "logs match",
        () => `${entry.index}/${entry.term} is not what was said before, or follows another entry`,
      );
      this.#entries.set(name, claim);
      this.#place(term, entry.index, entry.term);
      before = entry.term;
    }
  }

  /** A leader only appends: what it has said of its log stays true in its term. */
  #place(term: Term, index: LogIndex, entryTerm: Term): void {
    const name = index * TERMS_MAX + term;
    const known = this.#logs.get(name);
    check(
      known === undefined || known === entryTerm,
      "a leader only appends to its log",
      () => `the leader of ${term} has ${known} at ${index}, and then ${entryTerm}`,
    );
    this.#logs.set(name, entryTerm);
  }

  #vote(voter: NodeId, term: Term, candidate: NodeId): void {
    const name = `${voter} ${term}`;
    const known = this.#votes.get(name);
    check(
      known === undefined || known === candidate,
      "nobody votes twice in a term",
      () => `${voter.toString(16)} votes for two in term ${term}`,
    );
    this.#votes.set(name, candidate);
    this.#promise(voter, term).vote = candidate;
    this.#world.promised(voter);
  }

  #promise(member: NodeId, term: Term): Promised {
    let promised = this.#promises.get(member);
    if (promised === undefined) {
      promised = { term: 0, vote: 0, index: 0, entryTerm: 0, inTerm: 0 };
      this.#promises.set(member, promised);
    }
    if (term > promised.term) {
      promised.term = term;
      promised.vote = 0;
    }
    // What is said of an older term promises nothing about the newest one.
    return term === promised.term ? promised : { ...promised };
  }

  #holds(member: NodeId, term: Term, index: LogIndex): void {
    const entryTerm = this.#logs.get(index * TERMS_MAX + term);
    const promised = this.#promises.get(member);
    if (promised === undefined || entryTerm === undefined || term < promised.inTerm) return;
    if (term === promised.inTerm && index <= promised.index) return;
    promised.index = index;
    promised.entryTerm = entryTerm;
    promised.inTerm = term;
    this.#world.promised(member);
  }
}

/** Who calls whom, by the first that is heard on a link; null: nobody, or it was damaged on the way. */
function callOf(bytes: Uint8Array): Call | null {
  try {
    const frame = decodePeerFrame(bytes);
    if (frame.kind !== "hello") return null;
    const { from, to, purpose, walId } = frame;
    return { from, to, purpose, directory: hex(walId) };
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}
