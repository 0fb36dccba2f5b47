/**
 * The one table of the server's options. Flag, environment variable, key of the configuration file, default, help
 * and reference page all come from it, so that none of them can say something else. Names are etcd's wherever the
 * meaning is etcd's.
 */
import {
  byteSize,
  duration,
  oneOf,
  path,
  type Reader,
  truth,
  urlList,
  urlListOrNone,
  versionNumber,
  wholeNumber,
  word,
} from "./values.ts";

/** What `serve` works with: every option read and checked by itself. Urls have no trailing slash. */
export interface ServeConfig {
  readonly name: string;
  readonly dataDir: string;
  readonly configFile: string;
  readonly listenClientUrls: readonly string[];
  /** Empty: the listen URLs. */
  readonly advertiseClientUrls: readonly string[];
  /** Empty: no HTTP listener. */
  readonly listenMetricsUrls: readonly string[];
  readonly metricsCompat: "none" | "etcd";
  readonly insecure: boolean;
  readonly emulatedEtcdVersion: string;
  readonly listenPeerUrls: readonly string[];
  readonly initialAdvertisePeerUrls: readonly string[];
  /** Empty: this member alone. */
  readonly initialCluster: string;
  readonly initialClusterState: "new" | "existing";
  readonly initialClusterToken: string;
  readonly learnersMax: number;
  readonly autoPromote: boolean;
  readonly heartbeatIntervalMs: number;
  readonly electionTimeoutMs: number;
  /** 0: every acknowledgement follows a sync. */
  readonly fsyncIntervalMs: number;
  readonly disablePersistence: boolean;
  readonly walSegmentBytes: number;
  readonly checkpointWalBytes: number;
  readonly checkpointIntervalMs: number;
  readonly checkpointOperations: number;
  readonly snapshotsKept: number;
  readonly snapshotRateBytes: number;
  readonly walRetentionBytes: number;
  readonly autoCompactionMode: "periodic" | "revision";
  /** As written: its unit depends on the mode. `retentionOf` reads it. */
  readonly autoCompactionRetention: string;
  readonly quotaBackendBytes: number;
  readonly maxRequestBytes: number;
  readonly maxTxnOps: number;
  readonly maxConcurrentStreams: number;
  readonly watchProgressIntervalMs: number;
  readonly shutdownTimeoutMs: number;
  readonly logLevel: "debug" | "info" | "warn" | "error";
  readonly logFormat: "json" | "console";
}

export interface OptionSpec<T> {
  /** Without the dashes; also the key in the file, and in upper case the environment variable. */
  readonly flag: string;
  /** What stands for the value in the help; empty for a switch. */
  readonly value: string;
  readonly group: string;
  readonly help: string;
  /** Written as a user would write it, and read by the same reader. */
  readonly fallback: string;
  /** What the help says about the default where the text itself does not. */
  readonly fallbackNote?: string;
  readonly read: Reader<T>;
}

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const DAY_MS = 86_400_000;

const MEMBER = "Member:";
const CLIENTS = "Clients:";
const STORAGE = "Storage:";
const HISTORY = "History and quota:";
const LIMITS = "Limits:";
const CLUSTER = "Cluster:";
const RUNNING = "Running:";

