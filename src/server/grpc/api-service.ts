/**
 * harmonydb.v1.Api (proto/harmonydb/api.proto): what `connect` speaks. Failures are part of the answers, since a status
 * has no room for what a program wants to know: the code, and whether a write may have happened.
 *
 * Invariant: whatever bytes a client sends, a request that reaches the database is one that its checks have an opinion of.
 */
import { EMPTY_BYTES, type HarmonyError } from "../../base/index.ts";
import { apiMessages as wire } from "../../codec/index.ts";
import {
  type CallOptions,
  decodeRequest,
  encodeWholeOutcome,
  type RangeResponse,
  type Refusal,
  type SnapshotReader,
  POINT,
} from "../../db/index.ts";
import type { ServiceContext } from "./answer.ts";
import { apiMembers } from "./api-members.ts";
import {
  decode,
  encode,
  entryOf,
  type Failed,
  failureIn,
  failureOf,
  optionsOf,
  unary,
} from "./api-messages.ts";
import { apiWatch } from "./api-watch.ts";
import type { Call, Method, StreamCall, StreamListener } from "./method.ts";
import { GrpcCode, unimplemented } from "./status.ts";

type Done = (error: Failed | null) => void;

/** What of a node the service needs beside its database. */
export interface ApiSupport {
  /** Makes the trees durable in the data file. */
  checkpoint(done: Done): void;
  /** Syncs the log. */
  sync(done: Done): void;
  /** How many are alive. */
  counts(): { readonly keys: number; readonly leases: number };
  openSnapshot(done: (error: Failed | null, reader: SnapshotReader | null) => void): void;
}

/** Keys of one answer, and about how long it may be. */
const READ_KEYS_MAX = 1000;
const READ_BYTES = 2 * 1024 * 1024;
const PIECE_BYTES: number = 64 * 1024;

export function apiService(
  context: ServiceContext,
  support: ApiSupport | undefined,
): readonly Method[] {
  const { database } = context;
  return [
    unary("Write", (bytes, call, reply) => {
      const { command, session, number, timeout_ms, patience_ms } = decode(
        wire.WriteRequest,
        bytes,
      );
      const request = decodeRequest(command);
      if (request === null) {
        reply(
          { code: GrpcCode.invalidArgument, message: "harmonydb: the command is none" },
          EMPTY_BYTES,
        );
        return;
      }
      const options: CallOptions = {
        ...optionsOf(call, timeout_ms, patience_ms),
        ...(session > 0n
          ? { requestId: { session: Number(session), number: Number(number) } }
          : {}),
      };
      database.write(request, options, (error, outcome) => {
        reply(
          null,
          encode(wire.WriteResponse, {
            outcome: error === null ? encodeWholeOutcome(outcome) : EMPTY_BYTES,
            failure: error === null ? undefined : failureOf(error),
          }),
        );
      });
    }),
    unary("Read", (bytes, call, reply) => {
      const request = decode(wire.ReadRequest, bytes);
      const answer = (response: wire.ReadResponse): void =>
        reply(null, encode(wire.ReadResponse, response));
      if (request.points.length > 0) readPoints(context, request, call, answer);
      else readRange(context, request, call, answer);
    }),
    unary("LeaseStatus", (bytes, call, reply) => {
      const { id, timeout_ms } = decode(wire.LeaseStatusRequest, bytes);
      database.leaseStatus(id, false, optionsOf(call, timeout_ms), (error, status) => {
        reply(
          null,
          encode(wire.LeaseStatusResponse, {
            revision: BigInt(error === null ? status.revision : 0),
            ttl: error === null ? status.ttlSeconds : 0n,
            granted_ttl: error === null ? status.grantedTtlSeconds : 0n,
            failure: error === null ? undefined : failureOf(error),
          }),
        );
      });
    }),
    unary("Report", (bytes, _call, reply) => {
      decode(wire.ReportRequest, bytes);
      reply(null, encode(wire.ReportResponse, reportOf(context, support)));
    }),
    unary("Chore", (bytes, _call, reply) => {
      const { chore } = decode(wire.ChoreRequest, bytes);
      if (support === undefined) {
        reply(unimplemented("a chore by request"), EMPTY_BYTES);
        return;
      }
      const done: Done = (error) =>
        reply(
          null,
          encode(wire.ChoreResponse, {
            failure: error === null ? undefined : failureOf(error),
          }),
        );
      if (chore === wire.ChoreRequest_Chore.SYNC) support.sync(done);
      else support.checkpoint(done);
    }),
    {
      kind: "serverStream",
      path: "/harmonydb.v1.Api/Watch",
      open: (call) => apiWatch(context, call),
    },
    {
      kind: "serverStream",
      path: "/harmonydb.v1.Api/Backup",
      open: (call) => new BackupStream(call, support),
    },
    ...apiMembers(context),
  ];
}

const NO_ANSWER: wire.ReadResponse = {
  revision: 0n,
  entries: [],
  more: false,
  count: 0n,
  failure: undefined,
};

