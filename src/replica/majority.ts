/** Whether some of the voters are a majority, while a configuration changes of the old ones and of the new ones. */
import type { ConfState, NodeId } from "../raft/index.ts";

export function isMajority(
  { voters, votersOutgoing }: ConfState,
  isOne: (voter: NodeId) => boolean,
): boolean {
  const isMajorityOf = (of: readonly NodeId[]): boolean => 2 * of.filter(isOne).length > of.length;
  return isMajorityOf(voters) && (votersOutgoing.length === 0 || isMajorityOf(votersOutgoing));
}
