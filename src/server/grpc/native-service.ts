/**
 * harmonydb.v1.Native (proto/harmonydb/native.proto): the commands that etcd's protocol has no words for. Messages are
 * read and written by the generated code.
 *
 * Invariant: whatever bytes a client sends, the answer is a status of the table; what the generated code throws on bytes
 * that are no message is the client's fault and not logged as ours.
 */
import { EMPTY_BYTES } from "../../base/index.ts";
import { DecodeError, nativeMessages as wire } from "../../codec/index.ts";
import {
  type Condition,
  type ExpireWhen,
  type Expiry,
  type KeyValue,
  type MembersChanged,
  type MSetRequest,
  type NativeRequest,
  type Outcome,
  type RangeResponse,
  type Refusal,
  POINT,
} from "../../db/index.ts";
import type { ServiceContext } from "./answer.ts";
import type { Method, UnaryHandler } from "./method.ts";
import { statusOf, unimplemented } from "./status.ts";

/** What of a node the service needs beside its database. */
export interface NativeSupport {
  /** Makes the trees durable in the data file. */
  checkpoint(done: (error: { readonly code: Parameters<typeof statusOf>[0] } | null) => void): void;
  /** The group's clock now, which deadlines are on. */
  clockMs(): number;
}

/** Keys of one page of a scan, and about how long its answer may be. */
const SCAN_KEYS_MAX = 1000;
const SCAN_BYTES = 4 * 1024 * 1024;

interface Message<T> {
  decode(bytes: Uint8Array): T;
  encode(message: T): { finish(): Uint8Array };
}

export function nativeService(
  context: ServiceContext,
  support: NativeSupport | undefined,
): readonly Method[] {
  const { database } = context;
  const clockMs = (): number => support?.clockMs() ?? 0;

  /** A method that is one write: `translate` makes the command, `answer` the response. */
  const write = <Request, Response, Kind extends NativeRequest["kind"]>(
    name: string,
    requests: Message<Request>,
    responses: Message<Response>,
    kind: Kind,
    translate: (request: Request) => Extract<NativeRequest, { readonly kind: Kind }>,
    answer: (outcome: Extract<Outcome, { readonly kind: Kind }>) => Response,
  ): Method =>
    unary(name, (request, call, reply) => {
      database.write(
        translate(decode(requests, request)),
        call,
        context.outcome(kind as never, reply, (outcome) =>
          responses.encode(answer(outcome as never)).finish(),
        ),
      );
    });

  return [
    write(
      "Set",
      wire.SetRequest,
      wire.SetResponse,
      "set",
      ({ key, value, condition, lease, expiry, prev_kv }) => ({
        kind: "set",
        key,
        value,
        condition: conditionOf(condition),
        lease,
        expiry: expiryOf(expiry),
        prevKv: prev_kv,
      }),
      ({ revision, succeeded, prevKv }) => ({
        revision: BigInt(revision),
        succeeded,
        prev_kv: prevKv === null ? undefined : wireKeyValue(prevKv, clockMs()),
      }),
    ),
    write(
      "Incr",
      wire.IncrRequest,
      wire.IncrResponse,
      "incr",
      ({ key, by, min, max, saturate, expiry, expiry_if_none }) => ({
        kind: "incr",
        key,
        by,
        min: min ?? null,
        max: max ?? null,
        saturate,
        expiry: expiry === undefined ? { kind: "keep" } : expiryOf(expiry),
        expiryIfNone: expiry_if_none,
      }),
      ({ revision, value }) => ({ revision: BigInt(revision), value }),
    ),
    write(
      "Append",
      wire.AppendRequest,
      wire.AppendResponse,
      "append",
      ({ key, value }) => ({ kind: "append", key, value }),
      ({ revision, length }) => ({ revision: BigInt(revision), length: BigInt(length) }),
    ),
    write(
      "MSet",
      wire.MSetRequest,
      wire.MSetResponse,
      "mset",
      ({ items, condition, lease, expiry }) => ({
        kind: "mset",
        items,
        // What nobody defined is refused by the database's own check.
        condition: MSET_CONDITIONS[condition] ?? (String(condition) as MSetRequest["condition"]),
        lease,
        expiry: expiryOf(expiry),
      }),
      ({ revision, succeeded }) => ({ revision: BigInt(revision), succeeded }),
    ),
    write(
      "MDel",
      wire.MDelRequest,
      wire.MDelResponse,
      "mdel",
      ({ keys }) => ({ kind: "mdel", keys }),
      ({ revision, deleted }) => ({ revision: BigInt(revision), deleted: BigInt(deleted) }),
    ),
    unary("Expire", (request, call, reply) => {
      const { key, expiry, when, condition } = decode(wire.ExpireRequest, request);
      const until = expiryOf(expiry);
      const which = WHENS[when];
      // Without a time it would be a persist, which nobody asked for.
      if (which === undefined || until.kind === "none" || until.kind === "keep") {
        reply(statusOf(key.length === 0 ? "KEY_EMPTY" : "INVALID_ARGUMENT"), EMPTY_BYTES);
        return;
      }
      database.write(
        {
          kind: "expireKey",
          key,
          expiry: until,
          when: which,
          condition: conditionOf(condition),
          prevKv: false,
        },
        call,
        context.outcome("expireKey", reply, expireResponse),
      );
    }),
    unary("Persist", (request, call, reply) => {
      const { key } = decode(wire.PersistRequest, request);
      database.write(
        {
          kind: "expireKey",
          key,
          expiry: { kind: "none" },
          when: "always",
          condition: null,
          prevKv: false,
        },
        call,
        context.outcome("expireKey", reply, expireResponse),
      );
    }),
    write(
      "Lock",
      wire.LockRequest,
      wire.LockResponse,
      "lock",
      ({ key, token, ttl_ms }) => ({ kind: "lock", key, token, ttlMs: Number(ttl_ms) }),
      ({ revision, acquired, fence, token, leftMs }) => ({
        revision: BigInt(revision),
        acquired,
        fence: BigInt(fence),
        token,
        left_ms: BigInt(Math.max(0, leftMs)),
      }),
    ),
    write(
      "Unlock",
      wire.UnlockRequest,
      wire.UnlockResponse,
      "unlock",
      ({ key, token, fence }) => ({ kind: "unlock", key, token, fence: Number(fence) }),
      ({ revision, released }) => ({ revision: BigInt(revision), released }),
    ),
    write(
      "ExtendLock",
      wire.ExtendLockRequest,
      wire.ExtendLockResponse,
      "extendLock",
      ({ key, token, fence, ttl_ms }) => ({
        kind: "extendLock",
        key,
        token,
        fence: Number(fence),
        ttlMs: Number(ttl_ms),
      }),
      ({ revision, extended, fence }) => ({
        revision: BigInt(revision),
        extended,
        fence: BigInt(fence),
      }),
    ),
    unary("Scan", (request, call, reply) => {
      const { key, range_end, limit, revision } = decode(wire.ScanRequest, request);
      if (limit < 1n) {
        reply(statusOf("INVALID_ARGUMENT"), EMPTY_BYTES);
        return;
      }
      database.range(
        {
          ...POINT,
          key,
          rangeEnd: range_end,
          limit: Math.min(Number(limit), SCAN_KEYS_MAX),
          revision: Number(revision),
          // Who goes on with a scan knows from its first page how much there is.
          uncounted: revision > 0n,
        },
        call,
        context.answer<RangeResponse | Refusal>(reply, (page) => scanResponse(page, clockMs())),
      );
    }),
    unary("Checkpoint", (request, _call, reply) => {
      decode(wire.CheckpointRequest, request);
      if (support === undefined) {
        reply(unimplemented("a checkpoint by request"), EMPTY_BYTES);
        return;
      }
      // What is applied by now is in it; what comes meanwhile may not be.
      const revision = BigInt(database.header.revision);
      support.checkpoint((error) => {
        if (error !== null) {
          reply(statusOf(error.code), EMPTY_BYTES);
          return;
        }
        reply(null, wire.CheckpointResponse.encode({ revision }).finish());
      });
    }),
    unary("MemberReplace", (request, call, reply) => {
      const { id, by } = decode(wire.MemberReplaceRequest, request);
      database.changeMembers(
        { kind: "memberReplace", id, by },
        call,
        context.answer<MembersChanged | Refusal>(reply, () =>
          wire.MemberReplaceResponse.encode({ cluster_id: database.header.clusterId }).finish(),
        ),
      );
    }),
  ];
}

