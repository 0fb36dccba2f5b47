/**
 * Who campaigns first when the hosts of a group tell their replicas that the leader is gone. They notice it in the same
 * moment, so a drawn timeout would have to be long not to split the vote; the ids of the members are known to all of them,
 * and make an order for nothing.
 */
import type { NodeId } from "./types.ts";

/** Between two turns: time for a pre-vote and the vote behind it to arrive, so that the next one is not needed. */
const TURN_TICKS = 3;

/** After how many ticks this voter campaigns, unless it has voted for somebody by then. */
export function ticksUntilTurn(
  voters: Iterable<NodeId>,
  { self, gone }: { readonly self: NodeId; readonly gone: NodeId },
): number {
  let before = 0;
  for (const id of voters) if (id !== gone && id < self) before++;
  return 1 + before * TURN_TICKS;
}
