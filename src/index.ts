/**
 * HarmonyDB, the package's front door.
 *
 *     import { open } from "harmonydb";
 *     await using db = await open("./data");
 *     await db.put("greeting", "hello");
 *
 * @packageDocumentation
 */
import { EmbeddedDatabase, type HarmonyDB } from "./db/embedded/index.ts";
import { startNode } from "./db/index.ts";
import {
  assertOptions,
  hostOf,
  logOf,
  nodeParts,
  OPEN_NAMES,
  type OpenOptions,
} from "./options.ts";
import { nodeEnv } from "./platform/index.ts";

export { type ErrorCode, HarmonyError } from "./base/index.ts";
export type { LogLevel, LogSink } from "./env/index.ts";
export { codecs, CompactedError } from "./db/embedded/index.ts";
export type {
  Admin,
  Backup,
  Batch,
  Call,
  Codec,
  Condition,
  CounterOptions,
  DatabaseEvents,
  DatabaseReport,
  Done,
  Entry,
  HarmonyDB,
  Key,
  Lease,
  Lock,
  LockOptions,
  Member,
  Members,
  Message,
  Range,
  Read,
  Reader,
  Repeatable,
  Scan,
  ScopeOptions,
  Session,
  Settings,
  Snapshot,
  Store,
  SubscribeOptions,
  Subscription,
  TransactOptions,
  Tx,
  TxItem,
  Txn,
  TxnAnswer,
  TxnCompare,
  TxnOp,
  TxnResult,
  Value,
  WatchBatch,
  WatchEvent,
  Watching,
  WatchOptions,
  Write,
} from "./db/embedded/index.ts";
export type { CheckpointTriggers, Durability, RetentionSettings } from "./db/index.ts";
export { connect, type ConnectOptions } from "./connect.ts";
export type { OpenOptions } from "./options.ts";
export { type InitialMember, serve, type ServedDB, type ServeOptions } from "./serve.ts";

/**
 * Opens the database in `directory`, which is created when it is missing. One opening at a time, in this process or
 * another: the next one gets DIRECTORY_LOCKED. Rejects with CORRUPT when data that was proven durable is damaged, naming
 * file and offset; with INVALID_ARGUMENT for an option that is unknown or wrong. ":memory:" opens a new database that
 * stays in memory and is gone when it closes.
 */
export async function open(directory: string, options: OpenOptions = {}): Promise<HarmonyDB> {
  assertOptions(options, OPEN_NAMES);
  const { node, door } = nodeParts(directory, options);
  const env = nodeEnv({ log: logOf(options) });
  return new EmbeddedDatabase(await startNode(env, node), { ...hostOf(env), ...door });
}
