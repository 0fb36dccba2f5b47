/**
 * L2, consensus: how the replicas of one group agree on one log although each of them may stop, forget what it had
 * not synced, and lose, repeat and reorder messages. Ongaro and Ousterhout, "In Search of an Understandable Consensus
 * Algorithm" (the paper), and Ongaro's dissertation.
 *
 * `RawNode` is a pure, synchronous function from inputs to data. Time is `tick()`, chance is a seed, the disk is
 * `LogStorage` and `Ready`, the network is `step()` and `Ready.messages`. It does no I/O, so the simulator decides
 * everything that happens to it.
 *
 * The host's loop:
 *
 *     tick, step, propose, readIndex ...           inputs of one turn
 *     while hasReady:  r = ready()                 outputs; several may be on their way to the disk
 *         send r.messages
 *         write r.snapshot, r.entries, then r.hardState
 *         apply r.committedEntries, those of type confChange with applyConfChange, advance(index)
 *     when the writes of all Readys up to n are durable:
 *         persisted(n)
 *         send the messagesAfterPersist of the Readys up to n, in order
 *         if there was a snapshot: put its state in the place of the machine's, advance(snapshot.index)
 *
 * The contract of a Ready:
 *
 *  1. Readys are written in the order of their numbers. Within one, the snapshot is saved before the entries and the
 *     HardState that follow it, and entries come before the HardState that may commit them, or all are one atomic write.
 *  2. Writing an entry discards every stored entry at and after its index. A snapshot discards the whole log; its
 *     payload, the configuration in it included, is durable before the log is reset.
 *  3. `messages` may leave at once, before anything of this Ready is durable: appends and heartbeats of a leader, which
 *     promise nothing about its own disk (dissertation, 10.2.1), and answers to heartbeats and pre-votes, which promise
 *     nothing about anybody's, so that a slow disk does not depose a leader.
 *  4. `messagesAfterPersist` leave only when this Ready and all before it are durable: an append answer says "I will
 *     still hold it after a crash", a vote or a request for one says "I will vote for nobody else in this term".
 *  5. If `mustSync`, durable means synced. Otherwise only the commit changed, which may be lost: such a Ready counts
 *     as durable as soon as all before it are.
 *  6. `persisted(n)` says that all Readys up to n are durable and that the storage returns their entries. An entry is
 *     stable when the last Ready that wrote its index is, and never because an entry of that index and term was
 *     written once. From here on, and not before, the replica's own copy counts towards commit and its own vote
 *     towards its election; a lone voter commits here.
 *  7. `committedEntries` are committed and stable here. They come in order, each once, and may be applied at once.
 *     `advance(i)` says that they are applied up to i. A snapshot takes the place of everything at and before its
 *     index: what was handed out before and is not applied yet is forgotten, and advance skips to its index.
 *  8. A read is answered when its ReadState has come and `index` is applied here.
 *  9. After a crash: give back the log, the last durable HardState, and what the state machine holds as
 *     `appliedIndex`, with the configuration there; entries after it are handed out again once they are known to be
 *     committed.
 * 10. A configuration is in force from `applyConfChange` on. Each committed entry of type confChange is given to it, or
 *     to `refuseConfChange`, in order and before `advance` reaches it. Whether a host refuses depends on the entry and
 *     on what it has applied alone, so that all replicas decide alike.
 * 11. A message of type `snapshot` announces what the host sends beside it: the state at exactly its index. The
 *     receiver's host steps it when all of that is there and whole; the sender's host reports what became of it.
 *
 * What holds at all times, for every mix of crashes and lost messages: one leader at most in a term; a leader only
 * appends; logs that agree on an entry's index and term agree on everything before; a committed entry is in the log of
 * every later leader; no two replicas apply different entries at one index (figure 3 of the paper).
 *
 * Here are: elections with pre-vote, CheckQuorum and stickiness to a leader that is heard from; replication with a
 * window by messages and bytes, back-off by terms, and snapshots where the log no longer reaches; ReadIndex for leaders
 * and followers; simple and joint changes of the configuration, learners, removal of the leader (confchange/); handing
 * over the lead; and, off by default, reads by lease (lease.ts), for a host whose ticks are as good as a clock. Whether a
 * learner has caught up, and whether a change would cost the quorum, is for the host to judge by `status()`.
 *
 * Read raft.ts first; unstable.ts is where contract 6 is kept.
 */
export {
  changeConf,
  type ConfChangeError,
  type ConfChangeOutcome,
  isMemberOf,
  membersOf,
} from "./confchange/changer.ts";
export {
  type ConfChangeSingle,
  type ConfChangeTransition,
  type ConfChangeType,
  type ConfChangeV2,
  decodeConfChange,
  encodeConfChange,
  leavesJoint,
  LEAVE_JOINT,
} from "./confchange/conf-change.ts";
export {
  describeConfState,
  describeEntries,
  describeEntry,
  describeHardState,
  describeMessage,
  describeReady,
  describeStatus,
} from "./describe.ts";
export { MemoryStorage } from "./memory-storage.ts";
export { type Message, MESSAGE_VERSION, type MessageType } from "./message.ts";
export { RawNode } from "./raw-node.ts";
export type {
  ProposeRefusal,
  ProposeResult,
  Ready,
  RestoreResult,
  TransferResult,
} from "./ready.ts";
export {
  type ConfState,
  EMPTY_HARD_STATE,
  type Entry,
  EntryType,
  type GroupId,
  type HardState,
  type Incarnation,
  type LogIndex,
  type LogStorage,
  type NodeId,
  type SnapshotMeta,
  type Term,
} from "./types.ts";