const MSET_CONDITIONS: readonly MSetRequest["condition"][] = ["none", "absent", "present"];
const WHENS: readonly ExpireWhen[] = ["always", "noDeadline", "hasDeadline", "later", "earlier"];

function unary(name: string, handle: UnaryHandler): Method {
  return { kind: "unary", path: `/harmonydb.v1.Native/${name}`, handle };
}

function decode<T>(message: Message<T>, bytes: Uint8Array): T {
  try {
    return message.decode(bytes);
  } catch (error) {
    throw new DecodeError(error instanceof Error ? error.message : String(error), 0);
  }
}

/** A switch that is sent as false says nothing, as if it were not there. */
function conditionOf(condition: wire.Condition | undefined): Condition | null {
  if (condition === undefined) return null;
  if (condition.absent === true) return { kind: "absent" };
  if (condition.present === true) return { kind: "present" };
  if (condition.value !== undefined) return { kind: "value", value: condition.value };
  if (condition.not_value !== undefined) return { kind: "notValue", value: condition.not_value };
  if (condition.revision !== undefined)
    return { kind: "revision", revision: Number(condition.revision) };
  return null;
}

function expiryOf(expiry: wire.Expiry | undefined): Expiry {
  if (expiry?.keep === true) return { kind: "keep" };
  if (expiry?.after_ms !== undefined) return { kind: "after", ttlMs: Number(expiry.after_ms) };
  if (expiry?.at_ms !== undefined) return { kind: "at", atMs: Number(expiry.at_ms) };
  return { kind: "none" };
}

function expireResponse(outcome: Extract<Outcome, { readonly kind: "expireKey" }>): Uint8Array {
  const { revision, succeeded } = outcome;
  return wire.ExpireResponse.encode({ revision: BigInt(revision), succeeded }).finish();
}

function wireKeyValue(kv: KeyValue, clockMs: number): wire.KeyValue {
  return {
    key: kv.key,
    value: kv.value,
    create_revision: BigInt(kv.createRevision),
    mod_revision: BigInt(kv.modRevision),
    version: BigInt(kv.version),
    lease: kv.lease,
    // A key that is due and still there has a little left: 0 would say that it stays.
    ttl_ms: kv.deadlineMs === undefined ? 0n : BigInt(Math.max(1, kv.deadlineMs - clockMs)),
    is_lock: kv.isLock === true,
  };
}

/** Cuts the page after so many bytes: a limit counts keys, and values may be long. */
function scanResponse(page: RangeResponse, clockMs: number): Uint8Array {
  let bytes = 0;
  const kvs: wire.KeyValue[] = [];
  for (const kv of page.kvs) {
    if (bytes >= SCAN_BYTES) break;
    bytes += kv.key.length + kv.value.length;
    kvs.push(wireKeyValue(kv, clockMs));
  }
  return wire.ScanResponse.encode({
    revision: BigInt(page.revision),
    kvs,
    more: page.more || kvs.length < page.kvs.length,
    count: BigInt(page.count),
  }).finish();
}
