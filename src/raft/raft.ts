/**
 * The heart: roles, terms, elections, replication, commit, membership and handing over (Raft paper, sections 5 to 8;
 * dissertation, sections 3.10, 4.3, 6.4, 9.6, 10.2.1). Inputs change this object and leave messages behind; RawNode hands them out as Readys.
 *
 *               timeout                pre-vote won               vote won
 *   follower ------------> preCandidate ----------> candidate ------------> leader
 *      ^                        |                       |                     |
 *      +------------------------+-----------------------+---------------------+
 *          a leader of this term, a later term, an election lost, no quorum heard from
 */
import { assert, EMPTY_BYTES, hash32, Random } from "../base/index.ts";
import { assertRunnable, type RaftConfig, startOf } from "./config.ts";
import { HandedChanges } from "./confchange/handed.ts";
import { changeConf, type ConfChangeOutcome, isMemberOf } from "./confchange/changer.ts";
import {
  type ConfChangeV2,
  decodeConfChange,
  encodeConfChange,
  LEAVE_JOINT,
} from "./confchange/conf-change.ts";
import { Lease } from "./lease.ts";
import { isFromLeader, refusalOf } from "./gate.ts";
import { assertReplica } from "./invariants.ts";
import {
  type AppendAccepted,
  type AppendMessage,
  type AppendRefused,
  type DropReason,
  type HeartbeatMessage,
  type HeartbeatResponse,
  type Message,
  type ReadIndexMessage,
  type ReadIndexResponse,
  type SnapshotMessage,
  type VoteMessage,
  type VoteResponse,
} from "./message.ts";
import { Outbox } from "./outbox.ts";
import { bytesOf, RaftLog } from "./raft-log.ts";
import { ForwardedReads, ReadOnly } from "./read-only.ts";
import {
  campaigns,
  type ProposeRefusal,
  type ProposeResult,
  type ReadState,
  type RestoreResult,
  type Role,
  type TransferResult,
} from "./ready.ts";
import { ticksUntilTurn } from "./succession.ts";
import type { Progress } from "./tracker/progress.ts";
import { Tracker } from "./tracker/tracker.ts";
import {
  type ConfState,
  type Entry,
  EntryType,
  type GroupId,
  type HardState,
  type Incarnation,
  type LogIndex,
  type NodeId,
  type SnapshotMeta,
  type Term,
} from "./types.ts";

/**
 * Invariants (asserted by invariants()):
 * - The term never falls. Within a term the vote changes from nobody to one candidate and then stays.
 * - A leader leads a term for which it voted, and its vote was durable before it led.
 * - A leader only appends to its log. It commits by counting only entries of its own term (section 5.4.2).
 * - Its own match is what is durable here, never what it has merely appended.
 * - A configuration is in force from where its change is applied. A leader appends a change only when it has applied
 *   the one before and the first entry of its own term; nobody campaigns who knows of a committed change that it has
 *   not applied. So two configurations in force at once are neighbours, and their majorities meet.
 */
export class Raft {
  readonly group: GroupId;
  readonly id: NodeId;
  readonly log: RaftLog;
  readonly tracker: Tracker;
  readonly drops: Map<DropReason, number> = new Map();
  readonly outbox: Outbox;
  readStates: ReadState[] = [];
  /** `RawNode.lostThrough`. */
  lostThrough: LogIndex = 0;
  isQuarantined: boolean;

  readonly #config: RaftConfig;
  readonly #random: Random;
  readonly #readOnly: ReadOnly = new ReadOnly();
  readonly #lease: Lease;
  /** The newest life of each member that this replica has heard of. */
  readonly #incarnations: Map<NodeId, Incarnation> = new Map();
  readonly #forwarded: ForwardedReads;
  #term: Term;
  #vote: NodeId;
  #leader: NodeId = 0;
  #role: Role = "follower";
  #ownVoteDurable = false;
  #uncommittedBytes = 0;
  /** The last entry of this leader's that may be a configuration change: no other is appended before it is applied. */
  #pendingConfIndex: LogIndex = 0;
  readonly #confChangesHanded: HandedChanges = new HandedChanges();
  /** To whom this leader hands over; 0 for nobody. */
  #transferee: NodeId = 0;
  #heartbeatElapsed = 0;
  #electionElapsed = 0;
  #electionTimeout = 0;
  /** Since a leader was last heard, of whatever term, or since the start: a life before may have answered one. */
  #ticksSinceLeader = 0;

