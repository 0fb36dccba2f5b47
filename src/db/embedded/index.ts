/**
 * The door for programs in the same process: promises and async iterables over the callbacks of the database.
 *
 * `EmbeddedDatabase` is what `open` gives. A `Link` carries requests to the node and pins states for those who read
 * page by page; a `Space` says where a store's keys stand and what its values are; on these two stand the store, its
 * scopes, snapshots, batches, transactions and locks, each in a file of its own.
 *
 * Invariants:
 * 1. What a caller hands in is read at the call and checked: a wrong value or an unknown option is INVALID_ARGUMENT and
 *    never reaches the node. Bytes that a caller changes afterwards change nothing, and what is given belongs to him.
 * 2. Nothing of a caller runs within a turn of the node: not his codecs, nor what follows a promise, nor an iterator's
 *    body. What he throws rejects his own call.
 * 3. An error says by `maybeApplied` whether a write may have happened.
 * 4. A pinned state is let go of when its reader ends, leaves, or takes longer than `pinTimeoutMs`, and the oldest when
 *    all of them keep more than `pinBytesMax`; the next read of it then says so. After the end of the database nothing is pinned and nobody waits.
 *
 * Left out: elections among programs, and users.
 * Papers: conventions.md, the TypeScript API; requirements S4.
 */
export type {
  Batch,
  Call,
  Codec,
  Condition,
  CounterOptions,
  Done,
  Entry,
  Key,
  Lock,
  LockOptions,
  Range,
  Read,
  Reader,
  Repeatable,
  Scan,
  ScopeOptions,
  Snapshot,
  Store,
  TransactOptions,
  Tx,
  TxItem,
  Txn,
  TxnAnswer,
  TxnCompare,
  TxnOp,
  TxnResult,
  Value,
  Write,
} from "./api.ts";
export type {
  Admin,
  Backup,
  DatabaseEvents,
  DatabaseReport,
  HarmonyDB,
  Lease,
  Message,
  Session,
  Settings,
  SubscribeOptions,
  Subscription,
} from "./api-database.ts";
export type { Member, Members } from "./api-members.ts";
export {
  CompactedError,
  type WatchBatch,
  type Watching,
  type WatchEvent,
  type WatchOptions,
} from "./api-watch.ts";
export { LinkedAdmin } from "./admin.ts";
export { codecs } from "./codecs.ts";
export { type DatabaseParts, EmbeddedDatabase, LinkedDatabase } from "./embedded-database.ts";
export {
  type Aborter,
  type DoorHost,
  Link,
  type MembersSeen,
  type Opened,
  outcomeError,
  type OutcomeOf,
} from "./link.ts";
export type { Host } from "./node-link.ts";
export type { Page, Rest, State } from "./state.ts";
