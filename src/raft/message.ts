/**
 * What replicas of one group say to each other, and the gateway that tells a message that the core may trust the
 * shape of from one that it may not.
 */
import { faultOf } from "./confchange/changer.ts";
import type { Entry, GroupId, Incarnation, LogIndex, NodeId, SnapshotMeta, Term } from "./types.ts";

/** Version of the message vocabulary. A message of another version is dropped and counted. */
export const MESSAGE_VERSION = 1;

interface Header {
  readonly group: GroupId;
  /** The sender's. */
  readonly incarnation: Incarnation;
  readonly version: number;
  readonly from: NodeId;
  readonly to: NodeId;
  /** The sender's, except in a pre-vote and its grant: there it is the term that the election would have. */
  readonly term: Term;
}

/** AppendEntries (Raft paper, figure 2): entries that follow directly on (prevIndex, prevTerm). */
export interface AppendMessage extends Header {
  readonly type: "append";
  readonly prevIndex: LogIndex;
  readonly prevTerm: Term;
  readonly entries: readonly Entry[];
  readonly commit: LogIndex;
}

/** The follower holds, durably and as the leader does, everything up to `index`. */
export interface AppendAccepted extends Header {
  readonly type: "appendResponse";
  readonly reject: false;
  readonly index: LogIndex;
}

/**
 * The follower does not hold (index, term) of the append's previous entry. `hintIndex` is the highest index at which
 * the two logs can still agree, judged by terms, and `hintTerm` the follower's term there (0 when it is not known).
 */
export interface AppendRefused extends Header {
  readonly type: "appendResponse";
  readonly reject: true;
  readonly index: LogIndex;
  readonly hintIndex: LogIndex;
  readonly hintTerm: Term;
}

/**
 * InstallSnapshot (Raft paper, figure 13): takes the place of the receiver's log up to the index of `meta`. What the
 * state machine held there travels beside the message; a host hands this in when all of that has come and is whole.
 */
export interface SnapshotMessage extends Header {
  readonly type: "snapshot";
  readonly meta: SnapshotMeta;
}

/** `commit` never exceeds what the receiver has acknowledged. `round` is the newest round of reads, 0 for none. */
export interface HeartbeatMessage extends Header {
  readonly type: "heartbeat";
  readonly commit: LogIndex;
  readonly round: number;
}

export interface HeartbeatResponse extends Header {
  readonly type: "heartbeatResponse";
  readonly round: number;
}

/** RequestVote, and its rehearsal that changes nobody's term (Raft dissertation, section 9.6). */
export interface VoteMessage extends Header {
  readonly type: "vote" | "preVote";
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** The leader asked for this election itself, so that nobody has to protect it (dissertation, 4.2.3). */
  readonly isTransfer?: boolean | undefined;
}

/**
 * Who refuses says what is committed where it stands. A candidate may hold that entry without knowing that it ends the
 * configuration in which it campaigns: then those who could tell it as leaders are no members any more, and those who
 * are members cannot win.
 */
export interface VoteResponse extends Header {
  readonly type: "voteResponse" | "preVoteResponse";
  readonly reject: boolean;
  readonly committed?: { readonly index: LogIndex; readonly term: Term } | undefined;
}

/** A follower asks the leader up to where it must have applied before it may answer reads. */
export interface ReadIndexMessage extends Header {
  readonly type: "readIndex";
  /** Drawn by the asker; no two attempts share one. */
  readonly ticket: number;
}

export interface ReadIndexResponse extends Header {
  readonly type: "readIndexResponse";
  readonly ticket: number;
  readonly index: LogIndex;
}

/** A follower was asked to hand the lead over, which only the leader can do. */
export interface TransferLeaderMessage extends Header {
  readonly type: "transferLeader";
  readonly transferee: NodeId;
}

/** The leader hands over: the receiver holds everything and campaigns at once (dissertation, section 3.10). */
export interface TimeoutNowMessage extends Header {
  readonly type: "timeoutNow";
}

