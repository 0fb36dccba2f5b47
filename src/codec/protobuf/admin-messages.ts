/** The messages of etcd's Cluster and Maintenance services, as far as they are served. */
import { utf8 } from "../../base/index.ts";
import { type ResponseHeader, responseWriter, writeHeader } from "./header.ts";
import { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

export interface WireMember {
  readonly id: bigint;
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  readonly isLearner: boolean;
}

export interface WireAlarmRequest {
  /** 0 get, 1 activate, 2 deactivate. */
  readonly action: number;
  readonly memberId: bigint;
  /** 0 every kind, 1 no space, 2 corrupt. */
  readonly alarm: number;
}

export interface WireStatus {
  readonly version: string;
  readonly sizeBytes: number;
  readonly leader: bigint;
  readonly raftIndex: number;
  readonly raftTerm: number;
  readonly raftAppliedIndex: number;
  readonly errors: readonly string[];
  readonly sizeInUseBytes: number;
  readonly isLearner: boolean;
  readonly storageVersion: string;
  readonly quotaBytes: number;
}

/** For requests that say nothing, or nothing that matters here: checks that the bytes are a message. */
export function checkEmptyRequest(message: Uint8Array): void {
  const reader = new Reader(message);
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) reader.skip(tag, 0);
}

/** The revision whose keys are to be hashed; 0: the latest. */
export function decodeHashKvRequest(message: Uint8Array): number {
  const reader = new Reader(message);
  let revision = 0;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) revision = reader.counter();
    else reader.skip(tag, 1);
  }
  return revision;
}

/** As etcd's a store that was never compacted says -1 of that. */
export function encodeHashKvResponse(
  header: ResponseHeader,
  answer: { readonly hash: number; readonly compactRevision: number; readonly revision: number },
): Uint8Array {
  const writer = responseWriter.begin();
  writer.counter(4, answer.revision);
  writer.int64(3, answer.compactRevision === 0 ? -1n : BigInt(answer.compactRevision));
  writer.counter(2, answer.hash);
  writeHeader(writer, header);
  return writer.finish();
}

/** Whether the list is to be read through the leader. */
export function decodeMemberListRequest(message: Uint8Array): boolean {
  const reader = new Reader(message);
  let linearizable = false;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) linearizable = reader.bool();
    else reader.skip(tag, 1);
  }
  return linearizable;
}

/** Also the answer to every change of the members but an addition. */
export function encodeMemberListResponse(
  header: ResponseHeader,
  members: readonly WireMember[],
): Uint8Array {
  const writer = responseWriter.begin();
  for (const member of members.toReversed()) writeMember(writer, 2, member);
  writeHeader(writer, header);
  return writer.finish();
}

export function encodeMemberAddResponse(
  header: ResponseHeader,
  added: WireMember,
  members: readonly WireMember[],
): Uint8Array {
  const writer = responseWriter.begin();
  for (const member of members.toReversed()) writeMember(writer, 3, member);
  writeMember(writer, 2, added);
  writeHeader(writer, header);
  return writer.finish();
}

function writeMember(writer: Writer, field: number, member: WireMember): void {
  const before = writer.size;
  writer.bool(5, member.isLearner);
  for (const url of member.clientUrls.toReversed()) writer.repeatedBytes(4, utf8(url));
  for (const url of member.peerUrls.toReversed()) writer.repeatedBytes(3, utf8(url));
  writer.string(2, member.name);
  writer.int64(1, member.id);
  writer.embed(field, before);
}

export interface WireMemberAdd {
  readonly peerUrls: readonly string[];
  readonly isLearner: boolean;
}

export function decodeMemberAddRequest(message: Uint8Array): WireMemberAdd {
  const reader = new Reader(message);
  const peerUrls: string[] = [];
  let isLearner = false;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x0a) peerUrls.push(reader.string());
    else if (tag === 0x10) isLearner = reader.bool();
    else reader.skip(tag, 2);
  }
  return { peerUrls, isLearner };
}

/** Of MemberRemove, MemberPromote and MoveLeader: they name a member and nothing else. */
export function decodeMemberIdRequest(message: Uint8Array): bigint {
  return decodeMemberUpdateRequest(message).id;
}

export function decodeMemberUpdateRequest(message: Uint8Array): {
  readonly id: bigint;
  readonly peerUrls: readonly string[];
} {
  const reader = new Reader(message);
  const peerUrls: string[] = [];
  let id = 0n;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) id = BigInt.asUintN(64, reader.int64());
    else if (tag === 0x12) peerUrls.push(reader.string());
    else reader.skip(tag, 2);
  }
  return { id, peerUrls };
}

export function decodeAlarmRequest(message: Uint8Array): WireAlarmRequest {
  const reader = new Reader(message);
  let action = 0;
  let memberId = 0n;
  let alarm = 0;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) action = reader.enumeration();
    else if (tag === 0x10) memberId = BigInt.asUintN(64, reader.int64());
    else if (tag === 0x18) alarm = reader.enumeration();
    else reader.skip(tag, 3);
  }
  return { action, memberId, alarm };
}

export function encodeStatusResponse(header: ResponseHeader, status: WireStatus): Uint8Array {
  const writer = responseWriter.begin();
  writer.counter(12, status.quotaBytes);
  writer.string(11, status.storageVersion);
  writer.bool(10, status.isLearner);
  writer.counter(9, status.sizeInUseBytes);
  for (const error of status.errors.toReversed()) writer.repeatedBytes(8, utf8(error));
  writer.counter(7, status.raftAppliedIndex);
  writer.counter(6, status.raftTerm);
  writer.counter(5, status.raftIndex);
  writer.int64(4, status.leader);
  writer.counter(3, status.sizeBytes);
  writer.string(2, status.version);
  writeHeader(writer, header);
  return writer.finish();
}

const ALARM_NUMBERS: Readonly<Record<WireAlarm["alarm"], number>> = {
  NOSPACE: 1,
  CORRUPT: 2,
};

export interface WireAlarm {
  readonly memberId: bigint;
  readonly alarm: "NOSPACE" | "CORRUPT";
}

/** An AlarmResponse without a header, as etcd sends it. */
export function encodeAlarms(alarms: readonly WireAlarm[]): Uint8Array {
  const writer = responseWriter.begin();
  for (const { memberId, alarm } of alarms.toReversed()) {
    const before = writer.size;
    writer.counter(2, ALARM_NUMBERS[alarm]);
    writer.int64(1, memberId);
    writer.embed(2, before);
  }
  return writer.finish();
}

/** A piece of a snapshot's stream. */
export interface WireSnapshot {
  /** How many bytes follow after these. */
  readonly remainingBytes: number;
  readonly blob: Uint8Array;
  readonly version: string;
}

/** Without a header, as etcd sends it. */
export function encodeSnapshotResponse(snapshot: WireSnapshot): Uint8Array {
  const writer = responseWriter.begin();
  writer.string(4, snapshot.version);
  writer.bytes(3, snapshot.blob);
  writer.counter(2, snapshot.remainingBytes);
  return writer.finish();
}
