/**
 * The heart: roles, terms, elections, replication and commit (Raft paper, sections 5 and 8; dissertation, sections
 * 6.4, 9.6, 10.2.1). Inputs change this object and leave messages behind; RawNode hands them out as Readys.
 *
 *               timeout                pre-vote won               vote won
 *   follower ------------> preCandidate ----------> candidate ------------> leader
 *      ^                        |                       |                     |
 *      +------------------------+-----------------------+---------------------+
 *          a leader of this term, a later term, an election lost, no quorum heard from
 */
import { assert, EMPTY_BYTES, hash32, Random } from "../base/index.ts";
import { assertRunnable, type RaftConfig } from "./config.ts";
import {
  type AppendAccepted,
  type AppendMessage,
  type AppendRefused,
  type DropReason,
  type HeartbeatMessage,
  type HeartbeatResponse,
  isWellFormed,
  type Message,
  MESSAGE_VERSION,
  type ReadIndexMessage,
  type ReadIndexResponse,
  type VoteMessage,
  type VoteResponse,
} from "./message.ts";
import { Outbox } from "./outbox.ts";
import { RaftLog } from "./raft-log.ts";
import { ForwardedReads, ReadOnly } from "./read-only.ts";
import type { ProposeResult, ReadState, Role } from "./ready.ts";
import type { Progress } from "./tracker/progress.ts";
import { Tracker } from "./tracker/tracker.ts";
import {
  type Entry,
  EntryType,
  type GroupId,
  type HardState,
  type Incarnation,
  type LogIndex,
  type NodeId,
  type Term,
} from "./types.ts";

/**
 * Invariants (asserted by invariants()):
 * - The term never falls. Within a term the vote changes from nobody to one candidate and then stays.
 * - A leader leads a term for which it voted, and its vote was durable before it led.
 * - A leader only appends to its log. It commits by counting only entries of its own term (section 5.4.2).
 * - Its own match is what is durable here, never what it has merely appended.
 */
export class Raft {
  readonly group: GroupId;
  readonly id: NodeId;
  readonly log: RaftLog;
  readonly tracker: Tracker;
  readonly drops: Map<DropReason, number> = new Map();
  readonly outbox: Outbox;
  readStates: ReadState[] = [];

  readonly #config: RaftConfig;
  readonly #random: Random;
  readonly #readOnly: ReadOnly = new ReadOnly();
  /** The newest life of each member that this replica has heard of. */
  readonly #incarnations: Map<NodeId, Incarnation> = new Map();
  readonly #forwarded: ForwardedReads;
  #term: Term;
  #vote: NodeId;
  #leader: NodeId = 0;
  #role: Role = "follower";
  #ownVoteDurable = false;
  #uncommittedBytes = 0;
  #heartbeatElapsed = 0;
  #electionElapsed = 0;
  #electionTimeout = 0;

  constructor(config: RaftConfig) {
    assertRunnable(config);
    this.#config = config;
    this.group = config.group;
    this.id = config.id;
    this.outbox = new Outbox(config.group, config.id, config.incarnation);
    this.#random = new Random(hash32(config.seed, config.group, config.id));
    this.#forwarded = new ForwardedReads(this.#random);
    this.log = new RaftLog(config.storage, config.hardState.commit, config.appliedIndex);
    this.tracker = new Tracker(
      config.confState,
      config.maxInflightMessages,
      config.maxInflightBytes,
    );
    // A crash between two frames of one Ready leaves entries of a term whose HardState was not written. Nothing
    // was answered in that term, so it is joined anew, without a vote.
    const logTerm = this.log.lastTerm;
    const joined = logTerm > config.hardState.term;
    this.#term = joined ? logTerm : config.hardState.term;
    this.#vote = joined ? 0 : config.hardState.vote;
    this.#drawElectionTimeout();
  }

  get term(): Term {
    return this.#term;
  }

  get vote(): NodeId {
    return this.#vote;
  }

  get leader(): NodeId {
    return this.#leader;
  }

  get role(): Role {
    return this.#role;
  }