function readRange(
  { database }: ServiceContext,
  request: wire.ReadRequest,
  call: Call,
  answer: (response: wire.ReadResponse) => void,
): void {
  const { key, range_end: rangeEnd, limit, revision, count_only: countOnly } = request;
  const wanted = limit > 0n && limit < READ_KEYS_MAX ? Number(limit) : READ_KEYS_MAX;
  database.range(
    {
      ...POINT,
      key,
      rangeEnd,
      limit: countOnly ? 0 : wanted,
      revision: Number(revision),
      sortOrder: request.descend ? "descend" : "none",
      serializable: request.serializable,
      keysOnly: request.keys_only,
      countOnly,
      // Who goes on with a read does not ask how much there is.
      ...(revision > 0n && !countOnly ? { uncounted: true } : {}),
    },
    optionsOf(call, request.timeout_ms),
    (error, response) => {
      const failure = failureIn(error, response);
      if (failure !== null) {
        answer({ ...NO_ANSWER, failure });
        return;
      }
      const page = response as RangeResponse;
      const entries: wire.Entry[] = [];
      let sizeBytes = 0;
      for (const kv of page.kvs) {
        if (sizeBytes >= READ_BYTES) break;
        sizeBytes += kv.key.length + kv.value.length;
        entries.push(entryOf(kv));
      }
      answer({
        ...NO_ANSWER,
        revision: BigInt(page.revision),
        entries,
        more: page.more || entries.length < page.kvs.length,
        count: BigInt(page.count),
      });
    },
  );
}

/** The first as it asks, the others from what is applied at the moment of its answer. */
function readPoints(
  { database }: ServiceContext,
  request: wire.ReadRequest,
  call: Call,
  answer: (response: wire.ReadResponse) => void,
): void {
  const { points, keys_only: keysOnly, serializable } = request;
  const point = { ...POINT, revision: Number(request.revision), keysOnly };
  const [first, ...others] = points.slice(0, READ_KEYS_MAX) as [Uint8Array, ...Uint8Array[]];
  const entries: wire.Entry[] = [];
  let sizeBytes = 0;
  let failure: wire.Failure | null = null;
  const take = (error: HarmonyError | null, response: RangeResponse | Refusal): void => {
    failure = failureIn(error, response);
    if (failure !== null) return;
    for (const kv of (response as RangeResponse).kvs) {
      sizeBytes += kv.key.length + kv.value.length;
      entries.push(entryOf(kv));
    }
  };
  const options = optionsOf(call, request.timeout_ms);
  database.range({ ...point, key: first, serializable }, options, (error, response) => {
    take(error, response);
    let count = 1;
    for (const key of others) {
      if (failure !== null || sizeBytes >= READ_BYTES) break;
      // A local read is answered within the call.
      database.range({ ...point, key, serializable: true }, {}, take);
      count++;
    }
    if (failure !== null) answer({ ...NO_ANSWER, failure });
    else
      answer({
        ...NO_ANSWER,
        revision: BigInt((response as RangeResponse).revision),
        entries,
        count: BigInt(count),
      });
  });
}

function reportOf(
  { database }: ServiceContext,
  support: ApiSupport | undefined,
): wire.ReportResponse {
  const status = database.status();
  const { keys, leases } = support?.counts() ?? { keys: 0, leases: 0 };
  return {
    name: status.name,
    cluster_id: status.clusterId,
    member_id: status.memberId,
    leader: status.leader,
    term: BigInt(status.raftTerm),
    applied_index: BigInt(status.raftAppliedIndex),
    revision: BigInt(status.revision),
    compact_revision: BigInt(status.compactRevision),
    keys: BigInt(keys),
    leases: BigInt(leases),
    size_bytes: BigInt(status.sizeBytes),
    size_in_use_bytes: BigInt(status.sizeInUseBytes),
    quota_bytes: BigInt(status.quotaBytes),
    durability: status.durability.mode,
    fsync_interval_ms: BigInt(status.durability.fsyncIntervalMs),
    alarms: [...status.alarms],
    commit_index: BigInt(status.raftCommitIndex),
  };
}

const NO_PIECE: wire.BackupResponse = {
  revision: 0n,
  size_bytes: 0n,
  sha256: EMPTY_BYTES,
  blob: EMPTY_BYTES,
  failure: undefined,
};

/** As Maintenance.Snapshot, after a message that says what comes. */
class BackupStream implements StreamListener {
  readonly #call: StreamCall;
  readonly #support: ApiSupport | undefined;
  #reader: SnapshotReader | null = null;
  #isOver = false;

  constructor(call: StreamCall, support: ApiSupport | undefined) {
    this.#call = call;
    this.#support = support;
  }

  message(request: Uint8Array, done: () => void): void {
    decode(wire.BackupRequest, request);
    done();
    if (this.#support === undefined) {
      this.#call.end(unimplemented("a backup by request"));
      return;
    }
    this.#support.openSnapshot((error, reader) => {
      if (reader === null) this.#fail(error ?? { code: "STOPPED" });
      // The client has gone while it was made.
      else if (this.#isOver) reader.close();
      else {
        this.#reader = reader;
        const { record, revision } = reader.made;
        this.#send({
          revision: BigInt(revision),
          size_bytes: BigInt(record.sizeBytes),
          sha256: record.sha256,
        });
        this.#next(reader);
      }
    });
  }

  halfClosed(): void {}

  closed(): void {
    this.#isOver = true;
    this.#reader?.close();
  }

  #next(reader: SnapshotReader): void {
    reader.read(PIECE_BYTES, (error, blob) => {
      if (this.#isOver) return;
      if (error !== null) this.#fail(error);
      else if (blob === null) this.#call.end(null);
      else {
        this.#send({ blob });
        this.#call.whenWritable(() => this.#next(reader));
      }
    });
  }

  #send(message: Partial<wire.BackupResponse>): void {
    this.#call.send(encode(wire.BackupResponse, { ...NO_PIECE, ...message }));
  }

  #fail(error: Failed): void {
    this.#send({ failure: failureOf(error) });
    this.#call.end(null);
  }
}
