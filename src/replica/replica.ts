/**
 * One group on this node: what waits to be proposed, what is proposed and not yet applied, and the steps of the Ready
 * loop that concern this group alone. `ReplicaHost` calls the steps in turn order for all groups.
 *
 * Invariants:
 * - A command is given to Raft once. What may have been appended is never proposed again (architecture section 3, 6).
 * - A reply says "applied" only for the very entry (index and term) that carried the command, and that entry was
 *   durable here before it was applied.
 * - Whoever waits is answered once: when the entry is applied, when it is lost, or when the replica stops. An answer
 *   that throws keeps nobody else from being answered.
 * - Messages that depend on a Ready leave only when it and all before it are persisted.
 * - From the moment in which a snapshot takes the place of the log until the machine has its state, nothing is applied.
 */
import { assert, HarmonyError, verify } from "../base/index.ts";
import {
  changeConf,
  type ConfChangeV2,
  decodeConfChange,
  encodeConfChange,
  type Entry,
  EntryType,
  type GroupId,
  type HardState,
  leavesJoint,
  type LogIndex,
  type Message,
  type NodeId,
  type RawNode,
  type Ready,
  type RestoreResult,
} from "../raft/index.ts";
import type { GroupAppend, SnapshotRecord } from "../wal/index.ts";
import type {
  Declined,
  Forward,
  Placed,
  QuarantineItem,
  RoomItem,
  StateHashItem,
} from "../codec/index.ts";
import { Agreement } from "./agreement.ts";
import { type Collected, mergeEntries } from "./collected.ts";
import { decodeBatch, encodeBatch } from "./batch.ts";
import { ForeignProposal, ForwardedCommands, type Forwarding, placements } from "./forwarding.ts";
import type { GroupClock } from "./group-clock.ts";
import { heirBefore, heirOf } from "./heir.ts";
import { Packing } from "./packing.ts";
import {
  FINAL_DECLINES,
  PASSING_REFUSALS,
  Proposal,
  type ProposeReply,
  withDoubt,
  withThoseAgain,
} from "./proposal.ts";
import { ProposedEntries } from "./proposed-entries.ts";
import { type PendingRead, type ReadDone, Reads } from "./reads.ts";
import type { ReplicaConfig, ReplicaPeers } from "./replica-config.ts";
import { Room } from "./room.ts";
import { SlowDisk } from "./slow-disk.ts";
import type { ApplyContext, StateMachine } from "./state-machine.ts";

/** Packed in one turn: a frame's worth, so that a burst of large values is not checksummed and copied in one go. */
const PACK_BYTES_PER_TURN: number = 8 * 1024 * 1024;
/** Commands that wait for their turn: beyond this, callers are told to slow down instead of memory growing. */
const WAITING_BYTES_MAX: number = 64 * 1024 * 1024;
/**
 * Applied between two looks at the network and the disk, so that neither a long replay nor a burst holds a turn. Bytes
 * count as well, for one command may set thousands of keys. The entry that reaches either is the last one of its turn.
 */
const APPLY_COMMANDS_PER_TURN = 1_000;
const APPLY_BYTES_PER_TURN: number = 128 * 1024;

/** A snapshot that takes the place of log and state. */
interface Restoring {
  readonly record: SnapshotRecord;
  /** Called when the log says so: the state is to follow. */
  readonly recorded: () => void;
  /** The Ready that carries it; 0 until there is one. */
  readyNumber: number;
}

export class Replica<Result> {
  readonly group: GroupId;
  readonly machine: StateMachine<Result>;
  readonly clock: GroupClock;
  readonly #node: RawNode;
  readonly #wake: () => void;

  /** Commands not yet proposed, in order of arrival. */
  #waiting: Proposal<Result>[] = [];
  #waitingBytes = 0;
  #proposalNumber = 0;
  /** Changes of the configuration, which this leader proposes one after the other. Their bytes count as waiting. */
  #confChanges: Proposal<Result>[] = [];
  readonly #judge: NonNullable<ReplicaConfig<Result>["judge"]>;
  /** For how many ticks it has led without a break. */
  #ledTicks = 0;
  /** The term in which it has begun to hand the lead over because it is removed. */
  #handedOverIn = 0;
  /** Raft has no room for what waits until something of it is committed. */
  #isBlocked = false;
  readonly #forwarding: Forwarding | null;
  readonly #forwarded: ForwardedCommands<Result> | null;
  readonly #proposed: ProposedEntries<Result>;

