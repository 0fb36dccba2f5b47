/**
 * The second door of the codec: whole messages as the generated code reads and writes them, in both directions, for
 * programs that are clients. It is a door of its own because a server that never speaks as a client has no use for it.
 */
export * as etcd from "../protobuf/gen/etcdserverpb/rpc.ts";
export * as kv from "../protobuf/gen/mvccpb/kv.ts";
export * as api from "../protobuf/gen/harmonydb/api.ts";
export * as native from "../protobuf/gen/harmonydb/native.ts";