/** Every option of `serve`, in the order in which help and reference show them. */
export const OPTIONS: { readonly [K in keyof ServeConfig]: OptionSpec<ServeConfig[K]> } = {
  name: {
    flag: "name",
    value: "name",
    group: MEMBER,
    help: "name of this member for people; its id is made of it at the first start",
    fallback: "default",
    read: word,
  },
  dataDir: {
    flag: "data-dir",
    value: "dir",
    group: MEMBER,
    help: "directory of everything the node keeps; created with mode 0700 if missing; one process at a time",
    fallback: "./data",
    read: path,
  },
  configFile: {
    flag: "config-file",
    value: "file",
    group: MEMBER,
    help: "YAML file with the same names without the leading dashes; flags and environment win over it",
    fallback: "",
    read: (text) => text,
  },
  listenClientUrls: {
    flag: "listen-client-urls",
    value: "urls",
    group: CLIENTS,
    help: "where the etcd API listens, commas between; port 0 takes a free one, which the ready line names",
    fallback: "http://127.0.0.1:2379",
    read: urlList({ mayBeEmpty: false }),
  },
  advertiseClientUrls: {
    flag: "advertise-client-urls",
    value: "urls",
    group: CLIENTS,
    help: "what clients are told to connect to, as in `etcdctl member list`",
    fallback: "",
    fallbackNote: "the listen URLs",
    read: urlList({ mayBeEmpty: true }),
  },
  listenMetricsUrls: {
    flag: "listen-metrics-urls",
    value: "urls",
    group: CLIENTS,
    help: "where health, readiness, version and metrics are told over HTTP, commas between; none: nowhere. When nobody names it and the port is taken, the node does without",
    fallback: "http://127.0.0.1:2381",
    read: urlListOrNone,
  },
  metricsCompat: {
    flag: "metrics-compat",
    value: "names",
    group: CLIENTS,
    help: "etcd repeats what /metrics says under the names that dashboards for etcd know",
    fallback: "none",
    read: oneOf("none", "etcd"),
  },
  insecure: {
    flag: "insecure",
    value: "",
    group: CLIENTS,
    help: "allow to listen beyond this machine although clients and members need no password and nothing is encrypted",
    fallback: "false",
    read: truth,
  },
  emulatedEtcdVersion: {
    flag: "emulated-etcd-version",
    value: "version",
    group: CLIENTS,
    help: "the etcd version that clients are told; some choose by it what they ask for",
    fallback: "3.6.11",
    read: versionNumber,
  },
  fsyncIntervalMs: {
    flag: "fsync-interval-ms",
    value: "ms",
    group: STORAGE,
    help: "above 0: acknowledge when a write call has returned and sync within so many milliseconds (at most 1000); then kill -9 loses nothing, but a power loss may take the newest writes; for a lone member",
    fallback: "0",
    read: wholeNumber({ min: 0, max: 1000 }),
  },
  disablePersistence: {
    flag: "disable-persistence",
    value: "",
    group: STORAGE,
    help: "keep everything in memory: no directory is used, and the data ends with the process; for a lone member",
    fallback: "false",
    read: truth,
  },
  walSegmentBytes: {
    flag: "wal-segment-bytes",
    value: "size",
    group: STORAGE,
    help: "size of a file of the log; the log is released in whole files",
    fallback: "64MiB",
    read: byteSize({ min: MIB, max: GIB }),
  },
  checkpointWalBytes: {
    flag: "checkpoint-wal-bytes",
    value: "size",
    group: STORAGE,
    help: "checkpoint when the log grew by this much since the last one",
    fallback: "256MiB",
    read: byteSize({ min: MIB, max: 1024 * GIB }),
  },
  checkpointIntervalMs: {
    flag: "checkpoint-interval",
    value: "duration",
    group: STORAGE,
    help: "checkpoint when this time passed and something changed",
    fallback: "5m",
    read: duration({ minMs: 1000, maxMs: 7 * DAY_MS }),
  },
  checkpointOperations: {
    flag: "checkpoint-operations",
    value: "count",
    group: STORAGE,
    help: "checkpoint when this many commands were applied since the last one",
    fallback: "100000",
    read: wholeNumber({ min: 1, max: 1_000_000_000 }),
  },
  snapshotsKept: {
    flag: "snapshot-keep",
    value: "count",
    group: STORAGE,
    help: "how many snapshots stay in the data directory",
    fallback: "3",
    read: wholeNumber({ min: 1, max: 1000 }),
  },
  snapshotRateBytes: {
    flag: "snapshot-rate-bytes",
    value: "size",
    group: STORAGE,
    help: "so much of a snapshot for a member that is too far behind is made, sent, checked or taken over in a second; 0 means no limit",
    fallback: "32MiB",
    read: byteSize({ min: 0, max: 1024 * GIB }),
  },
  walRetentionBytes: {
    flag: "wal-retention-bytes",
    value: "size",
    group: STORAGE,
    help: "so much of the log stays for members that are behind; who needs more gets a snapshot",
    fallback: "1GiB",
    read: byteSize({ min: 0, max: 1024 * GIB }),
  },
  autoCompactionMode: {
    flag: "auto-compaction-mode",
    value: "mode",
    group: HISTORY,
    help: "periodic keeps old versions for a time, revision keeps a number of revisions",
    fallback: "periodic",
    read: oneOf("periodic", "revision"),
  },
  autoCompactionRetention: {
    flag: "auto-compaction-retention",
    value: "how much",
    group: HISTORY,
    help: "how old versions may get (a bare number counts hours) or, in revision mode, how many are kept; the default keeps at least 10,000 revisions too; 0 never compacts, as in etcd",
    fallback: "5m",
    read: word,
  },
  quotaBackendBytes: {
    flag: "quota-backend-bytes",
    value: "size",
    group: HISTORY,
    help: "above this size of the database only deletes and compaction are taken; 0 means 2 GiB, -1 no quota",
    fallback: "0",
    read: byteSize({ min: -1, max: 1024 * GIB }),
  },
  maxRequestBytes: {
    flag: "max-request-bytes",
    value: "size",
    group: LIMITS,
    help: "largest request that a client may send",
    fallback: "1.5MiB",
    read: byteSize({ min: 1024, max: 7 * MIB }),
  },
  maxTxnOps: {
    flag: "max-txn-ops",
    value: "count",
    group: LIMITS,
    help: "most operations in one transaction, nested ones counted",
    fallback: "128",
    read: wholeNumber({ min: 1, max: 10_000 }),
  },
  maxConcurrentStreams: {
    flag: "max-concurrent-streams",
    value: "count",
    group: LIMITS,
    help: "most requests that one client connection may have open",
    fallback: "1000",
    read: wholeNumber({ min: 1, max: 1_000_000 }),
  },
  watchProgressIntervalMs: {
    flag: "watch-progress-notify-interval",
    value: "duration",
    group: LIMITS,
    help: "how often an idle watcher that asked for it is told how far it is",
    fallback: "10m",
    read: duration({ minMs: 100, maxMs: 7 * DAY_MS }),
  },
  listenPeerUrls: {
    flag: "listen-peer-urls",
    value: "urls",
    group: CLUSTER,
    help: "where this member listens for others. When nobody names it and the port is taken, a lone member does without and stays alone",
    fallback: "http://127.0.0.1:2380",
    read: urlList({ mayBeEmpty: false }),
  },
  initialAdvertisePeerUrls: {
    flag: "initial-advertise-peer-urls",
    value: "urls",
    group: CLUSTER,
    help: "this member's URLs for other members; its id is made of them at the first start",
    fallback: "http://localhost:2380",
    fallbackNote: "the listen URLs where they are given, else http://localhost:2380",
    read: urlList({ mayBeEmpty: false }),
  },
  initialCluster: {
    flag: "initial-cluster",
    value: "name=url",
    group: CLUSTER,
    help: "the first members, as all of them are told: n1=http://host:port,n2=...; of meaning at the first start, later only compared",
    fallback: "",
    fallbackNote: "this member",
    read: (text) => text,
  },
  initialClusterState: {
    flag: "initial-cluster-state",
    value: "state",
    group: CLUSTER,
    help: "existing: this member was added to a cluster that exists, and begins with what that has; of meaning at the first start",
    fallback: "new",
    read: oneOf("new", "existing"),
  },
  initialClusterToken: {
    flag: "initial-cluster-token",
    value: "token",
    group: CLUSTER,
    help: "tells clusters apart that were started alike; once given, another token is refused",
    fallback: "harmonydb-cluster",
    read: word,
  },
  learnersMax: {
    flag: "max-learners",
    value: "count",
    group: CLUSTER,
    help: "how many members may be learners at a time: they get everything and do not vote",
    fallback: "1",
    read: wholeNumber({ min: 0, max: 100 }),
  },
  autoPromote: {
    flag: "auto-promote",
    value: "",
    group: CLUSTER,
    help: "as long as this member is a learner: become a voter as soon as it has caught up",
    fallback: "false",
    read: truth,
  },
  heartbeatIntervalMs: {
    flag: "heartbeat-interval",
    value: "duration",
    group: CLUSTER,
    help: "length of Raft's tick",
    fallback: "100ms",
    read: duration({ minMs: 1, maxMs: 10_000 }),
  },
  electionTimeoutMs: {
    flag: "election-timeout",
    value: "duration",
    group: CLUSTER,
    help: "how long a member waits for a leader; at least five heartbeats",
    fallback: "1s",
    read: duration({ minMs: 5, maxMs: 50_000 }),
  },
  shutdownTimeoutMs: {
    flag: "shutdown-timeout",
    value: "duration",
    group: RUNNING,
    help: "how long SIGTERM waits for requests that are under way",
    fallback: "3s",
    read: duration({ minMs: 0, maxMs: 3_600_000 }),
  },
  logLevel: {
    flag: "log-level",
    value: "level",
    group: RUNNING,
    help: "least level that is logged: debug, info, warn, error",
    fallback: "info",
    read: oneOf("debug", "info", "warn", "error"),
  },
  logFormat: {
    flag: "log-format",
    value: "format",
    group: RUNNING,
    help: "json for machines, console for eyes; both on stderr",
    fallback: "json",
    read: oneOf("json", "console"),
  },
};

