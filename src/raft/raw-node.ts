/** The door of the core: inputs go in, a Ready comes out. It remembers what was handed out and is not durable yet. */
import { assert, verify } from "../base/index.ts";
import type { RaftConfig } from "./config.ts";
import type { ConfChangeOutcome } from "./confchange/changer.ts";
import type { ConfChangeV2 } from "./confchange/conf-change.ts";
import type { DropReason, Message } from "./message.ts";
import { Raft } from "./raft.ts";
import type {
  ProposeResult,
  ReadState,
  Ready,
  RestoreResult,
  Role,
  SoftState,
  TransferResult,
} from "./ready.ts";
import type { ProgressState } from "./tracker/progress.ts";
import type {
  ConfState,
  Entry,
  GroupId,
  HardState,
  Incarnation,
  LogIndex,
  NodeId,
  SnapshotMeta,
  Term,
} from "./types.ts";

export interface ProgressStatus {
  readonly id: NodeId;
  readonly match: LogIndex;
  readonly next: LogIndex;
  readonly state: ProgressState;
  readonly isLearner: boolean;
  /** It has answered within the last election timeout, or within the one before. */
  readonly recentActive: boolean;
  readonly inflightMessages: number;
  readonly inflightBytes: number;
  /** It lacks entries that are compacted here, and no snapshot is on its way: the host should have one to send. */
  readonly needsSnapshot: boolean;
  /** The index of the snapshot that is on its way to it; 0 when none is. */
  readonly pendingSnapshot: LogIndex;
}

export interface RaftStatus {
  readonly group: GroupId;
  readonly id: NodeId;
  readonly role: Role;
  readonly isQuarantined: boolean;
  readonly leader: NodeId;
  readonly hardState: HardState;
  readonly confState: ConfState;
  readonly appliedIndex: LogIndex;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** The last entry that is durable here. */
  readonly stableIndex: LogIndex;
  readonly uncommittedBytes: number;
  /** To whom it hands over; 0 for nobody. */
  readonly transferee: NodeId;
  /** Of every member, this one included; empty unless it leads. */
  readonly progress: readonly ProgressStatus[];
  /** How many messages were not taken, by reason. */
  readonly drops: ReadonlyMap<DropReason, number>;
}

interface Outstanding {
  readonly number: number;
  readonly hardState: HardState;
}

const NO_READS: readonly ReadState[] = Object.freeze([]);

/**
 * A Raft replica as a pure, synchronous function from inputs to data.
 *
 * Invariants: Readys are numbered without gaps; persisted never passes what was handed out and never goes back.
 * After every input the invariants of the log, of each member's progress and of the roles hold.
 */
export class RawNode {
  readonly #raft: Raft;
  #readyNumber = 0;
  #persistedNumber = 0;
  #handedHardState: HardState;
  #handedLeader: NodeId;
  #handedRole: Role;
  #durableHardState: HardState;
  /** Readys with another HardState than the one before, not yet durable. */
  readonly #outstanding: Outstanding[] = [];
  readonly #check = (): void => this.#raft.invariants();

