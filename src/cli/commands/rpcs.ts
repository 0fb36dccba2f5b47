/** The methods that the commands call. */
import { api, etcd, native } from "../../codec/messages/index.ts";
import type { Codec, Rpc } from "./client.ts";

function rpc<Request, Response>(
  path: string,
  request: Codec<Request>,
  response: Codec<Response>,
): Rpc<Request, Response> {
  return { path, request, response };
}

function read<Request, Response>(
  path: string,
  request: Codec<Request>,
  response: Codec<Response>,
): Rpc<Request, Response> {
  return { path, request, response, isRead: true };
}

const KV = "/etcdserverpb.KV/";
const LEASE = "/etcdserverpb.Lease/";
const CLUSTER = "/etcdserverpb.Cluster/";
const NATIVE = "/harmonydb.v1.Native/";

export const RANGE: Rpc<etcd.RangeRequest, etcd.RangeResponse> = read(
  `${KV}Range`,
  etcd.RangeRequest,
  etcd.RangeResponse,
);
export const PUT: Rpc<etcd.PutRequest, etcd.PutResponse> = rpc(
  `${KV}Put`,
  etcd.PutRequest,
  etcd.PutResponse,
);
export const DELETE_RANGE: Rpc<etcd.DeleteRangeRequest, etcd.DeleteRangeResponse> = rpc(
  `${KV}DeleteRange`,
  etcd.DeleteRangeRequest,
  etcd.DeleteRangeResponse,
);
export const TXN: Rpc<etcd.TxnRequest, etcd.TxnResponse> = rpc(
  `${KV}Txn`,
  etcd.TxnRequest,
  etcd.TxnResponse,
);
export const COMPACT: Rpc<etcd.CompactionRequest, etcd.CompactionResponse> = rpc(
  `${KV}Compact`,
  etcd.CompactionRequest,
  etcd.CompactionResponse,
);
export const LEASE_GRANT: Rpc<etcd.LeaseGrantRequest, etcd.LeaseGrantResponse> = rpc(
  `${LEASE}LeaseGrant`,
  etcd.LeaseGrantRequest,
  etcd.LeaseGrantResponse,
);
export const LEASE_REVOKE: Rpc<etcd.LeaseRevokeRequest, etcd.LeaseRevokeResponse> = rpc(
  `${LEASE}LeaseRevoke`,
  etcd.LeaseRevokeRequest,
  etcd.LeaseRevokeResponse,
);
export const LEASE_KEEP_ALIVE: Rpc<etcd.LeaseKeepAliveRequest, etcd.LeaseKeepAliveResponse> = rpc(
  `${LEASE}LeaseKeepAlive`,
  etcd.LeaseKeepAliveRequest,
  etcd.LeaseKeepAliveResponse,
);
export const LEASE_TIME_TO_LIVE: Rpc<etcd.LeaseTimeToLiveRequest, etcd.LeaseTimeToLiveResponse> =
  read(`${LEASE}LeaseTimeToLive`, etcd.LeaseTimeToLiveRequest, etcd.LeaseTimeToLiveResponse);