  get uncommittedBytes(): number {
    return this.#uncommittedBytes;
  }

  hardState(): HardState {
    return { term: this.#term, vote: this.#vote, commit: this.log.commit };
  }

  // ---- inputs ----

  tick(): void {
    this.#electionElapsed++;
    if (this.#role === "leader") this.#tickLeader();
    else if (this.#electionElapsed >= this.#electionTimeout) this.campaign();
  }

  campaign(): void {
    if (this.#role === "leader" || !this.tracker.voters.has(this.id)) return;
    // A slow disk must not turn into term after term: an own vote that is on its way decides first.
    if (this.#role === "candidate" && !this.#ownVoteDurable) return;
    if (this.#config.preVote) this.#becomePreCandidate();
    else this.#becomeCandidate();
  }

  propose(data: Uint8Array): ProposeResult {
    if (this.#role !== "leader") {
      const reason = this.#leader === 0 ? "no-leader" : "not-leader";
      return { ok: false, reason, leader: this.#leader };
    }
    const bytes = this.#uncommittedBytes + data.length;
    if (this.#uncommittedBytes > 0 && bytes > this.#config.maxUncommittedBytes) {
      return { ok: false, reason: "uncommitted-full", leader: this.id };
    }
    this.#uncommittedBytes = bytes;
    const index = this.log.extend(this.#term, EntryType.normal, data);
    return { ok: true, index, term: this.#term };
  }

  /** False when the read cannot be taken: no leader is known, or too many wait. */
  readIndex(context: number): boolean {
    if (this.#role === "leader") return this.#readOnly.add({ from: this.id, ticket: context });
    if (this.#leader === 0) return false;
    this.outbox.askForReadIndex(this.#leader, this.#term, this.#forwarded.open(context));
    return true;
  }

  step(message: Message): void {
    const refusal = this.#refusal(message);
    if (refusal !== null) {
      this.#drop(refusal);
      return;
    }
    this.#noteIncarnation(message.from, message.incarnation);
    if (message.term < this.#term) {
      this.#answerStale(message);
      return;
    }
    if (message.term > this.#term && !this.#meetLaterTerm(message)) return;
    switch (message.type) {
      case "append":
        if (this.#followSender(message)) this.#handleAppend(message);
        return;
      case "heartbeat":
        if (this.#followSender(message)) this.#handleHeartbeat(message);
        return;
      case "appendResponse":
        this.#handleAppendResponse(message);
        return;
      case "heartbeatResponse":
        this.#handleHeartbeatResponse(message);
        return;
      case "vote":
      case "preVote":
        this.#handleVoteRequest(message);
        return;
      case "voteResponse":
      case "preVoteResponse":
        this.#handleVoteResponse(message);
        return;
      case "readIndex":
        this.#handleReadIndex(message);
        return;
      case "readIndexResponse":
        this.#handleReadIndexResponse(message);
        return;
    }
  }

  /** All Readys up to `readyNumber` are durable, and with them the newest HardState that one of them carried. */
  persisted(readyNumber: number, durable: HardState): void {
    this.log.persisted(readyNumber);
    if (this.#role === "leader") {
      const own = this.tracker.progress.get(this.id);
      if (own !== undefined && own.acknowledged(this.log.stableIndex)) this.#commitByCounting();
    } else if (
      this.#role === "candidate" &&
      !this.#ownVoteDurable &&
      durable.term === this.#term &&
      durable.vote === this.id
    ) {
      this.#ownVoteDurable = true;
      this.#countVote(this.id, true);
    }
  }

  // ---- what a Ready takes ----

  /** Whether flush() would make messages or answer reads. */
  flushDue(): boolean {
    if (this.#role !== "leader") return false;
    if (this.#readOnly.hasWaiting && this.leadsForSure()) return true;
    for (const [id, progress] of this.tracker.progress) {
      if (id !== this.id && this.#appendDue(progress)) return true;
    }
    return false;
  }

  /**
   * Turns what the inputs since the last Ready have made possible into messages: however many proposals, answers and
   * reads a turn has, each member gets one heartbeat for the reads and as few appends as carry the entries.
   */
  flush(): void {
    if (this.#role !== "leader") return;
    if (this.#readOnly.hasWaiting && this.leadsForSure()) this.#beginReads();
    for (const [id, progress] of this.tracker.progress) {
      if (id === this.id) continue;
      while (this.#appendDue(progress)) this.#sendAppend(id, progress);
    }
  }

  /** Takes the next committed and durable entries, and gives their room back to proposals. */
  takeCommitted(): readonly Entry[] {
    const entries = this.log.takeCommitted(this.#config.maxCommittedBytesPerReady);
    if (this.#role === "leader" && this.#uncommittedBytes > 0) {
      for (const entry of entries) {
        if (entry.term === this.#term) this.#uncommittedBytes -= entry.data.length;
      }
      assert(this.#uncommittedBytes >= 0, "no more room is given back than was taken");
    }
    return entries;
  }

  invariants(): void {
    this.log.invariants();
    assert(this.log.lastTerm <= this.#term, "no entry is of a later term than the replica's");
    assert(
      (this.#role === "leader") === (this.#leader === this.id),
      "a leader knows that it leads",
    );
    assert(
      this.#role === "leader" || this.tracker.progress.size === 0,
      "only a leader tracks progress",
    );
    if (this.#role === "leader" || this.#role === "candidate") {
      assert(this.#vote === this.id, "who stands for election votes for itself");
    }
    for (const [id, progress] of this.tracker.progress) {
      progress.invariants();
      assert(progress.match <= this.log.lastIndex, "nobody acknowledges more than there is");
      assert(
        id !== this.id || progress.match === this.log.stableIndex,
        "the leader's own match is what is durable here",
      );
    }
    assert(
      this.#electionTimeout >= this.#config.electionTicks &&
        this.#electionTimeout < 2 * this.#config.electionTicks,
      "election timeouts lie between one and two times electionTicks",
    );
  }

  // ---- roles ----

  #tickLeader(): void {
    if (this.#electionElapsed >= this.#config.electionTicks) {
      this.#electionElapsed = 0;
      if (this.#config.checkQuorum && !this.tracker.takeQuorumActive(this.id)) {
        this.#becomeFollower(this.#term, 0);
        return;
      }
    }
    this.#heartbeatElapsed++;
    if (this.#heartbeatElapsed >= this.#config.heartbeatTicks) this.#broadcastHeartbeat();
  }

  /** What every change of role forgets. A later term also forgets the vote. */
  #reset(term: Term, role: Role, leader: NodeId): void {
    assert(term >= this.#term, "the term never falls");
    if (term > this.#term) {
      this.#term = term;
      this.#vote = 0;
    }
    this.#role = role;
    this.#leader = leader;
    this.#ownVoteDurable = false;
    this.#uncommittedBytes = 0;
    this.#heartbeatElapsed = 0;
    this.#electionElapsed = 0;
    this.#drawElectionTimeout();
    this.tracker.clearVotes();
    this.tracker.stopLeading();
    this.#readOnly.reset();
    this.#forwarded.reset();
  }

  /** Drawn anew each time, so that a split vote does not repeat itself (section 5.2). */
  #drawElectionTimeout(): void {
    const { electionTicks } = this.#config;
    this.#electionTimeout = electionTicks + this.#random.below(electionTicks);
  }

  #becomeFollower(term: Term, leader: NodeId): void {
    this.#reset(term, "follower", leader);
  }

  /** Changes neither term nor vote, so there is nothing to make durable and the question leaves at once. */
  #becomePreCandidate(): void {
    this.#reset(this.#term, "preCandidate", 0);
    const { lastIndex, lastTerm } = this.log;
    for (const id of this.tracker.voters.ids) {
      if (id !== this.id) this.outbox.askForPreVote(id, this.#term + 1, lastIndex, lastTerm);
    }
    this.#countVote(this.id, true);
  }

  /** The own vote is counted only when it is durable; the others are asked only then, too. */
  #becomeCandidate(): void {
    this.#reset(this.#term + 1, "candidate", 0);
    this.#vote = this.id;
    const { lastIndex, lastTerm } = this.log;
    for (const id of this.tracker.voters.ids) {
      if (id !== this.id) this.outbox.askForVote(id, this.#term, lastIndex, lastTerm);
    }
  }

  #becomeLeader(): void {
    assert(this.#role === "candidate" && this.#ownVoteDurable, "a leader's own vote is durable");
    this.#reset(this.#term, "leader", this.id);
    this.tracker.startLeading(this.log.lastIndex);
    const own = this.tracker.progress.get(this.id);
    own?.acknowledged(this.log.stableIndex);
    own?.becomeReplicate();
    // Entries of earlier terms are committed by committing this one after them (section 5.4.2).
    this.log.extend(this.#term, EntryType.empty, EMPTY_BYTES);
  }

  // ---- elections ----

  #handleVoteRequest(message: VoteMessage): void {
    const { from, term } = message;
    const rehearsal = message.type === "preVote";
    const free =
      this.#vote === from ||
      (this.#vote === 0 && this.#leader === 0) ||
      (rehearsal && term > this.#term);
    const granted = free && this.log.isUpToDate(message.lastIndex, message.lastTerm);
    if (rehearsal) {
      this.outbox.answerPreVote(from, granted ? term : this.#term, !granted);
      return;
    }
    if (granted) {
      this.#vote = from;
      this.#electionElapsed = 0;
    }
    this.outbox.answerVote(from, this.#term, !granted);
  }

  #handleVoteResponse(message: VoteResponse): void {
    const rehearsal = message.type === "preVoteResponse";
    // A grant of a pre-vote names the term that it was asked for; one for an earlier question is of no use.
    const expected = rehearsal
      ? this.#role === "preCandidate" && (message.reject || message.term === this.#term + 1)
      : this.#role === "candidate";
    if (!expected) this.#drop("not-expected");
    else if (!this.tracker.voters.has(message.from)) this.#drop("unknown-peer");
    else this.#countVote(message.from, !message.reject);
  }

  #countVote(from: NodeId, granted: boolean): void {
    const result = this.tracker.recordVote(from, granted);
    if (result === "pending") return;
    if (result === "lost") this.#becomeFollower(this.#term, 0);
    else if (this.#role === "preCandidate") this.#becomeCandidate();
    else this.#becomeLeader();
  }

  // ---- replication: the leader ----

  #appendDue(progress: Progress): boolean {
    return progress.appendDue(this.log.lastIndex, this.log.commit);
  }

  #sendAppend(to: NodeId, progress: Progress): void {
    const { firstIndex } = this.log;
    if (progress.next < firstIndex) progress.probeFrom(firstIndex);
    const prevIndex = progress.next - 1;
    const prevTerm = this.log.term(prevIndex);
    assert(typeof prevTerm === "number", "the entry before the next one is known");
    const high = progress.mayCarryEntries() ? this.log.lastIndex + 1 : progress.next;
    const entries = this.log.slice(progress.next, high, this.#config.maxEntriesBytesPerMessage);
    let bytes = 0;
    for (const entry of entries) bytes += entry.data.length;
    const { commit } = this.log;
    this.outbox.append(to, this.#term, prevIndex, prevTerm, entries, commit);
    progress.sent(entries.length, bytes, commit);
  }

  #handleAppendResponse(message: AppendAccepted | AppendRefused): void {
    const progress = this.#progressOf(message.from);
    if (progress === null) return;
    if (message.index > this.log.lastIndex) {
      this.#drop("contradiction");
      return;
    }
    progress.recentActive = true;
    if (message.reject) {
      // Skip whole terms in which the logs cannot agree (end of section 5.3): the last place of ours whose term is
      // no later than the follower's at its hint.
      const hint =
        message.hintTerm === 0
          ? message.hintIndex
          : this.log.lastPlaceUpTo(message.hintIndex, message.hintTerm).index;
      if (!progress.refused(message.index, hint)) this.#drop("not-expected");
      else if (message.index < this.log.firstIndex) progress.waitForSnapshot();
      return;
    }
    const news = progress.acknowledged(message.index);
    if (progress.state === "replicate") progress.inflights.freeUpTo(message.index);
    else if (progress.match === message.index) progress.becomeReplicate();
    if (news) this.#commitByCounting();
  }

  /**
   * Commits what is durable at a quorum, if it is of this term. An entry of an earlier term that sits on a majority
   * can still be replaced (figure 8); one of this term cannot, nor anything before it.
   */
  #commitByCounting(): void {
    const index = this.tracker.committedIndex();
    if (index <= this.log.commit || !this.log.holds(index, this.#term)) return;
    this.log.commitTo(index);
  }

  #broadcastHeartbeat(): void {
    this.#heartbeatElapsed = 0;
    for (const [id, progress] of this.tracker.progress) {
      if (id === this.id) continue;
      const commit = Math.min(progress.match, this.log.commit);
      this.outbox.heartbeat(id, this.#term, commit, this.#readOnly.openRound);
    }
  }

  #handleHeartbeatResponse(message: HeartbeatResponse): void {
    const progress = this.#progressOf(message.from);
    if (progress === null) return;
    progress.recentActive = true;
    // It lives, so what it has not answered may have been lost: look where it stands.
    progress.probeSent = false;
    if (progress.match < this.log.lastIndex) progress.pokeDue = true;
    const { voters } = this.tracker;
    for (const { index, reads } of this.#readOnly.answered(
      message.from,
      message.round,
      this.id,
      voters,
    )) {
      for (const read of reads) this.#answerRead(read.from, read.ticket, index);
    }
  }

  /** The progress of a member that answered, for a leader. Otherwise the message is counted as dropped. */
  #progressOf(from: NodeId): Progress | null {
    const progress = this.tracker.progress.get(from);
    if (progress !== undefined) return progress;
    this.#drop(this.#role === "leader" ? "unknown-peer" : "not-expected");
    return null;
  }

  // ---- replication: the follower ----

  /** Takes the sender for the leader of this term. False when there is another one, which no correct replica claims. */
  #followSender(message: AppendMessage | HeartbeatMessage): boolean {
    const { from } = message;
    if (this.#role === "leader" || (this.#leader !== 0 && this.#leader !== from)) {
      this.#drop("contradiction");
      return false;
    }
    if (this.#role !== "follower") this.#becomeFollower(this.#term, from);
    this.#leader = from;
    this.#electionElapsed = 0;
    return true;
  }

  #handleAppend(message: AppendMessage): void {
    const { from, prevIndex, entries } = message;
    if (prevIndex < this.log.firstIndex - 1) {
      // Long overtaken: what is committed here is the same at the leader, so the commit answers it.
      this.outbox.acceptAppend(from, this.#term, this.log.commit);
      return;
    }
    const outcome = this.log.append(prevIndex, message.prevTerm, entries);
    if (outcome === "appended") {
      const last = prevIndex + entries.length;
      this.log.commitTo(Math.min(message.commit, last));
      this.outbox.acceptAppend(from, this.#term, Math.max(last, this.log.commit));
    } else if (outcome === "mismatch" && prevIndex > this.log.commit) {
      const place = this.log.lastPlaceUpTo(prevIndex, message.prevTerm);
      this.outbox.refuseAppend(from, this.#term, prevIndex, place.index, place.term);
    } else {
      this.#drop("contradiction");
    }
  }

  /** Answered at once: a slow disk must not make the leader believe that nobody is there. */
  #handleHeartbeat(message: HeartbeatMessage): void {
    // A leader names only what was acknowledged here. If it is not here any more, this replica has lost something.
    if (message.commit > this.log.lastIndex) this.#drop("contradiction");
    else this.log.commitTo(message.commit);
    this.outbox.answerHeartbeat(message.from, this.#term, message.round);
  }

  // ---- reads ----

  /** The commit of a leader says what is committed only once an entry of its own term is (fault-rules R2). */
  leadsForSure(): boolean {
    return this.log.holds(this.log.commit, this.#term);
  }

  #beginReads(): void {
    const index = this.log.commit;
    if (this.tracker.voters.isLoneVoter(this.id)) {
      for (const read of this.#readOnly.takeWaiting()) {
        this.#answerRead(read.from, read.ticket, index);
      }
      return;
    }
    this.#readOnly.beginRound(index);
    this.#broadcastHeartbeat();
  }

  #answerRead(from: NodeId, ticket: number, index: LogIndex): void {
    if (from === this.id) this.readStates.push({ context: ticket, index });
    else this.outbox.answerReadIndex(from, this.#term, ticket, index);
  }

  #handleReadIndex(message: ReadIndexMessage): void {
    const { from, ticket } = message;
    if (this.#role !== "leader") this.#drop("not-expected");
    else if (!this.#readOnly.add({ from, ticket })) this.#drop("too-many-reads");
  }

  #handleReadIndexResponse(message: ReadIndexResponse): void {
    const { from, ticket, index } = message;
    const context = from === this.#leader ? this.#forwarded.take(ticket) : undefined;
    if (context === undefined) this.#drop("not-expected");
    else this.readStates.push({ context, index });
  }

  // ---- the gate ----

  #refusal(message: Message): DropReason | null {
    if (message.group !== this.group) return "wrong-group";
    if (message.version !== MESSAGE_VERSION) return "wrong-version";
    if (message.to !== this.id || message.from === this.id) return "wrong-recipient";
    if (!isWellFormed(message)) return "malformed";
    if (message.incarnation < (this.#incarnations.get(message.from) ?? 0)) return "old-incarnation";
    return null;
  }

  /** A member in a new life may hold less than it acknowledged, so its match counts for nothing any more. */
  #noteIncarnation(from: NodeId, incarnation: Incarnation): void {
    const known = this.#incarnations.get(from);
    if (known === incarnation || !this.tracker.isMember(from)) return;
    this.#incarnations.set(from, incarnation);
    if (known !== undefined) this.tracker.progress.get(from)?.restart(this.log.lastIndex);
  }

  /**
   * A member that cannot hear this replica's term may be a leader cut off one way: it gets an answer of this term,
   * which makes it step down. Without pre-vote and CheckQuorum the next election does that.
   */
  #answerStale(message: Message): void {
    this.#drop("stale-term");
    if (message.type === "append" || message.type === "heartbeat") {
      if (this.#config.checkQuorum || this.#config.preVote) {
        this.outbox.refuseAppend(message.from, this.#term, 0, 0, 0);
      }
    } else if (message.type === "preVote") {
      this.outbox.answerPreVote(message.from, this.#term, true);
    } else if (message.type === "vote") {
      this.outbox.answerVote(message.from, this.#term, true);
    }
  }

  /** Joins a later term where the message shows that it has begun. False when the message goes no further. */
  #meetLaterTerm(message: Message): boolean {
    const asksForVote = message.type === "vote" || message.type === "preVote";
    if (asksForVote && this.#hearsLeader()) {
      this.#drop("sticky-leader");
      return false;
    }
    // A rehearsal and its grant speak of a term that nobody has begun.
    if (message.type === "preVote") return true;
    if (message.type === "preVoteResponse" && !message.reject) return true;
    const fromLeader = message.type === "append" || message.type === "heartbeat";
    this.#becomeFollower(message.term, fromLeader ? message.from : 0);
    return true;
  }

  /** Within an election timeout of a leader's last word, a node that campaigns is the one that is cut off (R3). */
  #hearsLeader(): boolean {
    return (
      this.#config.checkQuorum &&
      this.#leader !== 0 &&
      this.#electionElapsed < this.#config.electionTicks
    );
  }

  #drop(reason: DropReason): void {
    this.drops.set(reason, (this.drops.get(reason) ?? 0) + 1);
  }
}
