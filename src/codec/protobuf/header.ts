/** The header that every etcd response carries. */
import { Writer } from "./writer.ts";

/** The one writer of all etcd responses: encoders run to completion, so they can share its memory. */
export const responseWriter: Writer = new Writer();

/**
 * Who answers, encoded once, since two 64-bit ids cost more to encode than the rest of a small response and do not
 * change while a node lives.
 */
export interface ResponderId {
  readonly encoded: Uint8Array;
}

export function responderId(clusterId: bigint, memberId: bigint): ResponderId {
  const writer = new Writer().begin();
  writer.int64(2, memberId);
  writer.int64(1, clusterId);
  return { encoded: writer.finish().slice() };
}

export interface ResponseHeader {
  readonly responder: ResponderId;
  /** 0 where the protocol leaves it out: responses that do not look at the store. */
  readonly revision: number;
  readonly raftTerm: number;
}

/** Writes `header` as field 1 of a response. */
export function writeHeader(writer: Writer, header: ResponseHeader): void {
  const before = writer.size;
  writer.counter(4, header.raftTerm);
  writer.counter(3, header.revision);
  writer.raw(header.responder.encoded);
  writer.embed(1, before);
}

/** A response that is nothing but its header: Compact, LeaseRevoke. */
export function encodeHeaderOnlyResponse(header: ResponseHeader): Uint8Array {
  const writer = responseWriter.begin();
  writeHeader(writer, header);
  return writer.finish();
}
