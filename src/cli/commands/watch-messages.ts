/** etcdserverpb.Watch, as far as a client needs it that opens one watch on a stream. */
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { etcd, kv as mvcc } from "../../codec/messages/index.ts";
import type { Codec, Rpc } from "./client.ts";

export interface WatchCreate {
  readonly key: Uint8Array;
  readonly range_end: Uint8Array;
  readonly start_revision: bigint;
  readonly progress_notify: boolean;
  readonly prev_kv: boolean;
}

export interface WatchEvent {
  /** 0: put, 1: delete. */
  readonly type: number;
  readonly kv: mvcc.KeyValue | undefined;
  readonly prev_kv: mvcc.KeyValue | undefined;
}

export interface WatchAnswer {
  header: etcd.ResponseHeader | undefined;
  watch_id: bigint;
  created: boolean;
  canceled: boolean;
  compact_revision: bigint;
  cancel_reason: string;
  events: WatchEvent[];
}

const request: Codec<WatchCreate> = {
  encode(create) {
    const writer = new BinaryWriter().uint32(10).fork();
    writer.uint32(10).bytes(create.key);
    if (create.range_end.length > 0) writer.uint32(18).bytes(create.range_end);
    if (create.start_revision !== 0n) writer.uint32(24).int64(create.start_revision);
    if (create.progress_notify) writer.uint32(32).bool(true);
    if (create.prev_kv) writer.uint32(48).bool(true);
    return writer.join();
  },
  decode() {
    throw new Error("a client never reads the request of a watch");
  },
};

const response: Codec<WatchAnswer> = {
  encode() {
    throw new Error("a client never writes the answer of a watch");
  },
  decode(bytes) {
    const reader = new BinaryReader(bytes);
    const answer: WatchAnswer = {
      header: undefined,
      watch_id: 0n,
      created: false,
      canceled: false,
      compact_revision: 0n,
      cancel_reason: "",
      events: [],
    };
    while (reader.pos < reader.len) {
      const tag = reader.uint32();
      if (tag === 10) answer.header = etcd.ResponseHeader.decode(reader.bytes());
      else if (tag === 16) answer.watch_id = BigInt(reader.int64());
      else if (tag === 24) answer.created = reader.bool();
      else if (tag === 32) answer.canceled = reader.bool();
      else if (tag === 40) answer.compact_revision = BigInt(reader.int64());
      else if (tag === 50) answer.cancel_reason = reader.string();
      else if (tag === 90) answer.events.push(decodeEvent(reader.bytes()));
      else reader.skip(tag & 7);
    }
    return answer;
  },
};

function decodeEvent(bytes: Uint8Array): WatchEvent {
  const reader = new BinaryReader(bytes);
  let type = 0;
  let kv: mvcc.KeyValue | undefined;
  let prev_kv: mvcc.KeyValue | undefined;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === 8) type = reader.int32();
    else if (tag === 18) kv = mvcc.KeyValue.decode(reader.bytes());
    else if (tag === 26) prev_kv = mvcc.KeyValue.decode(reader.bytes());
    else reader.skip(tag & 7);
  }
  return { type, kv, prev_kv };
}

export const WATCH: Rpc<WatchCreate, WatchAnswer> = {
  path: "/etcdserverpb.Watch/Watch",
  request,
  response,
};
