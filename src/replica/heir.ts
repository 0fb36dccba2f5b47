/**
 * Who leads when a leader is asked to remove itself. It hands the lead over before it proposes that, and the next leader
 * proposes it: nobody waits for an election timeout, as everybody would after a leader that is no member any more.
 *
 * Not so where somebody takes its place in the same change: the next leader would have to hear first how far that learner
 * is, and the change would wait for that.
 */
import type { ConfChangeV2, NodeId, RawNode } from "../raft/index.ts";

/** The voter that is to take over first; 0 when the leader proposes the change itself. */
export function heirBefore({ changes }: ConfChangeV2, leader: RawNode): NodeId {
  const removed = new Set(changes.map(({ nodeId }) => nodeId));
  if (!removed.has(leader.id) || changes.some(({ type }) => type !== "removeNode")) return 0;
  const { progress } = leader.status();
  const [best] = progress
    .filter(({ id, isLearner, recentActive }) => !isLearner && recentActive && !removed.has(id))
    .toSorted((a, b) => b.match - a.match);
  return best?.id ?? 0;
}
