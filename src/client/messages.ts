/** Requests and answers as the messages of harmonydb.v1.Api. */
import { EMPTY_BYTES } from "../base/index.ts";
import { apiMessages as wire } from "../codec/index.ts";
import type {
  KeyValue,
  MemberInfo,
  MemberRequest,
  RangeRequest,
  RangeResponse,
  WatchEvent,
} from "../db/index.ts";

export const API = "/harmonydb.v1.Api/";

/** What all reads have. */
const READ: wire.ReadRequest = {
  key: EMPTY_BYTES,
  range_end: EMPTY_BYTES,
  points: [],
  limit: 0n,
  revision: 0n,
  descend: false,
  serializable: false,
  keys_only: false,
  count_only: false,
  timeout_ms: 0n,
};

export function readRequest(request: RangeRequest): wire.ReadRequest {
  return {
    ...READ,
    key: request.key,
    range_end: request.rangeEnd,
    limit: BigInt(request.limit),
    revision: BigInt(Math.max(0, request.revision)),
    descend: request.sortOrder === "descend",
    serializable: request.serializable,
    keys_only: request.keysOnly,
    count_only: request.countOnly,
  };
}

/** Single keys, read as `request` says but for its key. */
export function pointsRequest(
  request: RangeRequest,
  points: readonly Uint8Array[],
): wire.ReadRequest {
  return { ...readRequest(request), key: EMPTY_BYTES, points: [...points] };
}

export function rangeResponse(response: wire.ReadResponse): RangeResponse {
  return {
    kind: "range",
    revision: Number(response.revision),
    kvs: response.entries.map(keyValueOf),
    more: response.more,
    count: Number(response.count),
  };
}

/** Its bytes belong to whoever gets it. */
export function keyValueOf(entry: wire.Entry): KeyValue {
  const plain: KeyValue = {
    key: ownOf(entry.key),
    value: ownOf(entry.value),
    createRevision: Number(entry.create_revision),
    modRevision: Number(entry.mod_revision),
    version: Number(entry.version),
    lease: entry.lease,
  };
  if (entry.deadline_ms === 0n) return plain;
  const deadlineMs = Number(entry.deadline_ms);
  return entry.is_lock ? { ...plain, deadlineMs, isLock: true } : { ...plain, deadlineMs };
}

/** Read from a Buffer they would be Buffers, which a program does not expect. */
function ownOf(bytes: Uint8Array): Uint8Array {
  const own = new Uint8Array(bytes.length);
  own.set(bytes);
  return own;
}

const CAUSES: readonly ("client" | "expired" | "lease")[] = ["client", "expired", "lease"];

export function eventOf({ is_delete, entry, prev, cause }: wire.ApiEvent): WatchEvent {
  return {
    type: is_delete ? "delete" : "put",
    kv: keyValueOf(entry ?? wire.Entry.decode(EMPTY_BYTES)),
    prevKv: prev === undefined ? null : keyValueOf(prev),
    cause: is_delete ? (CAUSES[cause] ?? "client") : null,
  };
}

export function memberOf(member: wire.Member): MemberInfo {
  const { id, name, peer_urls: peerUrls, client_urls: clientUrls, is_learner: isLearner } = member;
  return { id, name, peerUrls, clientUrls, isLearner };
}

const { ChangeMembersRequest_Kind: ChangeKind } = wire;

/** But for the times of the call. */
export function changeRequest(
  request: MemberRequest,
): Omit<wire.ChangeMembersRequest, "timeout_ms" | "patience_ms"> {
  const none = { id: 0n, by: 0n, peer_urls: [] };
  switch (request.kind) {
    case "memberAdd": {
      const kind = request.isLearner ? ChangeKind.ADD_LEARNER : ChangeKind.ADD;
      return { ...none, kind, peer_urls: [...request.peerUrls] };
    }
    case "memberPromote":
      return { ...none, kind: ChangeKind.PROMOTE, id: request.id };
    case "memberRemove":
      return { ...none, kind: ChangeKind.REMOVE, id: request.id };
    case "memberUpdate": {
      const { id, peerUrls } = request;
      return { ...none, kind: ChangeKind.UPDATE, id, peer_urls: [...peerUrls] };
    }
    case "memberReplace":
      return { ...none, kind: ChangeKind.REPLACE, id: request.id, by: request.by };
  }
}