export const LEASE_LEASES: Rpc<etcd.LeaseLeasesRequest, etcd.LeaseLeasesResponse> = read(
  `${LEASE}LeaseLeases`,
  etcd.LeaseLeasesRequest,
  etcd.LeaseLeasesResponse,
);
export const WATCH: Rpc<etcd.WatchRequest, etcd.WatchResponse> = rpc(
  "/etcdserverpb.Watch/Watch",
  etcd.WatchRequest,
  etcd.WatchResponse,
);
export const STATUS: Rpc<etcd.StatusRequest, etcd.StatusResponse> = read(
  "/etcdserverpb.Maintenance/Status",
  etcd.StatusRequest,
  etcd.StatusResponse,
);
export const MOVE_LEADER: Rpc<etcd.MoveLeaderRequest, etcd.MoveLeaderResponse> = rpc(
  "/etcdserverpb.Maintenance/MoveLeader",
  etcd.MoveLeaderRequest,
  etcd.MoveLeaderResponse,
);
export const MEMBER_LIST: Rpc<etcd.MemberListRequest, etcd.MemberListResponse> = read(
  `${CLUSTER}MemberList`,
  etcd.MemberListRequest,
  etcd.MemberListResponse,
);
export const MEMBER_ADD: Rpc<etcd.MemberAddRequest, etcd.MemberAddResponse> = rpc(
  `${CLUSTER}MemberAdd`,
  etcd.MemberAddRequest,
  etcd.MemberAddResponse,
);
export const MEMBER_REMOVE: Rpc<etcd.MemberRemoveRequest, etcd.MemberRemoveResponse> = rpc(
  `${CLUSTER}MemberRemove`,
  etcd.MemberRemoveRequest,
  etcd.MemberRemoveResponse,
);
export const MEMBER_UPDATE: Rpc<etcd.MemberUpdateRequest, etcd.MemberUpdateResponse> = rpc(
  `${CLUSTER}MemberUpdate`,
  etcd.MemberUpdateRequest,
  etcd.MemberUpdateResponse,
);
export const MEMBER_PROMOTE: Rpc<etcd.MemberPromoteRequest, etcd.MemberPromoteResponse> = rpc(
  `${CLUSTER}MemberPromote`,
  etcd.MemberPromoteRequest,
  etcd.MemberPromoteResponse,
);
export const HASH_KV: Rpc<etcd.HashKVRequest, etcd.HashKVResponse> = read(
  "/etcdserverpb.Maintenance/HashKV",
  etcd.HashKVRequest,
  etcd.HashKVResponse,
);
export const ALARM: Rpc<etcd.AlarmRequest, etcd.AlarmResponse> = rpc(
  "/etcdserverpb.Maintenance/Alarm",
  etcd.AlarmRequest,
  etcd.AlarmResponse,
);
export const SNAPSHOT: Rpc<etcd.SnapshotRequest, etcd.SnapshotResponse> = read(
  "/etcdserverpb.Maintenance/Snapshot",
  etcd.SnapshotRequest,
  etcd.SnapshotResponse,
);
export const REPORT: Rpc<api.ReportRequest, api.ReportResponse> = read(
  "/harmonydb.v1.Api/Report",
  api.ReportRequest,
  api.ReportResponse,
);
export const INCR: Rpc<native.IncrRequest, native.IncrResponse> = rpc(
  `${NATIVE}Incr`,
  native.IncrRequest,
  native.IncrResponse,
);
export const MSET: Rpc<native.MSetRequest, native.MSetResponse> = rpc(
  `${NATIVE}MSet`,
  native.MSetRequest,
  native.MSetResponse,
);
export const LOCK: Rpc<native.LockRequest, native.LockResponse> = rpc(
  `${NATIVE}Lock`,
  native.LockRequest,
  native.LockResponse,
);
export const UNLOCK: Rpc<native.UnlockRequest, native.UnlockResponse> = rpc(
  `${NATIVE}Unlock`,
  native.UnlockRequest,
  native.UnlockResponse,
);
export const EXTEND_LOCK: Rpc<native.ExtendLockRequest, native.ExtendLockResponse> = rpc(
  `${NATIVE}ExtendLock`,
  native.ExtendLockRequest,
  native.ExtendLockResponse,
);
export const SCAN: Rpc<native.ScanRequest, native.ScanResponse> = rpc(
  `${NATIVE}Scan`,
  native.ScanRequest,
  native.ScanResponse,
);
export const CHECKPOINT: Rpc<native.CheckpointRequest, native.CheckpointResponse> = rpc(
  `${NATIVE}Checkpoint`,
  native.CheckpointRequest,
  native.CheckpointResponse,
);
export const MEMBER_REPLACE: Rpc<native.MemberReplaceRequest, native.MemberReplaceResponse> = rpc(
  `${NATIVE}MemberReplace`,
  native.MemberReplaceRequest,
  native.MemberReplaceResponse,
);
