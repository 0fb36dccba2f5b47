/**
 * L6, the Ready loop: one group on this node (`Replica`), and the host that runs all groups of a node in turns
 * (`ReplicaHost`). It joins Raft, the WAL and a state machine, and knows nothing of keys.
 *
 * The life of a command here: `propose` queues it; the next turn in which the log is free packs what waits into one
 * entry, stamped with the group's clock; Raft turns it into a Ready; the records of all groups' Readys become one
 * durable WAL append; when it returns, the Readys are persisted, Raft commits (a lone voter by its own vote alone),
 * and the entry is applied and answered. A lone voter takes this very path: nothing bypasses Raft.
 *
 * Invariants:
 * 1. An answer never precedes the append of the frame that holds its entry (requirements C2, C13), which returns when it
 *    is synced. Where a lone voter chose the interval mode it returns earlier, but never for a term or a vote.
 * 2. Messages that depend on a Ready leave after it and all before it are durable (fault-rules, Raft contract).
 * 3. Entries are applied in the order of the log, each once, without a gap (S0-07).
 * 4. After a failed write nothing is acknowledged any more and nothing is retried (D9, C24).
 * 5. Whatever is thrown in a turn or a tick ends the node through `onFatal`, never the process that it lives in, and
 *    whoever still waits is told what is known of his command.
 *
 * With other members (`peers/`, `forwarding.ts`) any of them takes a command: the leader is handed the command and says
 * in which entry it stands, and the answer comes from the machine of the member that was asked.
 *
 * A member that the log no longer reaches pulls a snapshot (`snapshots/`), which takes the place of its log in one frame;
 * giving the machine the state of it is the part of whoever owns the machine.
 */
export type { Verdict } from "./agreement.ts";
export type { Forwarding } from "./forwarding.ts";
export { GroupClock } from "./group-clock.ts";
export { ReplicaHost, type ReplicaHostConfig } from "./host.ts";
export {
  helloTo,
  judgeWelcome,
  labelOf,
  type Member,
  Membership,
  PeerCall,
  Peers,
  type PeerStatus,
  type Self,
} from "./peers/index.ts";
export { Proposal, type ProposeReply } from "./proposal.ts";
export { Replica } from "./replica.ts";
export type { ReplicaConfig, ReplicaPeers } from "./replica-config.ts";
export {
  isPulled,
  type OpenSnapshot,
  type PartialSnapshot,
  type PulledSnapshot,
  SnapshotPull,
  SnapshotServer,
  type SnapshotServerStats,
  type SnapshotSource,
} from "./snapshots/index.ts";
export type { ApplyContext, ConfChangeVerdict, StateMachine } from "./state-machine.ts";
