/** The messages of etcd's Lease service. Ids and TTLs keep all 64 bits (fault-rules U7). */
import { type ResponseHeader, responseWriter, writeHeader } from "./header.ts";
import { Reader } from "./reader.ts";

export interface WireLeaseGrant {
  readonly ttlSeconds: bigint;
  readonly id: bigint;
}

export interface WireLeaseTimeToLive {
  readonly id: bigint;
  readonly keys: boolean;
}

export function decodeLeaseGrantRequest(message: Uint8Array): WireLeaseGrant {
  const reader = new Reader(message);
  let ttlSeconds = 0n;
  let id = 0n;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) ttlSeconds = reader.int64();
    else if (tag === 0x10) id = reader.int64();
    else reader.skip(tag, 2);
  }
  return { ttlSeconds, id };
}

/** LeaseRevokeRequest and LeaseKeepAliveRequest are the same on the wire: an id. */
export function decodeLeaseIdRequest(message: Uint8Array): bigint {
  const reader = new Reader(message);
  let id = 0n;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) id = reader.int64();
    else reader.skip(tag, 1);
  }
  return id;
}

export function decodeLeaseTimeToLiveRequest(message: Uint8Array): WireLeaseTimeToLive {
  const reader = new Reader(message);
  let id = 0n;
  let keys = false;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) id = reader.int64();
    else if (tag === 0x10) keys = reader.bool();
    else reader.skip(tag, 2);
  }
  return { id, keys };
}

/** LeaseGrantResponse and LeaseKeepAliveResponse are the same on the wire. */
export function encodeLeaseTtlResponse(
  header: ResponseHeader,
  id: bigint,
  ttlSeconds: bigint,
): Uint8Array {
  const writer = responseWriter.begin();
  writer.int64(3, ttlSeconds);
  writer.int64(2, id);
  writeHeader(writer, header);
  return writer.finish();
}

export function encodeLeaseTimeToLiveResponse(
  header: ResponseHeader,
  id: bigint,
  status: {
    readonly ttlSeconds: bigint;
    readonly grantedTtlSeconds: bigint;
    readonly keys: readonly Uint8Array[];
  },
): Uint8Array {
  const writer = responseWriter.begin();
  for (let i = status.keys.length - 1; i >= 0; i--)
    writer.repeatedBytes(5, status.keys[i] as Uint8Array);
  writer.int64(4, status.grantedTtlSeconds);
  writer.int64(3, status.ttlSeconds);
  writer.int64(2, id);
  writeHeader(writer, header);
  return writer.finish();
}

export function encodeLeaseLeasesResponse(
  header: ResponseHeader,
  ids: readonly bigint[],
): Uint8Array {
  const writer = responseWriter.begin();
  for (let i = ids.length - 1; i >= 0; i--) {
    const before = writer.size;
    writer.int64(1, ids[i] as bigint);
    writer.embed(2, before);
  }
  writeHeader(writer, header);
  return writer.finish();
}
