/** The table of codes and texts, written down a second time: clients compare both (etcd-api 2.6). */
import { describe, expect, it } from "vitest";
import { type ErrorCode, ERRORS } from "../../base/index.ts";
import { refusalStatus, statusOf } from "./status.ts";

const EXPECTED: Readonly<Record<ErrorCode, readonly [number, string]>> = {
  KEY_EMPTY: [3, "etcdserver: key is not provided"],
  KEY_TOO_LARGE: [3, "harmonydb: key is too large"],
  KEY_NOT_FOUND: [3, "etcdserver: key not found"],
  VALUE_PROVIDED: [3, "etcdserver: value is provided"],
  LEASE_PROVIDED: [3, "etcdserver: lease is provided"],
  TOO_LARGE: [3, "etcdserver: request is too large"],
  TOO_MANY_OPS: [3, "etcdserver: too many operations in txn request"],
  DUPLICATE_KEY: [3, "etcdserver: duplicate key given in txn request"],
  INVALID_SORT: [3, "etcdserver: invalid sort option"],
  INVALID_ARGUMENT: [3, "harmonydb: invalid argument"],
  COMPACTED: [11, "etcdserver: mvcc: required revision has been compacted"],
  FUTURE_REV: [11, "etcdserver: mvcc: required revision is a future revision"],
  LEASE_NOT_FOUND: [5, "etcdserver: requested lease not found"],
  LEASE_EXISTS: [9, "etcdserver: lease already exists"],
  LEASE_TTL_TOO_LARGE: [11, "etcdserver: too large lease TTL"],
  NOT_AN_INTEGER: [9, "harmonydb: value is not an integer or out of range"],
  OVERFLOW: [11, "harmonydb: increment or decrement would overflow"],
  VALUE_TOO_LARGE: [3, "harmonydb: the value would become too large"],
  LOCKED: [9, "harmonydb: key holds a lock"],
  WRONG_KIND: [9, "harmonydb: the key holds the wrong kind of value"],
  REQUEST_EXPIRED: [
    9,
    "harmonydb: the request id is no longer known to its session, or was used for something else",
  ],
  SESSION_EXISTS: [9, "harmonydb: session already exists"],
  TOO_MANY_SESSIONS: [8, "harmonydb: too many sessions"],
  SETTING_FIXED: [9, "harmonydb: a database that keeps history always keeps some"],
  MEMBER_NOT_FOUND: [5, "etcdserver: member not found"],
  MEMBER_EXISTS: [9, "etcdserver: member ID already exist"],
  MEMBER_NAME_EXISTS: [9, "harmonydb: another member has this name"],
  PEER_URL_EXISTS: [9, "etcdserver: Peer URLs already exists"],
  MEMBER_URLS_INVALID: [3, "etcdserver: given member URLs are invalid"],
  MEMBER_NOT_LEARNER: [9, "etcdserver: can only promote a learner member"],
  TOO_MANY_LEARNERS: [9, "etcdserver: too many learner members in cluster"],
  LEARNER_NOT_READY: [
    9,
    "etcdserver: can only promote a learner member which is in sync with leader",
  ],
  MEMBERS_NOT_STARTED: [9, "etcdserver: re-configuration failed due to not enough started members"],
  CLUSTER_UNHEALTHY: [14, "etcdserver: unhealthy cluster"],
  BAD_TRANSFEREE: [9, "etcdserver: bad leader transferee"],
  STAYS_ALONE: [
    9,
    "harmonydb: this node cannot have others beside it: it does not listen for them (--listen-peer-urls, or listenPeerUrls of serve), or does not sync before it acknowledges",
  ],
  MEMBER_REMOVED: [14, "harmonydb: this member was removed from the cluster"],
  JOIN_REFUSED: [2, "harmonydb: the cluster does not take this node"],
  NO_SPACE: [8, "etcdserver: mvcc: database space exceeded"],
  DISK_FULL: [8, "harmonydb: the disk is full: only deletes and compaction are taken"],
  TOO_MANY_REQUESTS: [8, "etcdserver: too many requests"],
  NO_LEADER: [14, "etcdserver: no leader"],
  NOT_LEADER: [9, "etcdserver: not leader"],
  LEADER_CHANGED: [14, "etcdserver: leader changed"],
  TIMEOUT: [14, "etcdserver: request timed out"],
  ABORTED: [1, "etcdserver: request canceled"],
  CLOSED: [14, "etcdserver: server stopped"],
  STOPPED: [14, "etcdserver: server stopped"],
  QUARANTINED: [
    14,
    "harmonydb: this member is in quarantine until it is healed by the others: ask another one",
  ],
  MEMBER_FULL: [
    14,
    "harmonydb: the disk of this member is full while others have room: ask another one",
  ],
  CORRUPT: [15, "etcdserver: corrupt cluster"],
  UNREACHABLE: [14, "harmonydb: no member could be reached, or the connection broke"],
  UNSUPPORTED: [12, "harmonydb: this way of opening the database cannot do it"],
  CONFLICT: [2, "harmonydb: others kept changing what the transaction read"],
  LOCK_TIMEOUT: [2, "harmonydb: somebody else held the lock until the wait was over"],
  LOCK_LOST: [2, "harmonydb: the lock is no longer held"],
  PEER_FAILED: [14, "harmonydb: another member did not answer, or not as it should"],
  PEER_MISSING: [2, "harmonydb: a package that this part needs is not installed"],
  DIRECTORY_LOCKED: [2, "harmonydb: another process uses this data directory"],
  WRONG_CLUSTER: [2, "harmonydb: the data directory belongs to another cluster or member"],
  NEWER_FORMAT: [2, "harmonydb: the data directory was written by a newer format"],
  NOT_A_SNAPSHOT: [2, "harmonydb: the file is not a snapshot"],
  SNAPSHOT_MISMATCH: [
    2,
    "harmonydb: the snapshot is of another cluster or group, or older than what is here",
  ],
  IO: [2, "harmonydb: a file operation failed"],
};

describe("the status of an error", () => {
  it.each(Object.keys(ERRORS) as ErrorCode[])("%s", (code) => {
    const { code: number, message } = statusOf(code);
    expect([number, message]).toEqual(EXPECTED[code]);
  });

  it("a refusal's detail is told only where etcd has no text of its own", () => {
    const refusal = { kind: "error", revision: 1, detail: "why" } as const;
    expect(refusalStatus({ ...refusal, code: "INVALID_ARGUMENT" }).message).toBe(
      "harmonydb: invalid argument: why",
    );
    expect(refusalStatus({ ...refusal, code: "COMPACTED" }).message).toBe(EXPECTED.COMPACTED[1]);
  });
});
