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
 *         write r.entries, then r.hardState
 *         apply r.committedEntries, advance(index)
 *     when the writes of all Readys up to n are durable:
 *         persisted(n)
 *         send the messagesAfterPersist of the Readys up to n, in order
 *
 * The contract of a Ready:
 *
 *  1. Readys are written in the order of their numbers. Within one, entries come before the HardState that may commit
 *     them, or both are one atomic write.
 *  2. Writing an entry discards every stored entry at and after its index.
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
 *     `advance(i)` says that they are applied up to i.
 *  8. A read is answered when its ReadState has come and `index` is applied here.
 *  9. After a crash: give back the log, the last durable HardState, and what the state machine holds as
 *     `appliedIndex`; entries after it are handed out again once they are known to be committed.
 *
 * What holds at all times, for every mix of crashes and lost messages: one leader at most in a term; a leader only
 * appends; logs that agree on an entry's index and term agree on everything before; a committed entry is in the log of
 * every later leader; no two replicas apply different entries at one index (figure 3 of the paper).
 *
 * Here are: elections with pre-vote, CheckQuorum and stickiness to a leader that is heard from; replication with a
 * window by messages and bytes, and back-off by terms; ReadIndex for leaders and followers; majority and joint
 * quorums; learners as members that do not vote. Left for later, and added without replacing anything: configuration
 * changes (a proposal of one is refused as `conf-change-unsupported`), snapshots over the wire (a member that
 * lacks compacted entries shows `needsSnapshot` and waits), leadership transfer, promotion of learners, reads by lease.
 *
 * Read raft.ts first; unstable.ts is where contract 6 is kept.
 */
export {
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
export type { Ready } from "./ready.ts";
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
