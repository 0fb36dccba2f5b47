/** Rare paths of the members world: what a long run of it has to come along. */
export const MEMBERS_MARKS = {
  forwarded: "a member hands a command to the leader",
  declined: "a leader declines what it was handed",
  lostWithLeader: "a leader ends while it is handed commands",
  followerRead: "a member that does not lead answers a linearizable read",
  staleRead: "a read of what a member has is behind what was acknowledged",
  staleLeader: "a read is asked of a leader that was deposed",
  certainlyLost: "a write is lost to another leader for certain",
  doubtful: "a write has an outcome that nobody knows",
  crashInRecovery: "a member's process ends in its recovery",
  failedWrite: "a failed write ends a member",
  diskFull: "a member's disk is full and writes are refused",
  handedOver: "a leader that is stopped hands over",
  duplicate: "a member is refused because its process of before is not given up yet",
  reset: "a link breaks while something is on its way",
  pulled: "a member pulls a snapshot",
  pullRefused: "a pull of a snapshot comes to nothing",
  installed: "a snapshot takes the place of what a member has",
  removed: "a member is removed",
  removedLearns: "a member that was removed learns it and stops",
  learner: "a learner is added",
  changeRefused: "a change of members is refused because it would cost the majority",
  moved: "the lead goes to whom it was moved",
  durable: "the durable bytes of a majority are looked up",
  promise: "the durable bytes are compared with what was promised",
  lockEnded: "a lock ends by itself",
  fenced: "a lock is taken by another owner after its end",
  caughtUp: "a member that was away for long has caught up",
  outage: "all members start again from nothing but their disks",
} as const;

export type MembersMark = (typeof MEMBERS_MARKS)[keyof typeof MEMBERS_MARKS];

export const MEMBERS_RARE_PATHS: readonly string[] = Object.values(MEMBERS_MARKS);
