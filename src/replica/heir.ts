/**
 * Who leads next where a leader hands the lead over: of those who may, the voter that has answered lately and holds most.
 *
 * A leader that is asked to remove itself hands over before it proposes that, and the next leader proposes it: nobody waits
 * for an election timeout, as everybody would after a leader that is no member any more. Not so where somebody takes its
 * place in the same change: the next leader would have to hear first how far that learner is, and the change would wait for
 * that.
 */
import type { ConfChangeV2, NodeId, RawNode } from "../raft/index.ts";

/** What is asked of a replica about its lead. */
export type LeadableNode = Pick<
  RawNode,
  "id" | "role" | "confState" | "transferee" | "status" | "transferLeader"
>;

type Candidate = ReturnType<RawNode["status"]>["progress"][number];

/** The voter that is to take over first; 0 when the leader proposes the change itself. */
export function heirBefore({ changes }: ConfChangeV2, leader: LeadableNode): NodeId {
  const removed = new Set(changes.map(({ nodeId }) => nodeId));
  if (!removed.has(leader.id) || changes.some(({ type }) => type !== "removeNode")) return 0;
  return heirAmong(leader, ({ id }) => !removed.has(id));
}

/** For a leader whose disk is full: nobody is asked who is behind, for meanwhile nothing can be written. 0: nobody may. */
export function heirWithRoom(leader: LeadableNode, hasRoom: (voter: NodeId) => boolean): NodeId {
  return heirAmong(leader, ({ id, state }) => state === "replicate" && hasRoom(id));
}

/** For a leader that stops: rather one that has room. 0: there is nobody else. */
export function heirOf(leader: LeadableNode, hasRoom: (voter: NodeId) => boolean): NodeId {
  const heir = heirAmong(leader, ({ id }) => hasRoom(id));
  return heir === 0 ? heirAmong(leader, () => true) : heir;
}

/** 0: nobody may. */
export function heirAmong(leader: LeadableNode, may: (voter: Candidate) => boolean): NodeId {
  const { progress, confState } = leader.status();
  const [best] = progress
    .filter(
      (of) =>
        of.id !== leader.id &&
        !of.isLearner &&
        of.recentActive &&
        confState.voters.includes(of.id) &&
        may(of),
    )
    .toSorted((a, b) => b.match - a.match);
  return best?.id ?? 0;
}