export type Message =
  | AppendMessage
  | AppendAccepted
  | AppendRefused
  | SnapshotMessage
  | HeartbeatMessage
  | HeartbeatResponse
  | VoteMessage
  | VoteResponse
  | ReadIndexMessage
  | ReadIndexResponse
  | TransferLeaderMessage
  | TimeoutNowMessage;

export type MessageType = Message["type"];

/** Why a message was not taken. Each is counted; none stops the replica (fault-rules N1, N11). */
export type DropReason =
  | "wrong-group"
  | "wrong-version"
  | "wrong-recipient"
  /** The fields do not fit together. */
  | "malformed"
  /** From a life of the sender that has ended. */
  | "old-incarnation"
  | "stale-term"
  /** A vote was asked for while a leader is being heard from. */
  | "sticky-leader"
  /** An answer from somebody who takes no part. */
  | "unknown-peer"
  /** Addressed to a role that this replica no longer has, or overtaken. */
  | "not-expected"
  /** A snapshot that tells nothing new: what it covers is committed here. */
  | "stale-snapshot"
  /** A snapshot of a configuration in which this replica takes no part. */
  | "foreign-snapshot"
  /**
   * No correct replica in its first life sends it: a second leader of a term, a committed entry replaced, an answer
   * beyond the log, a commit beyond what is here. The last one says that this replica lost something.
   */
  | "contradiction"
  /** This replica takes no part until it is healed. */
  | "quarantined"
  | "too-many-reads";

/** Far above any term or index that a cluster can reach, and low enough that adding to it stays exact. */
const NUMBER_MAX = 2 ** 52;

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= NUMBER_MAX;
}

/** Nothing is ever added to an id, so it may be as large as it is exact: ids that we generate have 53 bits. */
function isMemberId(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 1;
}

/**
 * Whether the fields of a message fit together, so that no later step has to ask again: numbers are whole and in
 * range, entries follow each other and the previous entry, no entry is of a later term than its sender.
 */
export function isWellFormed(message: Message): boolean {
  if (!isCount(message.term) || message.term === 0) return false;
  if (!isMemberId(message.from) || !isCount(message.incarnation)) return false;
  switch (message.type) {
    case "append":
      return isCount(message.commit) && isSliceOf(message);
    case "appendResponse":
      if (!isCount(message.index)) return false;
      return (
        !message.reject ||
        (isCount(message.hintIndex) &&
          isCount(message.hintTerm) &&
          message.hintIndex <= message.index)
      );
    case "snapshot":
      return isSnapshot(message.meta, message.term);
    case "heartbeat":
      return isCount(message.commit) && Number.isSafeInteger(message.round);
    case "heartbeatResponse":
      return Number.isSafeInteger(message.round);
    case "vote":
    case "preVote":
      return (
        isCount(message.lastIndex) && isCount(message.lastTerm) && message.lastTerm < message.term
      );
    case "transferLeader":
      return isMemberId(message.transferee);
    case "timeoutNow":
      return true;
    case "voteResponse":
    case "preVoteResponse":
      return (
        message.committed === undefined ||
        (isCount(message.committed.index) && isCount(message.committed.term))
      );
    case "readIndex":
      return Number.isSafeInteger(message.ticket);
    case "readIndexResponse":
      return Number.isSafeInteger(message.ticket) && isCount(message.index);
    default:
      // The type says that this cannot be; a newer peer may still send it.
      return false;
  }
}

function isSnapshot({ index, term, confState }: SnapshotMeta, senderTerm: Term): boolean {
  if (!isCount(index) || index === 0) return false;
  if (!isCount(term) || term === 0 || term > senderTerm) return false;
  return confState.voters.length > 0 && faultOf(confState) === null;
}

function isSliceOf(message: AppendMessage): boolean {
  const { entries } = message;
  let index = message.prevIndex;
  let term = message.prevTerm;
  if (!isCount(index) || !isCount(term) || term > message.term) return false;
  // The place before the first entry has term 0, and no other place has.
  if ((index === 0) !== (term === 0)) return false;
  for (const entry of entries) {
    if (entry.index !== index + 1 || !isCount(entry.term)) return false;
    if (entry.term < term || entry.term === 0 || entry.term > message.term) return false;
    index = entry.index;
    term = entry.term;
  }
  return isCount(index);
}
