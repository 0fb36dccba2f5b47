/** How a node is opened: every option has a default, and what cannot be is refused before anything is made of it. */
import { HarmonyError } from "../base/index.ts";
import type { CheckpointTriggers } from "./chores.ts";
import type { InitialMember } from "./data-directory.ts";
import type { RetentionSettings } from "./retention.ts";

export interface NodeOptions {
  /** Of no meaning without persistence. */
  readonly dataDir: string;
  readonly name?: string | undefined;
  /** What the node tells others to use; it listens on nothing by itself. */
  readonly clientUrls?: readonly string[] | undefined;
  readonly peerUrls?: readonly string[] | undefined;
  /**
   * The first members of the cluster, this one among them with the same name and URLs; the same on all of them. Of
   * meaning at the first start; later it is only compared. Absent, or this one: alone.
   */
  readonly initialCluster?: readonly InitialMember[] | undefined;
  /**
   * The cluster exists, and this node was added to it: `initialCluster` are all its members, and at the first start the
   * state comes from them.
   */
  readonly join?: boolean | undefined;
  /** How many members may be learners at a time; 1 by default. */
  readonly learnersMax?: number | undefined;
  /** As long as this member is a learner it asks to be promoted, which the leader does when it has caught up. */
  readonly autoPromote?: boolean | undefined;
  /** Given: a directory that was created with another token is refused. */
  readonly clusterToken?: string | undefined;
  readonly heartbeatIntervalMs?: number | undefined;
  readonly electionTimeoutMs?: number | undefined;
  readonly walSegmentBytes?: number | undefined;
  /**
   * 0, the default: a write is acknowledged after its sync. Up to 1000: it is acknowledged when the write call has
   * returned, and a sync follows within so many milliseconds. Then `kill -9` loses nothing, and a power loss what was
   * acknowledged since the last sync began. For a node that is alone; a second member is refused.
   */
  readonly fsyncIntervalMs?: number | undefined;
  /** "disk" (default). "none": everything stays in memory and is gone with the process; no directory is touched. */
  readonly persistence?: "disk" | "none" | undefined;
  readonly checkpoints?: CheckpointTriggers | undefined;
  /** How many snapshots are kept, from 1; 3 by default. */
  readonly snapshotsKept?: number | undefined;
  /** So much of the log stays for members that are behind, 1 GiB by default; who needs more gets a snapshot. */
  readonly walRetentionBytes?: number | undefined;
  /**
   * How much of snapshots leaves for such members in a second, all of them together, and how much of one is made for them or
   * checked and taken over here; 0 for no limit.
   */
  readonly snapshotRateBytes?: number | undefined;
  readonly retention?: RetentionSettings | undefined;
  /** Bytes in use at which puts are refused; 0 for none. */
  readonly quotaBytes?: number | undefined;
  /** At most 7 MiB. */
  readonly maxRequestBytes?: number | undefined;
  readonly maxTxnOps?: number | undefined;
  readonly requestTimeoutMs?: number | undefined;
  /** What is kept of the newest changes for those who watch; older ones are read from the trees. */
  readonly watchMemoryBytes?: number | undefined;
}

export const TICK_DEFAULT_MS = 100;
export const ELECTION_DEFAULT_MS = 1000;
export const SEGMENT_DEFAULT_BYTES: number = 64 * 1024 * 1024;
export const QUOTA_DEFAULT_BYTES: number = 2 * 1024 * 1024 * 1024;
export const REQUEST_DEFAULT_BYTES: number = 1536 * 1024;
/**
 * What becomes of a request has to fit into one frame of the log and one message to another member (16 MiB), with what else
 * is packed with it: an entry that no member can be sent would hold up every later one, for good.
 */
export const REQUEST_BYTES_MAX: number = 7 * 1024 * 1024;
export const TXN_OPS_DEFAULT = 128;
export const SNAPSHOTS_KEPT_DEFAULT = 3;
export const WAL_RETENTION_DEFAULT_BYTES: number = 1024 * 1024 * 1024;
/** A GB in half a minute, five times over: what is left of two cores serves clients meanwhile. */
export const SNAPSHOT_RATE_DEFAULT_BYTES: number = 32 * 1024 * 1024;
export const LEARNERS_DEFAULT = 1;

const FSYNC_INTERVAL_MS_MAX = 1000;

