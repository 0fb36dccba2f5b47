/** What a program sees of a whole database beyond its keys: leases, sessions, messages, administration, its end. */
import type { HarmonyError } from "../../base/index.ts";
import type { Durability } from "../database.ts";
import type { Call, Store } from "./api.ts";
import type { Members } from "./api-members.ts";

/** Keys that are attached to it end with it. */
export interface Lease extends AsyncDisposable {
  /** For `Write.lease`. */
  readonly id: bigint;
  /** As granted: whole seconds, and at least one and a half election timeouts. */
  readonly ttlMs: number;
  /** Aborted with LEASE_NOT_FOUND when it is known to have ended, or with CLOSED. */
  readonly signal: AbortSignal;
  /** Starts the TTL again and answers with it. LEASE_NOT_FOUND when it has ended. */
  keepAlive(options?: Call): Promise<number>;
  /** How many milliseconds are left, in whole seconds rounded down; 0 when it has ended. */
  remainingMs(options?: Call): Promise<number>;
  /** Ends it and deletes its keys. False: it had ended. Leaving `await using` does the same. */
  revoke(options?: Call): Promise<boolean>;
}

/** Numbers writes that may be sent again. Ends after 15 minutes without use; keeps the last 64 answers. */
export interface Session extends AsyncDisposable {
  /** Of the database: safe integers that cannot be guessed. */
  readonly id: number;
  /** The next one, for `Write.requestId`: one for each write, used again only for the same write. */
  requestId(): string;
  /** Its numbers are forgotten. Leaving `await using` does the same. */
  close(options?: Call): Promise<void>;
}

/** What was published. */
export interface Message {
  /** As it was published. */
  readonly channel: string;
  /** The pattern that it matched: the first one of the subscription. */
  readonly pattern: string;
  /** Belongs to the receiver. */
  readonly data: Uint8Array;
}

/** Messages in the order in which they were published, from the call of `subscribe` on. */
export interface Subscription extends AsyncIterableIterator<Message>, AsyncDisposable {
  /** Itself: one reader takes each message. */
  [Symbol.asyncIterator](): Subscription;
  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void>;
  /** Ends it: a loop over it ends, too. */
  close(): Promise<void>;
}

/** How a subscription is made. */
export interface SubscribeOptions {
  /** Ends it with ABORTED. */
  readonly signal?: AbortSignal | undefined;
  /** Messages that may wait for the reader; one more ends it with TOO_MANY_REQUESTS. Default: 10,000. */
  readonly pendingMax?: number | undefined;
}

/** What the database says of itself. Sizes in bytes. */
export interface DatabaseReport {
  /** As it was opened. */
  readonly name: string;
  /** Given at the first start. */
  readonly clusterId: bigint;
  /** Given at the first start. */
  readonly memberId: bigint;
  /** Whether this node proposes; one that is alone does. */
  readonly isLeader: boolean;
  /** Of Raft: counts the elections. */
  readonly term: number;
  /** Of the log: how many entries are applied. */
  readonly appliedIndex: number;
  /** The newest revision. */
  readonly rev: number;
  /** Revisions below cannot be read; 0 when nothing was compacted. */
  readonly compactRev: number;
  /** How many are alive. */
  readonly keys: number;
  /** How many are alive. */
  readonly leases: number;
  /** Of the data file. */
  readonly sizeBytes: number;
  /** Of it, what holds live pages. */
  readonly sizeInUseBytes: number;
  /** Bytes in use at which puts are refused with NO_SPACE; 0 for none. */
  readonly quotaBytes: number;
  /** When a write is acknowledged. */
  readonly durability: Durability;
  /**
   * NOSPACE: the quota is reached or the disk is full; only what gives room back is taken, and nothing while other members
   * have room (MEMBER_FULL). CORRUPT: this member is in quarantine until the others have healed it, or members differ and
   * nobody knows who is right.
   */
  readonly alarms: readonly ("NOSPACE" | "CORRUPT")[];
}

/** Settings that live in the data. Undefined leaves one as it is. */
export interface Settings {
  /** History younger than this stays readable. */
  readonly retentionMs?: number | undefined;
  /** So many revisions stay readable, whatever their age. */
  readonly retentionRevisions?: number | undefined;
  /** Bytes in use at which puts are refused; 0 for none. */
  readonly quotaBytes?: number | undefined;
}

