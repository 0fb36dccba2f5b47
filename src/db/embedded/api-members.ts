/** What a program sees of the members of the cluster, and how it changes them. */
import type { Call, Read } from "./api.ts";

/** A member of the cluster. */
export interface Member {
  /** Given when it was added, and never given to another. */
  readonly id: bigint;
  /** Empty until it has started for the first time. */
  readonly name: string;
  /** Where the other members call it. */
  readonly peerUrls: readonly string[];
  /** Where programs come in. Empty until it has started for the first time. */
  readonly clientUrls: readonly string[];
  /** It gets everything and has no vote. */
  readonly isLearner: boolean;
  /** It leads, as far as the one that was asked knows. */
  readonly isLeader: boolean;
}

/**
 * Who belongs to the cluster. Any member takes any change and answers when it has applied it; one is made at a time. What
 * would leave no majority that is connected is refused (CLUSTER_UNHEALTHY, MEMBERS_NOT_STARTED). A node that cannot have
 * others beside it refuses them with STAYS_ALONE: that of `open`, and one that is served without `listenPeerUrls` or
 * acknowledges before its sync.
 */
export interface Members {
  /** All there are, by id. "local": as they are known without asking anybody. */
  list(options?: Omit<Read, "rev">): Promise<readonly Member[]>;
  /**
   * Adds a member that votes, and answers with it. It is started with `serve({ join: true, ... })` on an empty directory;
   * until it runs it counts as one that is down. PEER_URL_EXISTS, MEMBER_URLS_INVALID.
   */
  add(peerUrls: readonly string[], options?: Call): Promise<Member>;
  /** As `add`, without a vote: no majority waits for it while it catches up. TOO_MANY_LEARNERS: there is one already. */
  addLearner(peerUrls: readonly string[], options?: Call): Promise<Member>;
  /** Gives a learner its vote. LEARNER_NOT_READY until it has caught up: try again. */
  promote(id: bigint, options?: Call): Promise<void>;
  /** Removes a member for good. Its node stops, and what it kept is of no use to anybody. */
  remove(id: bigint, options?: Call): Promise<void>;
  /** The others call it elsewhere from now on. */
  update(id: bigint, peerUrls: readonly string[], options?: Call): Promise<void>;
  /** A learner that has caught up takes the place of a member, in one step. LEARNER_NOT_READY as in `promote`. */
  replace(id: bigint, by: bigint, options?: Call): Promise<void>;
  /** Hands the lead to a voter and answers when it leads. TIMEOUT when it does not take over; the one before leads on. */
  moveLeader(id: bigint, options?: Call): Promise<void>;
}