/** Refuses names, sizes and times that are none (INVALID_ARGUMENT). */
export function assertOptions(options: NodeOptions): void {
  const { walSegmentBytes: segmentBytes, checkpoints, retention, persistence, name } = options;
  // Without a name is a member that has never run.
  if (name !== undefined && !(typeof name === "string" && name !== ""))
    throw invalid("name is a text that is not empty");
  assertParts("checkpoints", checkpoints, CHECKPOINT_PARTS);
  assertParts("retention", retention, RETENTION_PARTS);
  const numbers: Readonly<Record<string, number | undefined>> = {
    heartbeatIntervalMs: options.heartbeatIntervalMs,
    electionTimeoutMs: options.electionTimeoutMs,
    fsyncIntervalMs: options.fsyncIntervalMs,
    quotaBytes: options.quotaBytes,
    maxRequestBytes: options.maxRequestBytes,
    maxTxnOps: options.maxTxnOps,
    requestTimeoutMs: options.requestTimeoutMs,
    snapshotsKept: options.snapshotsKept,
    walRetentionBytes: options.walRetentionBytes,
    snapshotRateBytes: options.snapshotRateBytes,
    watchMemoryBytes: options.watchMemoryBytes,
    learnersMax: options.learnersMax,
    ...checkpoints,
    ...retention,
  };
  for (const [name, value] of Object.entries(numbers)) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 0))
      throw invalid(`${name} is a whole number from 0, not ${value}`);
  }
  if (options.heartbeatIntervalMs === 0 || options.electionTimeoutMs === 0)
    throw invalid("heartbeatIntervalMs and electionTimeoutMs are more than 0");
  if (options.snapshotsKept === 0) throw invalid("snapshotsKept is more than 0");
  if (options.maxTxnOps === 0) throw invalid("maxTxnOps is more than 0");
  const { maxRequestBytes = REQUEST_DEFAULT_BYTES } = options;
  if (maxRequestBytes === 0 || maxRequestBytes > REQUEST_BYTES_MAX)
    throw invalid(`maxRequestBytes is from 1 to ${REQUEST_BYTES_MAX}, not ${maxRequestBytes}`);
  if (segmentBytes !== undefined && !(segmentBytes >= 4096 && segmentBytes % 512 === 0))
    throw invalid(`walSegmentBytes is a multiple of 512 from 4096, not ${segmentBytes}`);
  const { fsyncIntervalMs = 0 } = options;
  if (fsyncIntervalMs > FSYNC_INTERVAL_MS_MAX)
    throw invalid(`fsyncIntervalMs is at most ${FSYNC_INTERVAL_MS_MAX}, not ${fsyncIntervalMs}`);
  if (persistence !== undefined && persistence !== "disk" && persistence !== "none")
    throw invalid(`persistence is "disk" or "none", not ${String(persistence)}`);
  if (persistence === "none" && fsyncIntervalMs > 0)
    throw invalid("without persistence nothing is synced: leave fsyncIntervalMs out");
  assertInitialCluster(options);
}

const CHECKPOINT_PARTS: Readonly<Record<keyof CheckpointTriggers, true>> = {
  walBytes: true,
  intervalMs: true,
  operations: true,
};
const RETENTION_PARTS: Readonly<Record<keyof RetentionSettings, true>> = {
  retentionMs: true,
  retentionRevisions: true,
};

/** Given, it has all of its parts and no others: half of it would mean something that nobody said. */
function assertParts(what: string, given: object | undefined, parts: object): void {
  if (given === undefined) return;
  const names = Object.keys(parts);
  const isWhole =
    typeof given === "object" &&
    given !== null &&
    names.every((name) => (given as Readonly<Record<string, unknown>>)[name] !== undefined) &&
    Object.keys(given).every((name) => Object.hasOwn(parts, name));
  if (!isWhole) throw invalid(`${what} has ${names.join(", ")}, and nothing else`);
}

/** Refuses first members that could not be told apart, or would not find this one among them. */
function assertInitialCluster({ initialCluster = [], name, peerUrls = [] }: NodeOptions): void {
  if (initialCluster.length < 2) return;
  const names = new Set<string>();
  const urls = new Set<string>();
  for (const member of initialCluster) {
    if (member.peerUrls.length === 0)
      throw invalid(`initialCluster: ${member.name} has no peer URL`);
    if (names.has(member.name)) throw invalid(`initialCluster names ${member.name} twice`);
    names.add(member.name);
    for (const url of member.peerUrls) {
      if (urls.has(url)) throw invalid(`initialCluster has ${url} twice: each member has its own`);
      urls.add(url);
    }
  }
  const self = initialCluster.find((member) => member.name === name);
  if (self === undefined)
    throw invalid(`initialCluster does not name this member, ${name ?? "default"}`);
  const text = (list: readonly string[]): string => [...list].sort().join(",");
  if (text(self.peerUrls) !== text(peerUrls))
    throw invalid(
      `initialCluster gives ${self.name} the URLs ${text(self.peerUrls)}, and it says itself ${text(peerUrls)}`,
    );
}

function invalid(what: string): HarmonyError {
  return new HarmonyError("INVALID_ARGUMENT", what);
}