/**
 * A snapshot of the whole database as bytes, for a backup: read it once, in order, into a file, which `harmonydb snapshot
 * restore` makes a database of again. Leaving the loop or disposing of it lets go of the file that it is read from.
 */
export interface Backup extends AsyncIterable<Uint8Array>, AsyncDisposable {
  /** Of the state in it. */
  readonly rev: number;
  /** How many bytes there are to read. */
  readonly sizeBytes: number;
  /** The last 32 bytes: the SHA-256 of all before them. */
  readonly sha256: Uint8Array;
}

/** For those who run the database. */
export interface Admin {
  /** Who belongs to the cluster, who comes, who goes, who leads. */
  readonly members: Members;
  /** What the database says of itself, now. */
  status(options?: Call): Promise<DatabaseReport>;
  /**
   * Makes what is applied durable in the data file and lets the log go behind it. DISK_FULL leaves the old one in force.
   * It takes as long as it takes: without a `timeoutMs` there is none, and whoever gives up leaves it to go on.
   */
  checkpoint(options?: Call): Promise<void>;
  /**
   * Makes a snapshot of what is applied now, while writes go on. It stays in the directory until newer ones have taken
   * its place. DISK_FULL leaves nothing behind. It takes as long as it takes, as a checkpoint does.
   */
  snapshot(options?: Call): Promise<Backup>;
  /** Gives up all history before `rev`. `physical`: answers when it is gone from the data file. */
  compact(rev: number, options?: Call & { readonly physical?: boolean }): Promise<void>;
  /** SETTING_FIXED: history that is kept cannot be turned off. */
  configure(settings: Settings, options?: Call): Promise<Required<Settings>>;
  /** Prometheus text. */
  metrics(): string;
}

/** "error": the node has stopped, and why; all calls reject from then on. "close": the database is closed. */
export interface DatabaseEvents {
  /** Why the node has stopped. */
  readonly error: HarmonyError;
  /** Nothing is told. */
  readonly close: undefined;
}

/**
 * A database in this process. A write that has resolved is synced to disk, unless `open` was told otherwise. After
 * `close` every call rejects with CLOSED; after a failed write of the log with STOPPED.
 */
export interface HarmonyDB extends Store, AsyncDisposable {
  /** "closing" from the call of `close` on, "closed" when the directory is given back. */
  readonly status: "open" | "closing" | "closed";
  /** A node that is alone leads; "client": the nodes are elsewhere. */
  readonly role: "leader" | "follower" | "client";
  /** For those who run the database. */
  readonly admin: Admin;
  /** Grants a lease; `keepAlive` renews it until it is revoked or the database closes. */
  lease(
    ttlMs: number,
    options?: Call & { readonly keepAlive?: boolean | undefined },
  ): Promise<Lease>;
  /** Opens a session for writes that may be sent again. */
  session(options?: Call): Promise<Session>;
  /** Gives a message to the subscribers in this process; answers how many got it. Nothing is kept. */
  publish(channel: string, message: string | Uint8Array): Promise<number>;
  /**
   * Receives messages of the channels that match: `*` any text, `?` one character, `[a-z]` and `[^a-z]` one of a set,
   * `\` takes the next character as it is.
   */
  subscribe(patterns: string | readonly string[], options?: SubscribeOptions): Subscription;
  /** The present revision, after every write that was acknowledged before the call. */
  barrier(options?: Call): Promise<number>;
  /**
   * Resolves when every write that was asked for before is applied and synced, in every mode of durability. A `timeoutMs`
   * counts for each of the two.
   */
  flush(options?: Call): Promise<void>;
  /** Calls `listener` at each event. What it throws is logged and hurts nobody else. */
  on<E extends keyof DatabaseEvents>(event: E, listener: (what: DatabaseEvents[E]) => void): this;
  /** Takes a listener back; one that was never given is nothing. */
  off<E extends keyof DatabaseEvents>(event: E, listener: (what: DatabaseEvents[E]) => void): this;
  /** Finishes what is on its way, syncs, and gives the directory back. Closing twice is one closing. */
  close(): Promise<void>;
}
