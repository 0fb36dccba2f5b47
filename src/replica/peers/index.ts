/**
 * Links between the members of a cluster, as state machines over `env`: who calls whom, who is taken and who is refused
 * by name, what leaves together, what is dropped when the way is slow, and how a link that is gone comes back.
 *
 * Invariants:
 * 1. Nothing is said to and nothing taken from a node that is not a member of this cluster with the directory that it
 *    was first met with, and not from two processes under one id at once.
 * 2. What waits for a member is bounded, whatever the member and the way to it do.
 * 3. On one link commands, what became of them, and entries arrive in the order in which they were said; Raft's other
 *    messages overtake them and keep an order of their own. When something may have been lost, `lost` is called before
 *    anything that is said later arrives.
 *
 * A snapshot is pulled over a call of its own (`../snapshots`), which is taken here like every other.
 *
 * Left out: encryption and proof of identity (the shell's part).
 */
export { PeerCall } from "./call.ts";
export { helloTo, judgeWelcome } from "./handshake.ts";
export { labelOf, type Member, Membership, type Self } from "./membership.ts";
export { Peers, type PeerStatus } from "./peers.ts";