  readonly #reads: Reads;

  /** Committed and durable here, not yet applied. */
  #toApply: Entry[] = [];
  #toApplyAt = 0;
  #restoring: Restoring | null = null;

  /** The newest Ready taken, and the newest whose records were handed to the WAL. */
  #readyTaken = 0;
  #readyWritten = 0;
  #readyPersisted = 0;
  #messagesWaiting: { readonly number: number; readonly messages: readonly Message[] }[] = [];
  /** A change of commit alone: travels with the next frame that has a reason of its own. */
  #unsavedHardState: HardState | null = null;
  #savedTerm: number;
  #savedVote: number;
  #stopped: HarmonyError | null = null;
  #commandsApplied = 0;
  #commandsRefused = 0;
  #commandsHandedOver = 0;
  #leaderChanges = 0;
  #leaderSeen = 0;
  /** The clock has not stood still since the start for want of a leader: it leads, or has followed one. */
  #hasKeptTime = false;
  /** What callers threw out of their own answers. */
  #defects: unknown[] = [];
  /** Why it takes no part now; null: it does. */
  #quarantined: HarmonyError | null;
  readonly #agreement: Agreement | null;
  readonly #room: Room;
  /** Nothing that the others go on with is applied here, for want of room. */
  #isStill = false;
  readonly #slowDisk: SlowDisk;
  readonly #peers: ReplicaPeers | null;

