/** Rare paths of the cluster world: what a long run of it has to come along. */
export const CLUSTER_MARKS = {
  deposed: "a leader is deposed while writes are under way",
  noQuorum: "a leader that hears from no quorum steps down",
  oldTerm: "an entry of an old term is committed by a later one",
  conflict: "a conflict cuts the log of a follower",
  majorityReplaced: "an entry that a majority held is replaced",
  voteUnderWay: "a process ends between a vote and its answer",
  senderDead: "a message arrives after its sender has died",
  laterLife: "a message arrives in a later life of its receiver",
  preVoteRefused: "a pre-vote is refused",
  votesSplit: "two candidates split a term",
  sticky: "a vote is not even considered while a leader is heard",
  staleTerm: "a message of an old term arrives",
  overtaken: "an answer arrives that nobody waits for any more",
  outageTail: "an uncommitted tail survives the loss of all power",
  pausedElection: "an election while a node is paused",
  crashInRecovery: "a process ends in its recovery",
  failedWrite: "a failed write ends a node",
  lostForCertain: "a proposal is lost to another leader for certain",
  displaced: "a proposal is displaced and may still be applied",
  givenUp: "a client gives up what was not proposed yet",
  twoLeaders: "a read is asked of a leader that was deposed",
  followerRead: "a follower answers a read",
  durable: "the durable bytes are looked up",
  handedOver: "the lead goes to whom it was handed",
} as const;

export type ClusterMark = (typeof CLUSTER_MARKS)[keyof typeof CLUSTER_MARKS];

/** The one that is left out takes a node that leads twice with a tail in between: once in many thousand seeds. */
export const CLUSTER_RARE_PATHS: readonly string[] = Object.values(CLUSTER_MARKS).filter(
  (mark) => mark !== CLUSTER_MARKS.displaced,
);
