/**
 * The messages of etcd's Watch service. Responses with events are the ones that matter for speed: they are written in
 * one pass from the shapes in which the database tells of changes.
 */
import { EMPTY_BYTES } from "../../base/index.ts";
import { type ResponseHeader, responseWriter, writeHeader } from "./header.ts";
import { type WireKeyValue, writeKeyValue } from "./kv-responses.ts";
import { Reader } from "./reader.ts";

export interface WireWatchCreate {
  readonly kind: "create";
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
  readonly startRevision: number;
  readonly progressNotify: boolean;
  readonly noPut: boolean;
  readonly noDelete: boolean;
  readonly prevKv: boolean;
  readonly watchId: bigint;
  readonly fragment: boolean;
}

/** `unset`: nothing, or something that this version does not know. */
export type WireWatchRequest =
  | WireWatchCreate
  | { readonly kind: "cancel"; readonly watchId: bigint }
  | { readonly kind: "progress" }
  | { readonly kind: "unset" };

export interface WireEvent {
  readonly type: "put" | "delete";
  readonly kv: WireKeyValue;
  readonly prevKv: WireKeyValue | null;
}

export interface WireWatchResponse {
  readonly watchId: bigint;
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly compactRevision?: number;
  readonly cancelReason?: string;
  readonly fragment?: boolean;
  readonly events?: readonly WireEvent[];
}

const FILTER_NOPUT = 0;
const FILTER_NODELETE = 1;
const TYPE_DELETE = 1;

/** Of several members of the union the last one counts. */
export function decodeWatchRequest(message: Uint8Array): WireWatchRequest {
  const reader = new Reader(message);
  let request: WireWatchRequest = { kind: "unset" };
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag !== 0x0a && tag !== 0x12 && tag !== 0x1a) {
      reader.skip(tag, 3);
      continue;
    }
    const outerEnd = reader.enter();
    if (tag === 0x0a) request = readCreate(reader);
    else if (tag === 0x12) request = readCancel(reader);
    else request = readProgress(reader);
    reader.leave(outerEnd);
  }
  return request;
}

function readCreate(reader: Reader): WireWatchCreate {
  let key = EMPTY_BYTES;
  let rangeEnd = EMPTY_BYTES;
  let startRevision = 0;
  let progressNotify = false;
  let noPut = false;
  let noDelete = false;
  let prevKv = false;
  let watchId = 0n;
  let fragment = false;
  // Filters that nobody defined are none.
  const filter = (): void => {
    const value = reader.enumeration();
    if (value === FILTER_NOPUT) noPut = true;
    else if (value === FILTER_NODELETE) noDelete = true;
  };
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    switch (tag) {
      case 0x0a:
        key = reader.bytes();
        break;
      case 0x12:
        rangeEnd = reader.bytes();
        break;
      case 0x18:
        startRevision = reader.counter();
        break;
      case 0x20:
        progressNotify = reader.bool();
        break;
      case 0x28:
        filter();
        break;
      case 0x2a: {
        // Packed: one after the other, as newer clients send them.
        const outerEnd = reader.enter();
        while (!reader.isAtEnd) filter();
        reader.leave(outerEnd);
        break;
      }
      case 0x30:
        prevKv = reader.bool();
        break;
      case 0x38:
        watchId = reader.int64();
        break;
      case 0x40:
        fragment = reader.bool();
        break;
      default:
        reader.skip(tag, 8);
    }
  }
  return {
    kind: "create",
    key,
    rangeEnd,
    startRevision,
    progressNotify,
    noPut,
    noDelete,
    prevKv,
    watchId,
    fragment,
  };
}

function readCancel(reader: Reader): WireWatchRequest {
  let watchId = 0n;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) watchId = reader.int64();
    else reader.skip(tag, 1);
  }
  return { kind: "cancel", watchId };
}

function readProgress(reader: Reader): WireWatchRequest {
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) reader.skip(tag, 0);
  return { kind: "progress" };
}

/** `from` and `to` choose among the events; all of them by default. */
export function encodeWatchResponse(
  header: ResponseHeader,
  response: WireWatchResponse,
  from = 0,
  to: number = response.events?.length ?? 0,
): Uint8Array {
  const writer = responseWriter.begin();
  for (let i = to - 1; i >= from; i--) {
    const { type, kv, prevKv } = (response.events as readonly WireEvent[])[i] as WireEvent;
    const before = writer.size;
    if (prevKv !== null) writeKeyValue(writer, 3, prevKv);
    writeKeyValue(writer, 2, kv);
    if (type === "delete") writer.counter(1, TYPE_DELETE);
    writer.embed(11, before);
  }
  writer.bool(7, response.fragment === true);
  writer.string(6, response.cancelReason ?? "");
  writer.counter(5, response.compactRevision ?? 0);
  writer.bool(4, response.canceled === true);
  writer.bool(3, response.created === true);
  writer.int64(2, response.watchId);
  writeHeader(writer, header);
  return writer.finish();
}
