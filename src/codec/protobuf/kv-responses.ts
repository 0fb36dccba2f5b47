/**
 * The responses of etcd's KV service, encoded by hand. The shapes are the ones in which the database answers, so
 * that nothing is copied into another object on the way; fields are given last one first (writer.ts).
 */
import { type ResponseHeader, responseWriter, writeHeader } from "./header.ts";
import type { Writer } from "./writer.ts";

export interface WireKeyValue {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  readonly lease: bigint;
}

interface WireRangeResponse {
  readonly kvs: readonly WireKeyValue[];
  readonly more: boolean;
  readonly count: number;
}

interface WirePutResponse {
  readonly prevKv: WireKeyValue | null;
}

interface WireDeleteRangeResponse {
  readonly deleted: number;
  readonly prevKvs: readonly WireKeyValue[];
}

/** One operation's answer in a transaction, with the revision that the store had at that point of it. */
type WireResponseOp =
  | ({ readonly kind: "range"; readonly revision: number } & WireRangeResponse)
  | ({ readonly kind: "put"; readonly revision: number } & WirePutResponse)
  | ({ readonly kind: "deleteRange"; readonly revision: number } & WireDeleteRangeResponse)
  | ({ readonly kind: "txn" } & WireTxnResponse);

interface WireTxnResponse {
  readonly succeeded: boolean;
  readonly responses: readonly WireResponseOp[];
}

export function encodeRangeResponse(
  header: ResponseHeader,
  response: WireRangeResponse,
): Uint8Array {
  const writer = responseWriter.begin();
  writeRangeBody(writer, response);
  writeHeader(writer, header);
  return writer.finish();
}

export function encodePutResponse(header: ResponseHeader, response: WirePutResponse): Uint8Array {
  const writer = responseWriter.begin();
  writePutBody(writer, response);
  writeHeader(writer, header);
  return writer.finish();
}

export function encodeDeleteRangeResponse(
  header: ResponseHeader,
  response: WireDeleteRangeResponse,
): Uint8Array {
  const writer = responseWriter.begin();
  writeDeleteRangeBody(writer, response);
  writeHeader(writer, header);
  return writer.finish();
}

export function encodeTxnResponse(header: ResponseHeader, response: WireTxnResponse): Uint8Array {
  const writer = responseWriter.begin();
  writeTxnBody(writer, response);
  writeHeader(writer, header);
  return writer.finish();
}

function writeRangeBody(writer: Writer, response: WireRangeResponse): void {
  writer.counter(4, response.count);
  writer.bool(3, response.more);
  writeKeyValues(writer, 2, response.kvs);
}

function writePutBody(writer: Writer, response: WirePutResponse): void {
  if (response.prevKv !== null) writeKeyValue(writer, 2, response.prevKv);
}

function writeDeleteRangeBody(writer: Writer, response: WireDeleteRangeResponse): void {
  writeKeyValues(writer, 3, response.prevKvs);
  writer.counter(2, response.deleted);
}

function writeTxnBody(writer: Writer, response: WireTxnResponse): void {
  for (let i = response.responses.length - 1; i >= 0; i--) {
    const before = writer.size;
    writeResponseOp(writer, response.responses[i] as WireResponseOp);
    writer.embed(3, before);
  }
  writer.bool(2, response.succeeded);
}

/** Inside a transaction a header tells the revision only, and that of a nested transaction not even this, as in etcd. */
function writeResponseOp(writer: Writer, op: WireResponseOp): void {
  const before = writer.size;
  switch (op.kind) {
    case "range":
      writeRangeBody(writer, op);
      writeRevision(writer, op.revision);
      writer.embed(1, before);
      break;
    case "put":
      writePutBody(writer, op);
      writeRevision(writer, op.revision);
      writer.embed(2, before);
      break;
    case "deleteRange":
      writeDeleteRangeBody(writer, op);
      writeRevision(writer, op.revision);
      writer.embed(3, before);
      break;
    case "txn":
      writeTxnBody(writer, op);
      writer.embed(1, writer.size);
      writer.embed(4, before);
      break;
  }
}

function writeRevision(writer: Writer, revision: number): void {
  const before = writer.size;
  writer.counter(3, revision);
  writer.embed(1, before);
}

function writeKeyValues(writer: Writer, field: number, kvs: readonly WireKeyValue[]): void {
  for (let i = kvs.length - 1; i >= 0; i--) writeKeyValue(writer, field, kvs[i] as WireKeyValue);
}

export function writeKeyValue(writer: Writer, field: number, kv: WireKeyValue): void {
  const before = writer.size;
  writer.int64(6, kv.lease);
  writer.bytes(5, kv.value);
  writer.counter(4, kv.version);
  writer.counter(3, kv.modRevision);
  writer.counter(2, kv.createRevision);
  writer.bytes(1, kv.key);
  writer.embed(field, before);
}
