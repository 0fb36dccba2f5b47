/**
 * The messages that a replica leaves behind, and the one place that decides when each kind may leave. What promises
 * that something will still be known after a crash waits for the disk; everything else goes at once (the contract of
 * a Ready, 3 and 4, in index.ts).
 */
import { assert } from "../base/index.ts";
import { type Message, MESSAGE_VERSION } from "./message.ts";
import type { Place } from "./raft-log.ts";
import type { Entry, GroupId, Incarnation, LogIndex, NodeId, SnapshotMeta, Term } from "./types.ts";

interface Header {
  readonly group: GroupId;
  readonly incarnation: Incarnation;
  readonly version: number;
  readonly from: NodeId;
  readonly to: NodeId;
  readonly term: Term;
}

const NO_MESSAGES: readonly Message[] = Object.freeze([]);

export class Outbox {
  readonly #group: GroupId;
  readonly #id: NodeId;
  #incarnation: Incarnation;
  #atOnce: Message[] = [];
  #afterPersist: Message[] = [];

  constructor(group: GroupId, id: NodeId, incarnation: Incarnation) {
    this.#group = group;
    this.#id = id;
    this.#incarnation = incarnation;
  }

  /** What is said from now on is of a new life. */
  beginIncarnation(incarnation: Incarnation): void {
    assert(incarnation > this.#incarnation, "a new life comes after the one before");
    this.#incarnation = incarnation;
  }

  get isEmpty(): boolean {
    return this.#atOnce.length === 0 && this.#afterPersist.length === 0;
  }

  takeAtOnce(): readonly Message[] {
    if (this.#atOnce.length === 0) return NO_MESSAGES;
    const taken = this.#atOnce;
    this.#atOnce = [];
    return taken;
  }

  takeAfterPersist(): readonly Message[] {
    if (this.#afterPersist.length === 0) return NO_MESSAGES;
    const taken = this.#afterPersist;
    this.#afterPersist = [];
    return taken;
  }

  // ---- at once ----

  /** The leader's own copy counts only when it is durable, so the others need not wait for it. */
  append(
    to: NodeId,
    term: Term,
    prevIndex: LogIndex,
    prevTerm: Term,
    entries: readonly Entry[],
    commit: LogIndex,
  ): void {
    const header = this.#header(to, term);
    this.#atOnce.push({ type: "append", ...header, prevIndex, prevTerm, entries, commit });
  }

  /** What it covers is applied, hence committed: nothing depends on this disk. */
  snapshot(to: NodeId, term: Term, meta: SnapshotMeta): void {
    this.#atOnce.push({ type: "snapshot", ...this.#header(to, term), meta });
  }

  heartbeat(to: NodeId, term: Term, commit: LogIndex, round: number): void {
    this.#atOnce.push({ type: "heartbeat", ...this.#header(to, term), commit, round });
  }

  /** Says that the replica is there and in this term now, which is all that CheckQuorum and reads rely on. */
  answerHeartbeat(to: NodeId, term: Term, round: number): void {
    this.#atOnce.push({ type: "heartbeatResponse", ...this.#header(to, term), round });
  }

  /** A rehearsal promises nothing, and neither does its answer. */
  askForPreVote(to: NodeId, term: Term, lastIndex: LogIndex, lastTerm: Term): void {
    this.#atOnce.push({ type: "preVote", ...this.#header(to, term), lastIndex, lastTerm });
  }

  answerPreVote(to: NodeId, term: Term, committed: Place | null): void {
    const header = this.#header(to, term);
    this.#atOnce.push({ type: "preVoteResponse", ...header, ...answerOf(committed) });
  }

  askForReadIndex(to: NodeId, term: Term, ticket: number): void {
    this.#atOnce.push({ type: "readIndex", ...this.#header(to, term), ticket });
  }

  answerReadIndex(to: NodeId, term: Term, ticket: number, index: LogIndex): void {
    this.#atOnce.push({ type: "readIndexResponse", ...this.#header(to, term), ticket, index });
  }

  askForTransfer(to: NodeId, term: Term, transferee: NodeId): void {
    this.#atOnce.push({ type: "transferLeader", ...this.#header(to, term), transferee });
  }

  timeoutNow(to: NodeId, term: Term): void {
    this.#atOnce.push({ type: "timeoutNow", ...this.#header(to, term) });
  }

  // ---- when what they rely on is durable ----

  /** Asking for votes in a term is voting for oneself in it. */
  askForVote(
    to: NodeId,
    term: Term,
    lastIndex: LogIndex,
    lastTerm: Term,
    isTransfer: boolean,
  ): void {
    const header = this.#header(to, term);
    const transfer = isTransfer ? { isTransfer } : {};
    this.#afterPersist.push({ type: "vote", ...header, lastIndex, lastTerm, ...transfer });
  }

  answerVote(to: NodeId, term: Term, committed: Place | null): void {
    const header = this.#header(to, term);
    this.#afterPersist.push({ type: "voteResponse", ...header, ...answerOf(committed) });
  }

  acceptAppend(to: NodeId, term: Term, index: LogIndex): void {
    const header = this.#header(to, term);
    this.#afterPersist.push({ type: "appendResponse", ...header, reject: false, index });
  }

  refuseAppend(to: NodeId, term: Term, index: LogIndex, hintIndex: LogIndex, hintTerm: Term): void {
    const header = this.#header(to, term);
    this.#afterPersist.push({
      type: "appendResponse",
      ...header,
      reject: true,
      index,
      hintIndex,
      hintTerm,
    });
  }

  #header(to: NodeId, term: Term): Header {
    return {
      group: this.#group,
      incarnation: this.#incarnation,
      version: MESSAGE_VERSION,
      from: this.#id,
      to,
      term,
    };
  }
}

/** Who refuses its vote says what is committed; null grants it. */
function answerOf(committed: Place | null): { reject: boolean; committed?: Place } {
  if (committed === null) return { reject: false };
  return committed.index === 0 ? { reject: true } : { reject: true, committed };
}
