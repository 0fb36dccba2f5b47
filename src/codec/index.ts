/**
 * L3, the wire formats, as pure functions between bytes and plain data. `protobuf/` holds the messages of the etcd v3
 * services (proto/ declares them), of gRPC health, and those between members, Raft's among them; `http2/` is the server's side of HTTP/2 and gRPC's messages on it.
 *
 * Why by hand: these functions run for every request, and the generated ones take five to fifty times as long and
 * allocate in proportion. The generated code (`protobuf/gen`, by scripts/gen-proto.sh) is the oracle of the property
 * tests; clients use it (`messages/index.ts`), and the server for our own service. What both agree on is the bytes.
 *
 * Invariants:
 * - Decoding is total: any bytes give a message or a DecodeError, in time and memory linear in their length and in
 *   bounded stack. Unknown fields are skipped, unknown enum values are kept, a known field with a wrong wire type is
 *   an error.
 * - Decoded bytes fields are views of the input.
 * - Ids keep 64 bits (bigint). Counters (revisions, versions, limits) are safe integers; a larger one on the wire
 *   becomes the nearest safe integer, which compares with every real counter as the exact value does.
 * - What an encoder returns is never written to again.
 *
 * Left out: the client's direction by hand (encode requests, decode responses); translation to
 * the database's vocabulary, which is the doors' part. Rules: fault-rules U6, U7; etcd-api 2.1.
 */
export {
  Allowance,
  type CallListener,
  GrpcCall,
  HeldRoom,
  HTTP2_LIMITS,
  Http2Connection,
  type Http2Limits,
  type Http2Stream,
  isGrpc,
  MessageReader,
  metadataValue,
  parseTimeout,
  type RequestHead,
  type StreamListener,
} from "./http2/index.ts";
export {
  checkEmptyRequest,
  decodeAlarmRequest,
  encodeAlarms,
  decodeMemberAddRequest,
  decodeMemberIdRequest,
  decodeMemberListRequest,
  decodeMemberUpdateRequest,
  encodeMemberAddResponse,
  decodeHashKvRequest,
  encodeHashKvResponse,
  encodeMemberListResponse,
  encodeSnapshotResponse,
  encodeStatusResponse,
  type WireAlarmRequest,
  type WireMember,
  type WireSnapshot,
  type WireStatus,
} from "./protobuf/admin-messages.ts";
export {
  encodeHeaderOnlyResponse,
  type ResponderId,
  responderId,
  type ResponseHeader,
} from "./protobuf/header.ts";
export {
  decodeHealthCheckRequest,
  encodeHealthCheckResponse,
  type ServingStatus,
} from "./protobuf/health-messages.ts";
export {
  decodeCompactRequest,
  decodeDeleteRangeRequest,
  decodePutRequest,
  decodeRangeRequest,
  decodeTxnRequest,
  type WireCompact,
  type WireCompare,
  type WireDeleteRange,
  type WirePut,
  type WireRange,
  type WireRequestOp,
  type WireTxn,
} from "./protobuf/kv-requests.ts";
export {
  encodeDeleteRangeResponse,
  encodePutResponse,
  encodeRangeResponse,
  encodeTxnResponse,
} from "./protobuf/kv-responses.ts";
export {
  decodeLeaseGrantRequest,
  decodeLeaseIdRequest,
  decodeLeaseTimeToLiveRequest,
  encodeLeaseLeasesResponse,
  encodeLeaseTimeToLiveResponse,
  encodeLeaseTtlResponse,
  type WireLeaseGrant,
  type WireLeaseTimeToLive,
} from "./protobuf/lease-messages.ts";
export {
  type Batch,
  BATCH_ITEMS_MAX,
  decodePeerFrame,
  encodeBatchFrame,
  encodePeerFrame,
  type Hello,
  type JoinInfo,
  type JoinMember,
  PEER_FRAME_BYTES_MAX,
  type PeerFrame,
  type PeerPurpose,
  type PeerRefusal,
  type Welcome,
} from "./protobuf/peer-frames.ts";
export {
  type Declined,
  decodePeerItem,
  encodePeerItem,
  type Forward,
  FORWARDED_COMMANDS_MAX,
  type ForwardedCommand,
  type PeerItem,
  type Placed,
  type QuarantineItem,
  type RoomItem,
  type StateHashItem,
} from "./protobuf/peer-items.ts";
export { DecodeError } from "./protobuf/reader.ts";
export type { SnapshotFrame } from "./protobuf/snapshot-frames.ts";
/** HarmonyDB's own service: off the hot path of etcd's clients, so the generated code does. */
export * as nativeMessages from "./protobuf/gen/harmonydb/native.ts";
/** What `connect` speaks, both directions. */
export * as apiMessages from "./protobuf/gen/harmonydb/api.ts";
export {
  decodeWatchRequest,
  encodeWatchResponse,
  type WireEvent,
  type WireWatchCreate,
  type WireWatchRequest,
  type WireWatchResponse,
} from "./protobuf/watch-messages.ts";