export type OptionName = keyof ServeConfig;

export const OPTION_NAMES: readonly OptionName[] = Object.keys(OPTIONS) as OptionName[];

const BY_FLAG: ReadonlyMap<string, OptionName> = new Map(
  OPTION_NAMES.map((name) => [OPTIONS[name].flag, name]),
);

export function optionByFlag(flag: string): OptionName | undefined {
  return BY_FLAG.get(flag);
}

export const ENVIRONMENT_PREFIX = "HARMONYDB_";

export function environmentName(flag: string): string {
  return ENVIRONMENT_PREFIX + flag.toUpperCase().replaceAll("-", "_");
}

/**
 * Options that people know from etcd or from the plan of this project and that nothing answers to here. To take one
 * in silence would be worse than to refuse it: somebody would believe in a certificate that is never used.
 */
const LATER: ReadonlySet<string> = new Set([
  "auth-token",
  "cert-file",
  "client-cert-auth",
  "databases",
  "enable-console",
  "enable-grpc-gateway",
  "force-new-cluster",
  "join",
  "key-file",
  "listen-resp-urls",
  "log-outputs",
  "pre-vote",
  "snapshot-count",
  "strict-reconfig-check",
  "trusted-ca-file",
  "wal-dir",
  "watch-progress-notify-interval",
]);

export function isLaterOption(flag: string): boolean {
  return LATER.has(flag) || flag.startsWith("peer-");
}