  /** Throws HarmonyError CORRUPT when log, HardState and applied index contradict each other. */
  constructor(config: RaftConfig) {
    this.#raft = new Raft(config);
    this.#handedHardState = config.hardState;
    this.#durableHardState = config.hardState;
    this.#handedLeader = this.#raft.leader;
    this.#handedRole = this.#raft.role;
    verify(this.#check);
  }

  /** One unit of time has passed. */
  tick(): void {
    this.#raft.tick();
    verify(this.#check);
  }

  /**
   * Campaigns now instead of at the election timeout. A host whose replica is the lone voter calls it at start. It
   * has no effect on a leader, a learner, a candidate that waits for its own vote to become durable, while a
   * configuration change is committed here and not applied, or, with leases, while a leader is heard from.
   */
  campaign(): void {
    this.#raft.campaign();
    verify(this.#check);
  }

  /** Appends `data` to the log of a leader, by reference: the caller must not change it any more. */
  propose(data: Uint8Array): ProposeResult {
    const result = this.#raft.propose(data);
    verify(this.#check);
    return result;
  }

  /**
   * Appends a configuration change to the log of a leader. It takes effect on each replica where its entry is applied
   * (`applyConfChange`). One at a time: the next is refused until this one is.
   */
  proposeConfChange(change: ConfChangeV2): ProposeResult {
    const result = this.#raft.proposeConfChange(change);
    verify(this.#check);
    return result;
  }

  /**
   * Brings the change of a committed entry of type confChange into force; to be called for each of them in their
   * order, before `advance` reaches it. What the configuration does not take changes nothing, on every replica alike.
   * Throws NEWER_FORMAT for a change that a newer version has written.
   */
  applyConfChange(entry: Entry): ConfChangeOutcome {
    const outcome = this.#raft.applyConfChange(entry);
    verify(this.#check);
    return outcome;
  }

  /** Instead of `applyConfChange`, where the host's own rules refuse the change: on every replica or on none. */
  refuseConfChange(entry: Entry): void {
    this.#raft.refuseConfChange(entry);
    verify(this.#check);
  }

  /**
   * Hands the lead to a voter, or asks the leader to. Meanwhile a leader takes no proposals. It gives up after an
   * election timeout; who leads now is in the Readys.
   */
  transferLeader(to: NodeId): TransferResult {
    const result = this.#raft.transferLeader(to);
    verify(this.#check);
    return result;
  }

  /**
   * The host knows that the leader is gone. This follower votes for another at once instead of waiting for it; with
   * leases it does wait.
   */
  forgetLeader(): void {
    this.#raft.forgetLeader();
    verify(this.#check);
  }

  /**
   * As `forgetLeader`, where the host knows it of this member: its process has ended, say. Unless another leader is heard of,
   * this voter campaigns when its turn comes, within a few ticks, the lower ids first. A host that is wrong costs nothing
   * while a majority still hears the leader: they answer no pre-vote.
   */
  leaderGone(id: NodeId): void {
    this.#raft.leaderGone(id);
    verify(this.#check);
  }

  /** Ticks may have been missed: with `leaseTicks`, nothing is answered from a lease of before. */
  loseLease(): void {
    this.#raft.loseLease();
    verify(this.#check);
  }

  /**
   * From now on the replica gives no vote, acknowledges nothing and answers nobody: its state is not to be trusted, or it
   * may have lost something that it acknowledged. It still tells a leader of an earlier term that his is over, hears who
   * leads, may ask him for a read index, and takes his snapshot (`restore`), which then takes the place of all that it
   * holds.
   *
   * The way back (fault-rules R14): make a new incarnation durable and begin it here; ask for a read index; install a
   * snapshot of the leader that covers that index; `readmit`. The leader has heard of the new life by the question, so
   * whatever he had counted of the old one is committed at or below the index that he answered, and he counts none of
   * it afterwards. A round of reads is answered by a majority without this replica, so nobody can have been elected
   * since who lacks what it once acknowledged.
   */
  quarantine(): void {
    this.#raft.quarantine();
    verify(this.#check);
  }

  /** The number of a new life is durable. In quarantine only. */
  beginIncarnation(incarnation: Incarnation): void {
    this.#raft.beginIncarnation(incarnation);
    verify(this.#check);
  }

  /** Ends the quarantine: the condition above holds. */
  readmit(): void {
    this.#raft.readmit();
    verify(this.#check);
  }

  /** What was sent to a member lately did probably not arrive: a leader asks where it stands before it sends more. */
  reportUnreachable(id: NodeId): void {
    this.#raft.reportUnreachable(id);
    verify(this.#check);
  }

  /**
   * What became of the snapshot that a `snapshot` message announced: true when the member's host has all of it. To be
   * called for each of them: until then the member is sent nothing else, unless it answers by itself.
   */
  reportSnapshot(id: NodeId, hasArrived: boolean): void {
    this.#raft.reportSnapshot(id, hasArrived);
    verify(this.#check);
  }

  /**
   * The host has fetched a snapshot of the group, checked it, and can install it; what it covers is committed, whoever
   * led when it was made. It takes the place of log and state where it brings more than there is here: then the next
   * Ready carries it. The leader is told what is here, in any case.
   */
  restore(meta: SnapshotMeta): RestoreResult {
    const result = this.#raft.restore(meta);
    this.#raft.announceCommit();
    verify(this.#check);
    return result;
  }

  /** Takes a message from a peer, or drops and counts it. Never throws for what a message says. */
  step(message: Message): void {
    this.#raft.step(message);
    verify(this.#check);
  }

  /**
   * Asks for the index that must be applied before a read that comes now may be answered. The answer is a ReadState
   * with this context, which must be unique in the life of this object. It may never come: after a Ready that shows
   * another leader, role or term, and after a while on a follower, the host asks again with a new context.
   * False when the read was not even taken.
   */
  readIndex(context: number): boolean {
    const taken = this.#raft.readIndex(context);
    verify(this.#check);
    return taken;
  }

  hasReady(): boolean {
    const raft = this.#raft;
    return (
      raft.log.hasUnhanded ||
      !raft.outbox.isEmpty ||
      raft.readStates.length > 0 ||
      raft.log.hasCommitted ||
      raft.leader !== this.#handedLeader ||
      raft.role !== this.#handedRole ||
      raft.term !== this.#handedHardState.term ||
      raft.vote !== this.#handedHardState.vote ||
      raft.log.commit !== this.#handedHardState.commit ||
      raft.flushDue()
    );
  }

  /**
   * Takes everything that has accumulated. The host may take the next one before this one is durable. Throws
   * CorruptionError when the storage cannot give back what it holds.
   */
  ready(): Ready {
    const raft = this.#raft;
    const number = ++this.#readyNumber;
    raft.flush();
    const snapshot = raft.log.takeSnapshot(number);
    const entries = raft.log.takeUnhanded(number);
    const handed = this.#handedHardState;
    const newVote = raft.term !== handed.term || raft.vote !== handed.vote;
    let hardState: HardState | undefined;
    if (newVote || raft.log.commit !== handed.commit) {
      hardState = raft.hardState();
      this.#handedHardState = hardState;
      this.#outstanding.push({ number, hardState });
    }
    let softState: SoftState | undefined;
    if (raft.leader !== this.#handedLeader || raft.role !== this.#handedRole) {
      softState = { leader: raft.leader, role: raft.role };
      this.#handedLeader = raft.leader;
      this.#handedRole = raft.role;
    }
    const committedEntries = raft.takeCommitted();
    const { readStates } = raft;
    if (readStates.length > 0) raft.readStates = [];
    verify(this.#check);
    return {
      number,
      softState,
      hardState,
      snapshot,
      entries,
      messages: raft.outbox.takeAtOnce(),
      messagesAfterPersist: raft.outbox.takeAfterPersist(),
      committedEntries,
      readStates: readStates.length > 0 ? readStates : NO_READS,
      mustSync: entries.length > 0 || newVote || snapshot !== undefined,
    };
  }

  /** All Readys up to this number are durable, and the storage gives their entries. */
  persisted(readyNumber: number): void {
    assert(readyNumber <= this.#readyNumber, "only what was handed out can be durable");
    assert(readyNumber >= this.#persistedNumber, "what is durable stays durable");
    this.#persistedNumber = readyNumber;
    let done = 0;
    for (const { number, hardState } of this.#outstanding) {
      if (number > readyNumber) break;
      this.#durableHardState = hardState;
      done++;
    }
    if (done > 0) this.#outstanding.splice(0, done);
    this.#raft.persisted(readyNumber, this.#durableHardState);
    verify(this.#check);
  }

  /** The state machine holds everything up to `appliedIndex`. */
  advance(appliedIndex: LogIndex): void {
    this.#raft.appliedTo(appliedIndex);
    verify(this.#check);
  }

  get id(): NodeId {
    return this.#raft.id;
  }

  get role(): Role {
    return this.#raft.role;
  }

  get isQuarantined(): boolean {
    return this.#raft.isQuarantined;
  }

  /**
   * The leader says that this replica has acknowledged everything up to here, and its log ends before: it has lost what
   * others count on, and nobody but its host can have taken that away. 0: nothing of that kind was said in this life.
   */
  get lostThrough(): LogIndex {
    return this.#raft.lostThrough;
  }

  /** 0 when nobody is known. */
  get leader(): NodeId {
    return this.#raft.leader;
  }

  get term(): Term {
    return this.#raft.term;
  }

  /** To whom it hands over; 0 for nobody. */
  get transferee(): NodeId {
    return this.#raft.transferee;
  }

  get commit(): LogIndex {
    return this.#raft.log.commit;
  }

  get lastIndex(): LogIndex {
    return this.#raft.log.lastIndex;
  }

  /** The last entry that is durable here. */
  get stableIndex(): LogIndex {
    return this.#raft.log.stableIndex;
  }

  /** The configuration in force here: that of the last change applied. */
  get confState(): ConfState {
    return this.#raft.tracker.confState;
  }

  /** It leads, and its commit reaches into its own term: everything committed before it led is known to be (R2). */
  get leadsForSure(): boolean {
    return this.#raft.role === "leader" && this.#raft.leadsForSure();
  }

  /** It leads for sure and is the only voter: nobody else can have acknowledged anything since. */
  get isLoneLeader(): boolean {
    return this.leadsForSure && this.#raft.tracker.voters.isLoneVoter(this.#raft.id);
  }

  /** A picture for operators, metrics and tests; not for the hot path. */
  status(): RaftStatus {
    const raft = this.#raft;
    const { log } = raft;
    const { firstIndex } = log;
    const progress: ProgressStatus[] = [];
    for (const [id, of] of raft.tracker.progress) {
      progress.push({
        id,
        match: of.match,
        next: of.next,
        state: of.state,
        isLearner: of.isLearner,
        recentActive: of.recentActive || of.wasActive || id === raft.id,
        inflightMessages: of.inflights.count,
        inflightBytes: of.inflights.bytes,
        needsSnapshot: of.needsSnapshot,
        pendingSnapshot: of.pendingSnapshot,
      });
    }
    return {
      group: raft.group,
      id: raft.id,
      role: raft.role,
      isQuarantined: raft.isQuarantined,
      leader: raft.leader,
      hardState: raft.hardState(),
      confState: raft.tracker.confState,
      appliedIndex: log.applied,
      firstIndex,
      lastIndex: log.lastIndex,
      lastTerm: log.lastTerm,
      stableIndex: log.stableIndex,
      uncommittedBytes: raft.uncommittedBytes,
      transferee: raft.transferee,
      progress,
      drops: new Map(raft.drops),
    };
  }

  /** Stops when the replica's state contradicts itself. */
  invariants(): void {
    assert(this.#persistedNumber <= this.#readyNumber, "persisted follows ready");
    this.#raft.invariants();
  }
}
