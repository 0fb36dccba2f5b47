/** The database as the doors see it: one group, driven by callbacks. The shells make promises of it. */
import type { HarmonyError } from "../base/index.ts";
import type {
  AnyWriteRequest,
  LeaseStatus,
  MemberRequest,
  Outcome,
  RangeRequest,
  RangeResponse,
  Refusal,
  RequestId,
} from "./requests.ts";
import type { Watch, WatchRequest } from "./watch/index.ts";

/** `error` null: `value` is the outcome, which may be a Refusal. Otherwise see `maybeApplied` of the error. */
export type Reply<T> = (error: HarmonyError | null, value: T) => void;

/** Cancelled calls are dropped before they are proposed; afterwards their result is ignored. */
export interface CallOptions {
  /** Milliseconds from now; the answer is then TIMEOUT. Undefined: the node's request timeout. */
  readonly timeoutMs?: number | undefined;
  /** Milliseconds after which it is TIMEOUT if it has certainly not begun: for who has somebody else to ask. */
  readonly patienceMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Of a write: it happens once, however often it is sent. Not for sessions themselves; reads take no notice of it. */
  readonly requestId?: RequestId | undefined;
}

/** When a write is acknowledged. */
export interface Durability {
  /** "sync": after its sync. "interval": before it, by choice. "memory": nothing is kept beyond the process. */
  readonly mode: "sync" | "interval" | "memory";
  /** How long after a write the sync begins that covers it; 0 unless the mode is "interval". */
  readonly fsyncIntervalMs: number;
}

/** A member of the cluster as this one knows it. */
export interface MemberInfo {
  readonly id: bigint;
  /** Empty until it has started for the first time. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  /** Empty until it has started for the first time. */
  readonly clientUrls: readonly string[];
  readonly isLearner: boolean;
}

/** A change of the members is made. */
export interface MembersChanged {
  readonly kind: "members";
  readonly revision: number;
  /** The one that was added; null for other changes. */
  readonly added: MemberInfo | null;
  /** All there are now, by id. */
  readonly members: readonly MemberInfo[];
}

export type AlarmName = "NOSPACE" | "CORRUPT";

/** An alarm and the member that it is about; 0 when nobody knows which. */
export interface MemberAlarm {
  readonly memberId: bigint;
  readonly alarm: AlarmName;
}

export interface DatabaseStatus {
  readonly clusterId: bigint;
  readonly memberId: bigint;
  readonly name: string;
  readonly clientUrls: readonly string[];
  readonly peerUrls: readonly string[];
  /** By id. */
  readonly members: readonly MemberInfo[];
  /** This member gets everything and has no vote. */
  readonly isLearner: boolean;
  /** 0 when nobody is known. */
  readonly leader: bigint;
  readonly raftTerm: number;
  /** Of the newest entry in this member's log, committed or not. */
  readonly raftIndex: number;
  /** What this member knows to be committed. */
  readonly raftCommitIndex: number;
  readonly raftAppliedIndex: number;
  readonly revision: number;
  readonly compactRevision: number;
  readonly sizeBytes: number;
  readonly sizeInUseBytes: number;
  readonly quotaBytes: number;
  readonly durability: Durability;
  /** What is wrong with this member now. */
  readonly alarms: readonly AlarmName[];
  /** Of all members: raised and not cleared, or true of this one now. */
  readonly raised: readonly MemberAlarm[];
  /** Why this member takes no part, until the others have healed it; null: it does. */
  readonly quarantine: string | null;
  /** Why others are to be asked for writes and linearizable reads, for the time being; null: this member takes them. */
  readonly aside: string | null;
  /** Reasons for concern, in etcd's words where it has them: "etcdserver: no leader", alarms. */
  readonly errors: readonly string[];
}

export interface Database {
  /**
   * Validates, proposes, and replies once with what apply said. A transaction without writes is answered as a read:
   * linearizable unless all its ranges are serializable.
   */
  write(request: AnyWriteRequest, options: CallOptions, reply: Reply<Outcome>): void;
  /** Linearizable unless `request.serializable`. */
  range(request: RangeRequest, options: CallOptions, reply: Reply<RangeResponse | Refusal>): void;
  leaseStatus(id: bigint, withKeys: boolean, options: CallOptions, reply: Reply<LeaseStatus>): void;
  leases(options: CallOptions, reply: Reply<readonly bigint[]>): void;
  /**
   * What changes, from a revision on. `news` is called, in a turn of its own and once until something is taken, when
   * there is something to take; also when the watch cannot be or has ended, which is then what is taken.
   */
  watch(request: WatchRequest, news: () => void): Watch;
  /** Through whichever member: answered when it is applied here. */
  changeMembers(
    request: MemberRequest,
    options: CallOptions,
    reply: Reply<MembersChanged | Refusal>,
  ): void;
  /** Hands the lead to a voter, through whichever member. `error` null: that one leads now. */
  moveLeader(target: bigint, options: CallOptions, reply: Reply<undefined>): void;
  /** Raises an alarm, for all members to see, or clears it. */
  alarm(alarm: MemberAlarm, isRaised: boolean, options: CallOptions, reply: Reply<null>): void;
  /** For response headers; costs nothing. */
  readonly header: {
    readonly clusterId: bigint;
    readonly memberId: bigint;
    readonly raftTerm: number;
    readonly revision: number;
  };
  status(): DatabaseStatus;
}
