/**
 * HarmonyDB, the package's front door.
 *
 *     import { open } from "harmonydb";
 *     await using db = await open("./data");
 *     await db.put("greeting", "hello");
 *
 * @packageDocumentation
 */
import type { LogSink } from "./env/index.ts";
import { HarmonyDB, type NodeOptions, startNode } from "./db/index.ts";
import { nodeEnv } from "./platform/index.ts";

export { type ErrorCode, HarmonyError } from "./base/index.ts";
export type { LogLevel, LogSink } from "./env/index.ts";
export type {
  Call,
  CheckpointTriggers,
  Done,
  Entry,
  Key,
  Range,
  Read,
  RetentionSettings,
  Txn,
  TxnAnswer,
  TxnCompare,
  TxnOp,
  TxnResult,
  Value,
} from "./db/index.ts";
export type { HarmonyDB } from "./db/index.ts";

/** How to open a database. Everything has a default. */
export interface OpenOptions extends Omit<
  NodeOptions,
  "dataDir" | "clientUrls" | "peerUrls" | "clusterToken" | "heartbeatIntervalMs"
> {
  /** Takes structured log lines; default: none are written. */
  readonly log?: LogSink | undefined;
}

const MEMORY = ":memory:";

/**
 * Opens the database in `directory`, which is created when it is missing. One process at a time: another one gets
 * DIRECTORY_LOCKED. Rejects with CORRUPT when data that was proven durable is damaged, naming file and offset.
 * ":memory:" opens a new database that stays in memory and is gone when it closes.
 */
export async function open(directory: string, options: OpenOptions = {}): Promise<HarmonyDB> {
  const { log, ...rest } = options;
  return new HarmonyDB(
    await startNode(nodeEnv({ log: log ?? (() => {}) }), {
      ...rest,
      ...(directory === MEMORY ? { persistence: "none" } : {}),
      dataDir: directory,
    }),
  );
}