  constructor(config: ReplicaConfig<Result>) {
    this.group = config.group;
    this.machine = config.machine;
    this.clock = config.clock;
    this.#node = config.rawNode;
    this.#wake = config.wake;
    this.#reads = new Reads(config.rawNode);
    this.#judge = config.judge ?? ((): null => null);
    this.#proposed = new ProposedEntries((proposal, error, result) =>
      this.#settle(proposal, error, result),
    );
    const { peers } = config;
    this.#forwarding = peers?.forwarding ?? null;
    this.#forwarded =
      peers === undefined
        ? null
        : new ForwardedCommands(config.group, peers.forwarding, peers.entropy);
    this.#savedTerm = config.hardState.term;
    this.#savedVote = config.hardState.vote;
    this.#quarantined = config.quarantined ?? null;
    this.#peers = peers ?? null;
    this.#agreement = this.#makeAgreement(config);
    this.#room = new Room({
      group: config.group,
      raft: config.rawNode,
      tell: (member, item) => void this.#forwarding?.tell(member, item),
      handsOver: (to) => peers?.handsOver?.(to),
    });
    this.#slowDisk = new SlowDisk(config.rawNode, (voter) => !this.#room.isFull(voter));
  }

  #makeAgreement({ rawNode, machine, peers, group }: ReplicaConfig<Result>): Agreement | null {
    const { stateHash } = machine;
    if (peers?.differ === undefined || stateHash === undefined) return null;
    const agreement = new Agreement({
      group,
      self: rawNode.id,
      confState: () => rawNode.confState,
      tell: (member, item) => peers.forwarding.tell(member, item),
      differ: peers.differ,
    });
    agreement.applied(machine.appliedIndex, stateHash);
    return agreement;
  }

  /** What Raft says of itself: term, leader, commit, ... */
  get raft(): RawNode {
    return this.#node;
  }

  /** Commands applied since the start, replayed ones included. */
  get commandsApplied(): number {
    return this.#commandsApplied;
  }

  /** Commands that got an error instead of a result since the start: no room, no leader, a stop. */
  get commandsRefused(): number {
    return this.#commandsRefused;
  }

  /** Commands that wait to be proposed, or are proposed and not applied. */
  get commandsPending(): number {
    const forwarded = this.#forwarded?.count ?? 0;
    return this.#waiting.length + this.#confChanges.length + this.#proposed.count + forwarded;
  }

  get readsPending(): number {
    return this.#reads.count;
  }

  /** Commands that other members have handed over since the start, declined ones included. */
  get commandsHandedOver(): number {
    return this.#commandsHandedOver;
  }

  /** Leaders that this replica has seen since the start, each as often as it became known. */
  get leaderChanges(): number {
    return this.#leaderChanges;
  }

  /** Why it stopped, or null. Whatever is asked for from now on gets this error. */
  get stopped(): HarmonyError | null {
    return this.#stopped;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Why it takes no part now, or null. Whatever is asked for meanwhile gets this error. */
  get quarantined(): HarmonyError | null {
    return this.#quarantined;
  }

  /** Why it takes neither commands nor linearizable reads, while others do; null: it takes them. */
  get aside(): HarmonyError | null {
    return this.#room.isAside ? new HarmonyError("MEMBER_FULL") : null;
  }

  /** Why nothing new is applied here, whatever the others go on with; null: it is. */
  get still(): HarmonyError | null {
    return this.#isStill ? this.aside : null;
  }

  /** The last entry at which all members were found equal, and hashes of others that were compared with the own one. */
  get agreement(): { readonly agreedIndex: LogIndex; readonly compared: number } | null {
    return this.#agreement;
  }

  /** Term and vote as they were last given to VOTE. */
  get savedVote(): { readonly term: number; readonly vote: number } {
    return { term: this.#savedTerm, vote: this.#savedVote };
  }

  /**
   * From now on the replica takes no part (`RawNode.quarantine`) and applies nothing. Everybody who waits is answered
   * with `error`, which says what is known of his command.
   */
  quarantine(error: HarmonyError): void {
    if (this.#stopped !== null || this.#quarantined !== null) return;
    this.#quarantined = error;
    this.#node.quarantine();
    this.#toApply = [];
    this.#toApplyAt = 0;
    this.#answerAll(error);
    this.#wake();
  }

  /** It was healed: what it holds now lacks nothing that it ever acknowledged. */
  readmit(): void {
    assert(this.#quarantined !== null, "who is readmitted was in quarantine");
    this.#quarantined = null;
    this.#node.readmit();
    this.#wake();
  }

  /**
   * Asks the leader up to where everything is committed by now. The answer may never come: then it is asked again. False
   * when there is nobody to ask.
   */
  askReadIndex(done: (index: LogIndex) => void): boolean {
    if (this.#stopped !== null || !this.#reads.askIndex(done)) return false;
    this.#wake();
    return true;
  }

  takeStateHash(from: NodeId, item: StateHashItem): void {
    if (this.#stopped === null && this.#quarantined === null) this.#agreement?.take(from, item);
  }

  takeRoom(from: NodeId, item: RoomItem): void {
    if (this.#stopped === null) this.#room.take(from, item);
  }

  /**
   * How it stands with the log's disk, in every turn. `isStill`: what was handed to the log has been waiting for room. Who
   * waits here for what others do is told to ask them; of what may be in somebody's log he learns no more here.
   */
  look(isFull: boolean, isStill: boolean): void {
    this.#room.look(isFull, isStill);
    const { isAside } = this.#room;
    const begins = isAside && isStill && !this.#isStill;
    this.#isStill = isAside && isStill;
    if (begins) {
      const error = new HarmonyError("MEMBER_FULL");
      this.#answerAll(error);
      this.#peers?.standsStill?.(error);
    } else if (isAside && this.#waiting.length + this.#confChanges.length + this.#reads.count > 0)
      this.#answerWaiting(new HarmonyError("MEMBER_FULL"));
  }

  takeQuarantine(from: NodeId, item: QuarantineItem): void {
    if (this.#stopped === null) this.#peers?.inQuarantine?.(from, item);
  }

  /**
   * Hands a command to the group. `reply` comes when its entry is applied here, or with an error whose
   * `maybeApplied` says whether it may still be. During an election commands wait.
   */
  propose(command: Uint8Array, reserve: boolean, reply: ProposeReply<Result>): Proposal<Result> {
    const proposal = new Proposal<Result>(command, reserve, reply);
    this.#enqueue(proposal);
    return proposal;
  }

  /** As `propose`, for a change of the configuration: its result is what the machine says to it. */
  proposeConfChange(change: ConfChangeV2, reply: ProposeReply<Result>): Proposal<Result> {
    const proposal = new Proposal<Result>(encodeConfChange(change), true, reply, true);
    this.#enqueue(proposal);
    return proposal;
  }

  #enqueue(proposal: Proposal<Result>): void {
    const { length } = proposal.command;
    const refusal = this.#refusal;
    if (refusal !== null) {
      proposal.settle(refusal, undefined);
    } else if (this.#waitingBytes + length > WAITING_BYTES_MAX) {
      proposal.settle(new HarmonyError("TOO_MANY_REQUESTS"), undefined);
    } else {
      proposal.number = ++this.#proposalNumber;
      this.#waiting.push(proposal);
      this.#waitingBytes += length;
      this.#wake();
    }
  }

  get #refusal(): HarmonyError | null {
    return this.#stopped ?? this.#quarantined ?? this.aside;
  }

  /** Another member hands over commands for this one to propose, if it leads. */
  takeForward(from: NodeId, { ticket, commands }: Forward): void {
    if (this.#stopped !== null) return;
    this.#commandsHandedOver += commands.length;
    if (this.#node.role !== "leader") {
      this.#decline(from, ticket, commands.length, "NOT_LEADER");
      return;
    }
    for (const [i, command] of commands.entries()) {
      const origin = { member: from, ticket: ticket + i };
      this.#enqueue(
        new ForeignProposal<Result>(command, origin, (proposal, code) =>
          this.#decline(proposal.member, proposal.ticket, 1, code),
        ),
      );
    }
  }

  /** The leader says in which entry the commands stand that it was handed. */
  takePlaced(from: NodeId, placed: Placed): void {
    const { index, term, position } = placed;
    const { appliedIndex } = this.machine;
    const taken = this.#forwarded?.take(from, placed) ?? [];
    for (const [i, proposal] of taken.entries()) {
      const at = { index, term, position: position + i };
      if (proposal !== null) this.#proposed.placed(proposal, at, appliedIndex);
    }
  }

  /** The leader has not proposed the commands and will not. */
  takeDeclined(from: NodeId, declined: Declined): void {
    const taken = this.#forwarded?.take(from, declined) ?? [];
    const again: Proposal<Result>[] = [];
    const code = FINAL_DECLINES.get(declined.code);
    for (const proposal of taken) {
      if (proposal === null || proposal.reply === null) continue;
      proposal.isProposed = false;
      if (code !== undefined) this.#settle(proposal, new HarmonyError(code));
      else again.push(proposal);
    }
    if (again.length === 0) return;
    this.#forwarded?.declined(from, this.#node.term);
    for (const { command } of again) this.#waitingBytes += command.length;
    this.#waiting = withThoseAgain(this.#waiting, again);
    this.#wake();
  }

  /** What this member said, or was told, may be lost: also where it put the commands that it was handed. */
  lost(member: NodeId): void {
    this.#node.reportUnreachable(member);
    for (const proposal of this.#forwarded?.takeLost(member) ?? [])
      this.#settle(proposal, new HarmonyError("LEADER_CHANGED", undefined, { maybeApplied: true }));
  }

  #decline(member: NodeId, ticket: number, count: number, code: string): void {
    this.#forwarding?.answer(member, { kind: "declined", group: this.group, ticket, count, code });
  }

  /**
   * A snapshot that is durable here under the name in `record`, with all that installing it takes. If it is "restored", it
   * takes the place of the log: `recorded` is called when that is durable, and the host then gives the machine its state
   * and calls `restored`. Any other answer: nothing has changed.
   */
  restore(record: SnapshotRecord, recorded: () => void): RestoreResult {
    assert(this.#restoring === null, "one snapshot is installed at a time");
    const result = this.#node.restore(record.meta);
    if (result === "restored") this.#restoring = { record, recorded, readyNumber: 0 };
    this.#wake();
    return result;
  }

  /** The machine has the state of the snapshot. */
  restored(): void {
    assert(this.#restoring !== null, "a snapshot is being installed");
    const { index, term } = this.#restoring.record.meta;
    const { machine } = this;
    assert(
      machine.appliedIndex === index && machine.appliedTerm === term,
      "the machine has the state that the log names",
    );
    this.#restoring = null;
    this.#agreement?.reset();
    this.#remember();
    this.clock.observe(machine.clockMs, term);
    this.#node.advance(index);
    this.#wake();
  }

  /** A snapshot has taken the place of the log, and the machine has not got its state yet. */
  get isRestoring(): boolean {
    return this.#restoring !== null;
  }

  /**
   * Calls `done` once everything acknowledged before this call can be seen in the state machine. A lone voter that
   * has committed in its own term is the only source of acknowledgements, so it answers in the call
   * (architecture section 4). `bytes` are what `done` keeps in memory. Null: it has been called.
   */
  readBarrier(done: ReadDone, bytes: number = 0): PendingRead | null {
    const refusal = this.#refusal;
    if (refusal !== null) {
      done(refusal);
    } else if (this.#node.isLoneLeader && this.machine.appliedIndex >= this.#node.commit) {
      done(null);
    } else {
      this.#wake();
      return this.#reads.add(done, bytes);
    }
    return null;
  }

  /**
   * What reads shares one round. Needs no disk, so every turn may begin one, whatever is on its way. A follower asks
   * its leader, one question at a time, and asks again when the question or the answer may have been lost.
   */
  packReads(): void {
    this.#reads.pack();
  }

  /** Hands what waits to the leader, if that is another member. Needs no disk here. */
  forward(): void {
    if (this.#forwarded === null || this.#waiting.length + this.#confChanges.length === 0) return;
    const { role, leader, term } = this.#node;
    if (role === "leader") return;
    const waiting = this.#confChanges.concat(this.#waiting);
    this.#waiting = [];
    this.#confChanges = [];
    const own: Proposal<Result>[] = [];
    for (const proposal of waiting) {
      if (proposal.reply !== null && !(proposal instanceof ForeignProposal)) {
        own.push(proposal);
        continue;
      }
      this.#waitingBytes -= proposal.command.length;
      // Who handed it over finds the leader himself: nothing goes round in circles.
      this.#settle(proposal, new HarmonyError("NOT_LEADER"));
    }
    let done = 0;
    if (leader !== 0 && this.#forwarded.mayAsk(leader, term))
      done = this.#forwarded.forward(leader, own);
    for (let i = 0; i < done; i++)
      this.#waitingBytes -= (own[i] as Proposal<Result>).command.length;
    this.#waiting = own.slice(done).concat(this.#waiting);
  }

  /**
   * Packs what waits into entries. Called when the log is free for the next frame; on a full disk in every turn, since
   * what is on its way may wait for room that only the reserve of what comes behind it can give. While the lead is handed
   * over, nothing is refused either: what waits is for the next leader.
   */
  pack(): void {
    if (!this.#mayPropose || this.#node.transferee !== 0) return;
    if (this.#waiting.length > 0) this.#packCommands(this.#room.isShort);
    if (this.#confChanges.length > 0) this.#proposeConfChanges();
  }

  #packCommands(isShort: boolean): void {
    const packing = new Packing(this.#waiting, isShort);
    // Who is refused is told at the end: an answer may propose again, and that belongs to the next turn.
    this.#waiting = [];
    let room = PACK_BYTES_PER_TURN;
    let isRefused = false;
    while (room > 0 && packing.next()) {
      const { proposals, commands, bytes } = packing;
      const result = this.#node.propose(
        encodeBatch(this.clock.stampEntry(this.#node.term), commands),
      );
      if (!result.ok) {
        // Too much is uncommitted, or leadership is going.
        isRefused = true;
        break;
      }
      this.#waitingBytes -= bytes;
      room -= bytes;
      this.#isIn(result, proposals);
    }
    // What is packed now is appended, and its end begins the turn that takes the rest.
    this.#waiting = packing.rest(isRefused);
    this.#isBlocked ||= isRefused;
    this.#waitingBytes -= packing.droppedBytes;
    for (const proposal of packing.confChanges) this.#confChanges.push(proposal);
    for (const proposal of packing.refused) this.#settle(proposal, new HarmonyError("DISK_FULL"));
  }

  /**
   * Raft takes one at a time: the others wait until it is applied. What removes this leader waits until another leads, who
   * is handed it then; if that comes to nothing, it is proposed here after all.
   */
  #proposeConfChanges(): void {
    for (let next = this.#confChanges[0]; next !== undefined; next = this.#confChanges[0]) {
      const change = next.reply === null ? null : decodeConfChange(next.command);
      const refused = change === null ? "INVALID_ARGUMENT" : this.#judge(change, this.#ledTicks);
      if (refused === "NOT_YET") return;
      if (change !== null && refused === null) {
        this.#handOverBefore(change);
        const result = this.#node.proposeConfChange(change);
        if (result.ok) this.#isIn(result, [next]);
        else if (PASSING_REFUSALS.has(result.reason)) return;
        else this.#settle(next, new HarmonyError("INVALID_ARGUMENT", result.reason));
      } else if (refused !== null) this.#settle(next, new HarmonyError(refused));
      this.#confChanges.shift();
      this.#waitingBytes -= next.command.length;
    }
  }

  /** The lead goes to whoever can take it best. False: there is nobody. */
  handOver(): boolean {
    const heir = heirOf(this.#node, (voter) => !this.#room.isFull(voter));
    if (heir !== 0) this.#node.transferLeader(heir);
    return heir !== 0;
  }

  /** While it hands over Raft takes no proposals. */
  #handOverBefore(change: ConfChangeV2): void {
    const { term } = this.#node;
    const heir = this.#handedOverIn === term ? 0 : heirBefore(change, this.#node);
    if (heir === 0) return;
    this.#handedOverIn = term;
    this.#node.transferLeader(heir);
  }

  /** These stand in the entry, alone and in this order. */
  #isIn(
    entry: { readonly index: LogIndex; readonly term: number },
    proposals: Proposal<Result>[],
  ): void {
    for (const proposal of proposals) proposal.isProposed = true;
    this.#proposed.appended(entry, proposals);
    if (this.#forwarding === null) return;
    for (const { member, placed } of placements(this.group, proposals, entry))
      this.#forwarding.answer(member, placed);
  }

  /** Takes the Readys that are there. Messages that need no disk go to `send`; what the log must hold is returned. */
  collect(send: (message: Message) => void): GroupAppend | null {
    let append: Collected | null = null;
    if (this.#node.leader !== this.#leaderSeen) {
      this.#leaderSeen = this.#node.leader;
      if (this.#leaderSeen !== 0) this.#leaderChanges++;
      // It leads by itself from the first entry of its term on: `#keepTime`.
      if (this.#leaderSeen !== 0 && this.#node.role !== "leader") this.#hasKeptTime = true;
    }
    while (this.#node.hasReady()) {
      const ready = this.#node.ready();
      assert(ready.number === this.#readyTaken + 1, "Readys are numbered one by one");
      this.#readyTaken = ready.number;
      if (ready.snapshot !== undefined) {
        // Entries of an earlier Ready are not part of the log that begins with it.
        append = { entries: [], hardState: null, snapshot: this.#takeSnapshot(ready) };
      }
      for (const message of ready.messages) send(message);
      if (ready.messagesAfterPersist.length > 0) {
        this.#messagesWaiting.push({ number: ready.number, messages: ready.messagesAfterPersist });
      }
      this.#take(ready);
      if (ready.hardState !== undefined) this.#unsavedHardState = ready.hardState;
      if (ready.mustSync) {
        append ??= { entries: [], hardState: null, snapshot: null };
        append.entries = mergeEntries(append.entries, ready.entries);
      }
    }
    if (append === null) {
      this.#persistIdle(send);
      return null;
    }
    append.hardState = this.#unsavedHardState;
    this.#unsavedHardState = null;
    this.#readyWritten = this.#readyTaken;
    const { entries, hardState, snapshot } = append;
    return { group: this.group, entries, hardState, ...(snapshot === null ? {} : { snapshot }) };
  }

  /** What was committed before is part of the snapshot, applied here or not. */
  #takeSnapshot({ number, snapshot }: Ready): SnapshotRecord {
    const restoring = this.#restoring;
    assert(
      restoring !== null &&
        restoring.record.meta.index === snapshot?.index &&
        restoring.record.meta.term === snapshot.term,
      "only a snapshot that the host can install takes the place of the log",
    );
    restoring.readyNumber = number;
    this.#toApply = [];
    this.#toApplyAt = 0;
    this.#proposed.coveredBySnapshot(snapshot.index);
    return restoring.record;
  }

  /** The number to give to `settle` when what `collect` returned is durable. */
  get readyWritten(): number {
    return this.#readyWritten;
  }

  /** Term or vote differ from what VOTE holds: it is saved before `settle` is called for the Ready that says so. */
  takeVoteChange(
    hardState: HardState | null,
  ): { readonly term: number; readonly vote: number } | null {
    if (hardState === null) return null;
    if (hardState.term === this.#savedTerm && hardState.vote === this.#savedVote) return null;
    assert(hardState.term >= this.#savedTerm, "terms do not go back");
    this.#savedTerm = hardState.term;
    this.#savedVote = hardState.vote;
    return { term: hardState.term, vote: hardState.vote };
  }

  /** All Readys up to `number` are durable. */
  settle(number: number, send: (message: Message) => void): void {
    // Later Readys that had nothing to write are durable with the last one that had.
    const through = number === this.#readyWritten ? this.#readyTaken : number;
    if (through <= this.#readyPersisted) return;
    this.#readyPersisted = through;
    this.#node.persisted(through);
    let sent = 0;
    for (const waiting of this.#messagesWaiting) {
      if (waiting.number > through) break;
      for (const message of waiting.messages) send(message);
      sent++;
    }
    if (sent > 0) this.#messagesWaiting = this.#messagesWaiting.slice(sent);
    const restoring = this.#restoring;
    if (restoring === null || restoring.readyNumber === 0 || restoring.readyNumber > through)
      return;
    restoring.readyNumber = 0;
    restoring.recorded();
  }

  /** A commit that no frame has carried yet, for the last frame of a clean stop. */
  takeUnsavedHardState(): HardState | null {
    const hardState = this.#unsavedHardState;
    this.#unsavedHardState = null;
    return hardState;
  }

  /** Applies what is committed and durable, in order. True when some is left for the next turn. */
  apply(): boolean {
    if (this.#quarantined !== null) return false;
    const couldPropose = this.#mayPropose;
    let commands = APPLY_COMMANDS_PER_TURN;
    let bytes = APPLY_BYTES_PER_TURN;
    while (this.#toApplyAt < this.#toApply.length && this.#mayApply) {
      if (commands <= 0 || bytes <= 0) break;
      const entry = this.#toApply[this.#toApplyAt++] as Entry;
      commands -= this.#applyEntry(entry);
      bytes -= entry.data.length;
      this.#node.advance(entry.index);
    }
    if (this.#toApplyAt === this.#toApply.length) {
      this.#toApply = [];
      this.#toApplyAt = 0;
    }
    if (this.#mayPropose) {
      this.#keepTime();
      if (!couldPropose && this.#waiting.length > 0) this.#wake();
    }
    for (const done of this.#reads.takeDone(this.machine.appliedIndex)) this.#call(done, null);
    return this.#toApply.length > 0 && this.#mayApply;
  }

  get #mayApply(): boolean {
    return this.#stopped === null && this.#restoring === null;
  }

  /**
   * A leader whose term's own first entry is applied here. Committed is not enough: until then clock and machine may
   * not have seen the end of what earlier terms left, and a stamp below one of theirs would stop every replica.
   */
  get #mayPropose(): boolean {
    return this.#node.leadsForSure && this.machine.appliedTerm === this.#node.term;
  }

  /**
   * Where no running member kept time, all having been stopped, the first leader goes on by its wall clock: not before
   * all that earlier leaders left is applied, for only then it knows how far behind theirs the group's clock was.
   */
  #keepTime(): void {
    if (!this.#hasKeptTime) this.clock.adoptWallClock(this.machine.behindMs ?? 0);
    this.#hasKeptTime = true;
  }

  tick(): void {
    this.#reads.tick();
    this.#forwarded?.tick();
    this.#node.tick();
    this.#room.tick();
    this.#ledTicks = this.#node.role === "leader" ? this.#ledTicks + 1 : 0;
    if (this.#quarantined === null) this.#agreement?.tick(this.#node.role === "leader");
    const heir = this.#slowDisk.tick();
    if (heir !== 0) this.#peers?.diskStandsStill?.(heir);
  }

  /**
   * After a failed write, or at close: everybody who waits is answered, honestly. What is proposed may survive in the
   * log; what was not proposed never will be.
   */
  stop(error: HarmonyError): void {
    if (this.#stopped !== null) return;
    this.#stopped = withDoubt(error, false);
    this.#answerAll(error);
  }

  #answerAll(error: HarmonyError): void {
    const unknown = withDoubt(error, true);
    for (const proposal of this.#proposed.takeAll()) this.#settle(proposal, unknown);
    for (const proposal of this.#forwarded?.takeLost(null) ?? []) this.#settle(proposal, unknown);
    this.#answerWaiting(error);
  }

  /** Those of whose requests nothing has left this member. */
  #answerWaiting(error: HarmonyError): void {
    const certain = withDoubt(error, false);
    const waiting = this.#waiting.concat(this.#confChanges);
    const reads = this.#reads.takeAll();
    this.#waiting = [];
    this.#confChanges = [];
    this.#waitingBytes = 0;
    this.#isBlocked = false;
    for (const proposal of waiting) this.#settle(proposal, certain);
    for (const done of reads) this.#call(done, certain);
  }

  /** What answers have thrown since the last call: defects of those who wait, not of the replica. */
  takeDefects(): readonly unknown[] {
    if (this.#defects.length === 0) return NO_DEFECTS;
    const defects = this.#defects;
    this.#defects = [];
    return defects;
  }

  /** Nothing waits, nothing is on its way. */
  get isIdle(): boolean {
    return (
      this.#waiting.length + this.#confChanges.length === 0 &&
      this.#proposed.isEmpty &&
      this.#toApply.length === 0 &&
      this.#restoring === null &&
      (this.#forwarded?.count ?? 0) === 0
    );
  }

  #take(ready: Ready): void {
    // In quarantine what is handed out here is part of the snapshot that comes.
    if (this.#quarantined === null)
      for (const entry of ready.committedEntries) this.#toApply.push(entry);
    if (this.#isBlocked && ready.committedEntries.length > 0) {
      this.#isBlocked = false;
      this.#wake();
    }
    this.#reads.take(ready.readStates);
  }

  /** With nothing on its way to the disk, Readys without records are durable as they are. */
  #persistIdle(send: (message: Message) => void): void {
    if (this.#readyPersisted >= this.#readyWritten && this.#readyTaken > this.#readyPersisted) {
      this.#readyWritten = this.#readyTaken;
      this.settle(this.#readyTaken, send);
    }
  }

  #applyEntry(entry: Entry): number {
    assert(
      entry.index === this.machine.appliedIndex + 1,
      `unexpected committed entry index gap: ${this.machine.appliedIndex} then ${entry.index}`,
    );
    const context: ApplyContext = {
      index: entry.index,
      term: entry.term,
      clockMs: this.machine.clockMs,
    };
    if (entry.type === EntryType.confChange) {
      this.#answer(entry, this.#applyConfChange(entry, context));
      if (this.#confChanges.length > 0) this.#wake();
      return 1;
    }
    if (entry.type !== EntryType.normal || entry.data.length === 0) {
      this.machine.apply(context, []);
      this.#answer(entry, NO_RESULTS);
      return 1;
    }
    const batch = decodeBatch(entry.data);
    assert(batch.clockMs >= this.machine.clockMs, "the group's clock does not go back");
    this.clock.observe(batch.clockMs, entry.term);
    const { clockMs, behindMs } = batch;
    const results = this.machine.apply({ ...context, clockMs, behindMs }, batch.commands);
    assert(results.length === batch.commands.length, "each command has one result");
    assert(this.machine.appliedIndex === entry.index, "the machine has applied the entry");
    this.#commandsApplied += results.length;
    this.#answer(entry, results);
    return results.length;
  }

  /** Machine and Raft change at the same entry, both or none. What Raft does not take the machine is not asked about. */
  #applyConfChange(entry: Entry, context: ApplyContext): readonly Result[] {
    const { machine } = this;
    const change = decodeConfChange(entry.data);
    const isAsked =
      change !== null && !leavesJoint(change) && changeConf(this.#node.confState, change).ok;
    const verdict = isAsked ? machine.applyConfChange?.(context, change) : undefined;
    if (verdict === undefined) machine.apply(context, []);
    assert(machine.appliedIndex === entry.index, "the machine has applied the entry");
    if (verdict?.isTaken === false) this.#node.refuseConfChange(entry);
    else this.#node.applyConfChange(entry);
    return verdict === undefined ? NO_RESULTS : [verdict.result];
  }

  #remember(): void {
    const { appliedIndex, stateHash } = this.machine;
    if (stateHash !== undefined) this.#agreement?.applied(appliedIndex, stateHash);
  }

  /** Only now, when the entry is applied, its callers are let go: had apply thrown, `stop` would answer them. */
  #answer(entry: Entry, results: readonly Result[]): void {
    this.#remember();
    this.#proposed.applied(entry, results);
  }

  #settle(proposal: Proposal<Result>, error: HarmonyError | null, result?: Result): void {
    if (error !== null) this.#commandsRefused++;
    try {
      proposal.settle(error, result);
    } catch (thrown) {
      this.#defects.push(thrown);
    }
  }

  #call(done: ReadDone, error: HarmonyError | null): void {
    try {
      done(error);
    } catch (thrown) {
      this.#defects.push(thrown);
    }
  }

  invariants(): void {
    assert(this.#readyPersisted <= this.#readyTaken, "only a Ready that was taken is persisted");
    assert(this.#waitingBytes >= 0, "waiting bytes are counted both ways");
    this.#proposed.invariants(this.machine.appliedIndex);
    verify(() => this.#node.invariants());
  }
}

const NO_RESULTS: readonly never[] = Object.freeze([]);
const NO_DEFECTS: readonly unknown[] = Object.freeze([]);
