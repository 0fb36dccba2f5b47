/** What the core gives back: plain data that a transcript can show. */
import type { ConfChangeError } from "./confchange/changer.ts";
import type { Message } from "./message.ts";
import type { Entry, HardState, LogIndex, NodeId, SnapshotMeta, Term } from "./types.ts";

export type Role = "follower" | "preCandidate" | "candidate" | "leader";

/** It wants to lead, and asks the members of the configuration that is in force for it. */
export function campaigns(role: Role): boolean {
  return role === "preCandidate" || role === "candidate";
}

/** What changes without having to be remembered. */
export interface SoftState {
  /** 0 when nobody is known. */
  readonly leader: NodeId;
  readonly role: Role;
}

/** A read that may be answered as soon as `index` is applied here. `context` is the host's. */
export interface ReadState {
  readonly context: number;
  readonly index: LogIndex;
}

/** Everything that the host has to do now. The order in which it may do so is in the chapter (index.ts). */
export interface Ready {
  /** Grows by one with each Ready. */
  readonly number: number;
  /** If leader or role changed since the last Ready. */
  readonly softState?: SoftState | undefined;
  /** If it changed since the last Ready. */
  readonly hardState?: HardState | undefined;
  /** A leader's snapshot takes the place of log and state. To be saved before everything else of this Ready. */
  readonly snapshot?: SnapshotMeta | undefined;
  /** To be appended to the log. The first one discards everything at and after its index. */
  readonly entries: readonly Entry[];
  /** These may leave at once. */
  readonly messages: readonly Message[];
  /** These may leave when this Ready and all before it are durable. */
  readonly messagesAfterPersist: readonly Message[];
  /** Committed and durable here: to be applied in order, each once. */
  readonly committedEntries: readonly Entry[];
  /** Reads that may be answered once their index is applied. */
  readonly readStates: readonly ReadState[];
  /** False when nothing but the commit changed, which is found out again after a crash. */
  readonly mustSync: boolean;
}

/** What became of a proposal. `leader` is whom to ask instead, 0 when nobody is known. */
export type ProposeResult =
  | { readonly ok: true; readonly index: LogIndex; readonly term: Term }
  | {
      readonly ok: false;
      readonly reason: ProposeRefusal;
      readonly leader: NodeId;
    };

export type ProposeRefusal =
  | "no-leader"
  | "not-leader"
  /** Too much is not committed yet. */
  | "uncommitted-full"
  /** The lead is being handed over. Whatever comes now would only delay that. */
  | "transferring"
  /** A configuration change, or the first entry of this leader's term, is not applied here yet. */
  | "conf-change-pending"
  | ConfChangeError;

/** What became of a snapshot that the host can install. */
export type RestoreResult =
  /** It takes the place of log and state: a Ready says so. */
  | "restored"
  /** The log holds what it covers, which counts as committed now. Nothing is to be installed. */
  | "held"
  /** What it covers is committed here. */
  | "stale"
  /** This replica is not part of its configuration, or leads and does not hold what it covers. */
  | "foreign";

/** What became of the wish that another member lead. */
export type TransferResult =
  /** It will be told to campaign as soon as it holds everything, unless that takes an election timeout. */
  | "started"
  /** The leader was asked to. */
  | "forwarded"
  | "leads-already"
  /** A learner, an outgoing voter, or somebody unknown. */
  | "not-a-voter"
  | "no-leader";