  constructor(config: RaftConfig) {
    assertRunnable(config);
    this.#config = config;
    this.group = config.group;
    this.id = config.id;
    this.outbox = new Outbox(config.group, config.id, config.incarnation);
    this.isQuarantined = config.quarantined === true;
    this.#random = new Random(hash32(config.seed, config.group, config.id));
    this.#forwarded = new ForwardedReads(this.#random);
    this.#lease = new Lease(config.leaseTicks ?? 0);
    this.log = new RaftLog(config.storage, config.hardState.commit, config.appliedIndex);
    this.tracker = new Tracker(
      config.confState,
      config.maxInflightMessages,
      config.maxInflightBytes,
    );
    const { term, vote } = startOf(config.hardState, this.log.lastTerm);
    this.#term = term;
    this.#vote = vote;
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

  get transferee(): NodeId {
    return this.#transferee;
  }

  hardState(): HardState {
    return { term: this.#term, vote: this.#vote, commit: this.log.commit };
  }

  // ---- inputs ----

  tick(): void {
    this.#electionElapsed++;
    this.#ticksSinceLeader++;
    if (this.#role === "leader") this.#tickLeader();
    else if (this.#electionElapsed >= this.#electionTimeout) this.campaign();
  }

  campaign(): void {
    // Its own vote counts towards the quorum that it may have promised not to be part of.
    if (!this.#mayCampaign() || this.#isBound()) return;
    if (this.#config.preVote) this.#becomePreCandidate();
    else this.#becomeCandidate(false);
  }

  propose(data: Uint8Array): ProposeResult {
    const refusal = this.#proposalRefusal(data.length);
    if (refusal !== null) return { ok: false, reason: refusal, leader: this.#leader };
    return { ok: true, index: this.#extend(EntryType.normal, data), term: this.#term };
  }

  proposeConfChange(change: ConfChangeV2): ProposeResult {
    const refused = (reason: ProposeRefusal): ProposeResult => {
      return { ok: false, reason, leader: this.#leader };
    };
    const early = this.#proposalRefusal(0);
    if (early !== null) return refused(early);
    if (this.#pendingConfIndex > this.log.applied) return refused("conf-change-pending");
    const outcome = changeConf(this.tracker.confState, change);
    if (!outcome.ok) return refused(outcome.error);
    const data = encodeConfChange(change);
    const late = this.#proposalRefusal(data.length);
    if (late !== null) return refused(late);
    this.#pendingConfIndex = this.#extend(EntryType.confChange, data);
    return { ok: true, index: this.#pendingConfIndex, term: this.#term };
  }

  /** The change of a committed entry, in the order in which they were handed out. What does not fit changes nothing. */
  applyConfChange(entry: Entry): ConfChangeOutcome {
    this.#confChangesHanded.take(entry);
    const change = decodeConfChange(entry.data);
    if (change === null) return { ok: false, error: "malformed" };
    const outcome = changeConf(this.tracker.confState, change);
    if (outcome.ok) this.#switchTo(outcome.confState);
    return outcome;
  }

  /** The host's own rules refuse the change of a committed entry, on every replica alike. */
  refuseConfChange(entry: Entry): void {
    this.#confChangesHanded.take(entry);
  }

  appliedTo(index: LogIndex): void {
    this.#confChangesHanded.assertAfter(index);
    this.log.appliedTo(index);
    this.#leaveJointIfDue();
  }

  /** Asks for another leader, here or at the leader. */
  transferLeader(to: NodeId): TransferResult {
    if (this.#role === "leader") return this.#beginTransfer(to);
    if (this.#leader === 0) return "no-leader";
    if (this.#leader === to) return "leads-already";
    this.outbox.askForTransfer(this.#leader, this.#term, to);
    return "forwarded";
  }

  /** The host knows that the leader is gone: whoever campaigns next need not wait until this replica notices. */
  forgetLeader(): void {
    if (this.#role !== "follower" || this.#isBound()) return;
    this.#leader = 0;
    this.#forwarded.reset();
  }

  /** As `forgetLeader`, and campaigns soon. An election is safe at any time; pre-vote keeps one from being for nothing. */
  leaderGone(id: NodeId): void {
    if (this.#leader !== id || this.#role !== "follower" || this.#isBound()) return;
    this.forgetLeader();
    const turn = ticksUntilTurn(this.tracker.voters.ids, { self: this.id, gone: id });
    this.#electionElapsed = Math.max(this.#electionElapsed, this.#electionTimeout - turn);
  }

  quarantine(): void {
    if (this.#role !== "follower") this.#becomeFollower(this.#term, 0);
    this.isQuarantined = true;
  }

  beginIncarnation(incarnation: Incarnation): void {
    assert(this.isQuarantined, "a life that begins has to show that it lacks nothing");
    this.outbox.beginIncarnation(incarnation);
  }

  readmit(): void {
    assert(!this.log.hasPendingSnapshot, "what it was healed with is durable");
    this.isQuarantined = false;
    this.lostThrough = 0;
    this.#electionElapsed = 0;
  }

  /** What was sent to a member lately did probably not arrive. */
  reportUnreachable(id: NodeId): void {
    const progress = this.tracker.progress.get(id);
    if (id !== this.id && progress?.state === "replicate") progress.becomeProbe();
  }

  /** Time has passed here that no tick has shown: what a quorum has promised may be over. */
  loseLease(): void {
    this.#lease.lose();
  }

  /** What became of the snapshot that a member was sent. */
  reportSnapshot(id: NodeId, hasArrived: boolean): void {
    this.tracker.progress.get(id)?.snapshotReported(hasArrived);
  }

  /** The host has a snapshot that it can install: of what is committed, wherever it came from. */
  restore(meta: SnapshotMeta): RestoreResult {
    const { index, term, confState } = meta;
    if (index <= this.log.commit) return "stale";
    if (!isMemberOf(confState, this.id)) return "foreign";
    // In quarantine it is taken all the same: what the machine made of the entries is what is not to be trusted.
    if (this.log.holds(index, term) && !this.isQuarantined) {
      // The log reaches it already; it only was not known to be committed.
      this.#commitByWord(index);
      return "held";
    }
    // A leader holds everything that is committed. Whoever wants to lead and does not, has lost.
    if (this.#role === "leader") return "foreign";
    // It may be the first to tell of its term, and no log holds an entry of a later term than its replica's.
    if (this.#role !== "follower" || term > this.#term)
      this.#becomeFollower(Math.max(term, this.#term), 0);
    this.log.restore(meta);
    // What was handed out before is part of the snapshot.
    this.#confChangesHanded.forget();
    this.tracker.configure(confState, this.log.lastIndex);
    return "restored";
  }

  /** Tells the leader, if one is known, what is committed here: after a snapshot, or when it has come without one. */
  announceCommit(): void {
    if (this.#role !== "follower" || this.#leader === 0 || this.isQuarantined) return;
    this.outbox.acceptAppend(this.#leader, this.#term, this.log.commit);
  }

  /** False when the read cannot be taken: no leader is known, or too many wait. */
  readIndex(context: number): boolean {
    if (this.#role === "leader") return this.#readOnly.add({ from: this.id, ticket: context });
    if (this.#leader === 0) return false;
    this.outbox.askForReadIndex(this.#leader, this.#term, this.#forwarded.open(context));
    return true;
  }

  step(message: Message): void {
    const refusal = refusalOf(message, this, this.#incarnations);
    if (refusal !== null) return this.#drop(refusal);
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
      case "snapshot":
        if (this.#followSender(message)) this.#handleSnapshot(message);
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
      case "transferLeader":
        if (this.#role === "leader") this.#beginTransfer(message.transferee);
        else this.#drop("not-expected");
        return;
      case "timeoutNow":
        // Pre-vote asks whether the leader is gone, and this one says so itself (dissertation, section 3.10).
        if (message.from === this.#leader && this.#mayCampaign()) this.#becomeCandidate(true);
        else this.#drop("not-expected");
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
      // The others are asked only now, and get a whole timeout to answer: a slow disk costs no term after term.
      this.#electionElapsed = 0;
      this.#countVote(this.id, true);
    }
  }

  // ---- what a Ready takes ----

  /** Whether flush() would make messages or answer reads. */
  flushDue(): boolean {
    if (this.#role !== "leader") return false;
    if (this.#readOnly.hasWaiting && this.leadsForSure()) return true;
    for (const [id, progress] of this.tracker.progress)
      if (id !== this.id && this.#appendDue(progress)) return true;
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
    this.#confChangesHanded.handOut(entries);
    if (this.#role === "leader" && this.#uncommittedBytes > 0) {
      for (const entry of entries)
        if (entry.term === this.#term) this.#uncommittedBytes -= entry.data.length;
      assert(this.#uncommittedBytes >= 0, "no more room is given back than was taken");
    }
    return entries;
  }

  invariants(): void {
    const { electionTicks } = this.#config;
    this.#confChangesHanded.assertAfter(this.log.applied);
    assertReplica(this, { electionTimeout: this.#electionTimeout, electionTicks });
  }

  // ---- roles ----

  #tickLeader(): void {
    this.#lease.tick();
    if (this.#electionElapsed >= this.#config.electionTicks) {
      this.#electionElapsed = 0;
      if (this.#config.checkQuorum && !this.tracker.takeQuorumActive(this.id))
        return this.#becomeFollower(this.#term, 0);
      this.#abortTransfer();
    }
    if (++this.#heartbeatElapsed < this.#config.heartbeatTicks) return;
    if (this.#isBound()) this.#readOnly.beginEmptyRound(this.log.commit, this.#lease.now);
    this.#broadcastHeartbeat();
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
    this.#transferee = 0;
    this.#heartbeatElapsed = 0;
    this.#electionElapsed = 0;
    this.#drawElectionTimeout();
    this.tracker.clearVotes();
    this.tracker.stopLeading();
    this.#readOnly.reset();
    this.#lease.reset();
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
  #becomeCandidate(isTransfer: boolean): void {
    this.#reset(this.#term + 1, "candidate", 0);
    this.#vote = this.id;
    const { lastIndex, lastTerm } = this.log;
    for (const id of this.tracker.voters.ids) {
      if (id !== this.id) this.outbox.askForVote(id, this.#term, lastIndex, lastTerm, isTransfer);
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
    // Whatever earlier leaders left may hold a configuration change; with this entry applied, that is applied too.
    this.#pendingConfIndex = this.log.extend(this.#term, EntryType.empty, EMPTY_BYTES);
  }

  // ---- elections ----

  #mayCampaign(): boolean {
    if (this.isQuarantined) return false;
    if (this.#role === "leader" || !this.tracker.voters.has(this.id)) return false;
    // A slow disk must not turn into term after term: an own vote that is on its way decides first.
    if (this.#role === "candidate" && !this.#ownVoteDurable) return false;
    // The configuration that is in force here may be over: a majority of it could be a minority by now.
    return !this.log.hasPendingSnapshot && !this.log.hasUnappliedConfChange();
  }

  #handleVoteRequest(message: VoteMessage): void {
    const { from, term } = message;
    const rehearsal = message.type === "preVote";
    if (message.isTransfer !== true && this.#isBound()) {
      this.#drop("sticky-leader");
      return;
    }
    const free =
      this.#vote === from ||
      (this.#vote === 0 && this.#leader === 0) ||
      (rehearsal && term > this.#term);
    const granted = free && this.log.isUpToDate(message.lastIndex, message.lastTerm);
    if (rehearsal) {
      if (granted) this.outbox.answerPreVote(from, term, null);
      else this.outbox.answerPreVote(from, this.#term, this.log.committedPlace);
      return;
    }
    if (granted) {
      this.#vote = from;
      this.#electionElapsed = 0;
    }
    this.outbox.answerVote(from, this.#term, granted ? null : this.log.committedPlace);
  }

  #handleVoteResponse(message: VoteResponse): void {
    const { committed } = message;
    const isHeld = committed !== undefined && this.log.holds(committed.index, committed.term);
    if (isHeld && this.#role !== "leader") this.#commitByWord(committed.index);
    // A grant of a pre-vote names the term that it was asked for; one for an earlier question is of no use.
    const expected =
      message.type === "preVoteResponse"
        ? this.#role === "preCandidate" && (message.reject || message.term === this.#term + 1)
        : this.#role === "candidate";
    if (!expected) this.#drop("not-expected");
    else if (!this.tracker.voters.has(message.from)) this.#drop("unknown-peer");
    else this.#countVote(message.from, !message.reject);
  }

  /** Others say so. An election that goes on among the members of a configuration that is over ends with that. */
  #commitByWord(index: LogIndex): void {
    this.log.commitTo(index);
    const isOver = campaigns(this.#role) && this.log.hasUnappliedConfChange();
    if (isOver) this.#becomeFollower(this.#term, 0);
  }

  #countVote(from: NodeId, granted: boolean): void {
    const result = this.tracker.recordVote(from, granted);
    if (result === "pending") return;
    if (result === "lost") this.#becomeFollower(this.#term, 0);
    else if (this.#role === "preCandidate") this.#becomeCandidate(false);
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
    const { commit } = this.log;
    this.outbox.append(to, this.#term, prevIndex, prevTerm, entries, commit);
    progress.sent(entries.length, bytesOf(entries), commit);
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
      const { firstIndex } = this.log;
      if (!progress.refused(message.index, hint)) this.#drop("not-expected");
      else if (message.index < firstIndex && progress.next < firstIndex) {
        this.#sendSnapshot(message.from, progress);
      }
      return;
    }
    const news = progress.acknowledged(message.index);
    if (progress.state === "replicate") progress.inflights.freeUpTo(message.index);
    else if (progress.state === "probe") {
      if (progress.match === message.index) progress.becomeReplicate();
    } else if (progress.match + 1 >= this.log.firstIndex) progress.becomeReplicate();
    if (news) this.#commitByCounting();
    if (message.from === this.#transferee) this.#handOverIfReady();
  }

  /** The member does not hold even the last entry that is gone here. */
  #sendSnapshot(to: NodeId, progress: Progress): void {
    const meta = this.#config.latestSnapshot?.() ?? null;
    // One that ends before the log begins helps nobody. One from before the member joined would leave it outside, and
    // it would refuse that.
    if (meta === null || meta.index + 1 < this.log.firstIndex || !isMemberOf(meta.confState, to)) {
      progress.waitForSnapshot();
      return;
    }
    assert(
      meta.index <= this.log.commit && this.log.holds(meta.index, meta.term),
      "a snapshot is of what is committed here",
    );
    this.outbox.snapshot(to, this.#term, meta);
    progress.becomeSnapshot(meta.index);
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
    this.#answerReads(this.#readOnly.answered(message.from, message.round, this.id, voters));
  }

  /** The progress of a member that answered, for a leader. Otherwise the message is counted as dropped. */
  #progressOf(from: NodeId): Progress | null {
    const progress = this.tracker.progress.get(from);
    if (progress !== undefined) return progress;
    this.#drop(this.#role === "leader" ? "unknown-peer" : "not-expected");
    return null;
  }

  // ---- replication: the follower ----

  /**
   * Takes the sender for the leader of this term. False when there is another one, which no correct replica claims, and
   * in quarantine, where he is heard and gets no answer; only his snapshot is taken there.
   */
  #followSender(message: AppendMessage | SnapshotMessage | HeartbeatMessage): boolean {
    const { from } = message;
    if (this.#role === "leader" || (this.#leader !== 0 && this.#leader !== from)) {
      this.#drop("contradiction");
      return false;
    }
    if (this.#role !== "follower") this.#becomeFollower(this.#term, from);
    this.#leader = from;
    this.#electionElapsed = 0;
    this.#ticksSinceLeader = 0;
    return !this.isQuarantined || message.type === "snapshot";
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

  #handleSnapshot({ from, meta }: SnapshotMessage): void {
    const result = this.restore(meta);
    if (result === "stale") this.#drop("stale-snapshot");
    else if (result === "foreign") this.#drop("foreign-snapshot");
    if (!this.isQuarantined) this.outbox.acceptAppend(from, this.#term, this.log.commit);
  }

  /** Answered at once: a slow disk must not make the leader believe that nobody is there. */
  #handleHeartbeat(message: HeartbeatMessage): void {
    // A leader names only what was acknowledged here. If it is not here any more, this replica has lost something.
    if (message.commit > this.log.lastIndex) {
      this.lostThrough = message.commit;
      this.#drop("contradiction");
    } else this.log.commitTo(message.commit);
    this.outbox.answerHeartbeat(message.from, this.#term, message.round);
  }

  // ---- membership and handing over ----

  /** Why a leader takes no proposal of this size now; null when it does. One proposal always fits. */
  #proposalRefusal(sizeBytes: number): ProposeRefusal | null {
    if (this.#role !== "leader") return this.#leader === 0 ? "no-leader" : "not-leader";
    if (this.#transferee !== 0) return "transferring";
    const bytes = this.#uncommittedBytes + sizeBytes;
    const isFull = this.#uncommittedBytes > 0 && bytes > this.#config.maxUncommittedBytes;
    return isFull ? "uncommitted-full" : null;
  }

  #extend(type: EntryType, data: Uint8Array): LogIndex {
    this.#uncommittedBytes += data.length;
    return this.log.extend(this.#term, type, data);
  }

  #switchTo(confState: ConfState): void {
    assert(!campaigns(this.#role), "no election goes on while the configuration changes");
    this.tracker.configure(confState, this.log.lastIndex);
    if (this.#role !== "leader") return;
    const { voters } = this.tracker;
    if (!voters.has(this.id)) {
      // It led until the configuration without it was committed, and goes now (dissertation, section 4.2.2).
      this.#becomeFollower(this.#term, 0);
      return;
    }
    if (!voters.incoming.has(this.#transferee)) this.#abortTransfer();
    // Those who gave it need be no quorum any more.
    this.#lease.lose();
    this.#commitByCounting();
    this.#answerReads(this.#readOnly.confirmed(this.id, voters));
  }

  /** Also a leader that found the joint configuration in its log brings it to its end (dissertation, section 4.3). */
  #leaveJointIfDue(): void {
    if (this.#role !== "leader" || !this.tracker.confState.autoLeave) return;
    if (this.#transferee !== 0 || this.log.applied < this.#pendingConfIndex) return;
    this.#pendingConfIndex = this.#extend(EntryType.confChange, encodeConfChange(LEAVE_JOINT));
  }

  #beginTransfer(to: NodeId): TransferResult {
    if (to === this.id) return "leads-already";
    if (!this.tracker.voters.incoming.has(to)) return "not-a-voter";
    if (this.#transferee === to) return "started";
    this.#transferee = to;
    // From now on it has an election timeout.
    this.#electionElapsed = 0;
    this.#handOverIfReady();
    return "started";
  }

  #handOverIfReady(): void {
    const progress = this.tracker.progress.get(this.#transferee);
    if (progress?.match !== this.log.lastIndex) return;
    this.#lease.end();
    this.outbox.timeoutNow(this.#transferee, this.#term);
  }

  #abortTransfer(): void {
    if (this.#transferee === 0) return;
    this.#transferee = 0;
    this.#leaveJointIfDue();
  }

  // ---- reads ----

  /** The commit of a leader says what is committed only once an entry of its own term is (fault-rules R2). */
  leadsForSure(): boolean {
    return this.log.holds(this.log.commit, this.#term);
  }

  #beginReads(): void {
    const index = this.log.commit;
    const isAlone = this.tracker.voters.isLoneVoter(this.id);
    if (isAlone || (this.#lease.isHeld && this.#transferee === 0)) {
      for (const read of this.#readOnly.takeWaiting())
        this.#answerRead(read.from, read.ticket, index);
      return;
    }
    this.#readOnly.beginRound(index, this.#lease.now);
    this.#broadcastHeartbeat();
  }

  #answerReads(confirmed: ReturnType<ReadOnly["confirmed"]>): void {
    for (const { index, reads, beganAt } of confirmed) {
      this.#lease.confirmed(beganAt);
      for (const read of reads) this.#answerRead(read.from, read.ticket, index);
    }
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

  /** A member in a new life may hold less than it acknowledged, so its match counts for nothing any more. */
  #noteIncarnation(from: NodeId, incarnation: Incarnation): void {
    const known = this.#incarnations.get(from);
    if (known === incarnation || !this.tracker.isMember(from)) return;
    this.#incarnations.set(from, incarnation);
    if (known !== undefined) this.tracker.progress.get(from)?.restart(this.log.lastIndex);
  }

  /**
   * A member that cannot hear this replica's term may be a leader cut off one way: it gets an answer of this term,
   * which makes it step down. Without pre-vote and CheckQuorum the next election does that. In quarantine too: the answer
   * promises nothing, and who campaigned before it was set apart would hear no leader, and be healed by none, for ever.
   */
  #answerStale(message: Message): void {
    this.#drop("stale-term");
    const { from, type } = message;
    if (isFromLeader(message)) {
      if (this.#config.checkQuorum || this.#config.preVote)
        this.outbox.refuseAppend(from, this.#term, 0, 0, 0);
    } else if (this.isQuarantined) return;
    else if (type === "preVote")
      this.outbox.answerPreVote(from, this.#term, this.log.committedPlace);
    else if (type === "vote") this.outbox.answerVote(from, this.#term, this.log.committedPlace);
  }

  /** Joins a later term where the message shows that it has begun. False when the message goes no further. */
  #meetLaterTerm(message: Message): boolean {
    const asksForVote = message.type === "vote" || message.type === "preVote";
    if (asksForVote && message.isTransfer !== true && this.#hearsLeader()) {
      this.#drop("sticky-leader");
      return false;
    }
    // A rehearsal and its grant speak of a term that nobody has begun.
    if (message.type === "preVote") return true;
    if (message.type === "preVoteResponse" && !message.reject) return true;
    this.#becomeFollower(message.term, isFromLeader(message) ? message.from : 0);
    return true;
  }

  /** Within an election timeout of a leader's last word, a node that campaigns is the one that is cut off (R3). */
  #hearsLeader(): boolean {
    return (
      this.#isBound() ||
      (this.#config.checkQuorum &&
        this.#leader !== 0 &&
        this.#electionElapsed < this.#config.electionTicks)
    );
  }

  /** A leader may hold a lease that this replica is part of, whatever it has learnt or forgotten since. */
  #isBound(): boolean {
    if (!this.#lease.isOn || this.tracker.voters.isLoneVoter(this.id)) return false;
    return this.#role === "leader" || this.#ticksSinceLeader < this.#config.electionTicks;
  }

  #drop(reason: DropReason): void {
    this.drops.set(reason, (this.drops.get(reason) ?? 0) + 1);
  }
}
