/**
 * The requests of etcd's KV service, decoded by hand: every write passes here. Shapes follow proto/etcdserverpb with
 * names in our spelling; enums stay the numbers that were sent, since refusing an unknown one is validation's part.
 */
import { EMPTY_BYTES } from "../../base/index.ts";
import { Reader } from "./reader.ts";

export interface WireRange {
  readonly kind: "range";
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
  readonly limit: number;
  readonly revision: number;
  readonly sortOrder: number;
  readonly sortTarget: number;
  readonly serializable: boolean;
  readonly keysOnly: boolean;
  readonly countOnly: boolean;
  readonly minModRevision: number;
  readonly maxModRevision: number;
  readonly minCreateRevision: number;
  readonly maxCreateRevision: number;
}

export interface WirePut {
  readonly kind: "put";
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly lease: bigint;
  readonly prevKv: boolean;
  readonly ignoreValue: boolean;
  readonly ignoreLease: boolean;
}

export interface WireDeleteRange {
  readonly kind: "deleteRange";
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
  readonly prevKv: boolean;
}

/** What a compare's union holds. Nothing ties it to the target: a mismatch counts as the target's zero. */
type WireCompareUnion =
  | { readonly member: "none" }
  | { readonly member: "version" | "create" | "mod"; readonly number: number }
  | { readonly member: "value"; readonly bytes: Uint8Array }
  | { readonly member: "lease"; readonly lease: bigint };

export interface WireCompare {
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
  readonly result: number;
  readonly target: number;
  readonly union: WireCompareUnion;
}

export interface WireTxn {
  readonly kind: "txn";
  readonly compare: readonly WireCompare[];
  readonly success: readonly WireRequestOp[];
  readonly failure: readonly WireRequestOp[];
}

/** `unset`: an operation with nothing in it, or with something that this version does not know. */
export type WireRequestOp =
  | WireRange
  | WirePut
  | WireDeleteRange
  | WireTxn
  | { readonly kind: "unset" };

export interface WireCompact {
  readonly kind: "compact";
  readonly revision: number;
  readonly physical: boolean;
}

/**
 * Transactions inside transactions that are followed. Beyond the default limit of 128 operations, of which every
 * level takes one, so that the limit speaks first; far below what the stack holds.
 */
const TXN_DEPTH_MAX = 200;

export function decodeRangeRequest(message: Uint8Array): WireRange {
  return readRange(new Reader(message));
}

export function decodePutRequest(message: Uint8Array): WirePut {
  return readPut(new Reader(message));
}

export function decodeDeleteRangeRequest(message: Uint8Array): WireDeleteRange {
  return readDeleteRange(new Reader(message));
}

export function decodeTxnRequest(message: Uint8Array): WireTxn {
  return readTxn(new Reader(message), 0);
}

export function decodeCompactRequest(message: Uint8Array): WireCompact {
  const reader = new Reader(message);
  let revision = 0;
  let physical = false;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === 0x08) revision = reader.counter();
    else if (tag === 0x10) physical = reader.bool();
    else reader.skip(tag, 2);
  }
  return { kind: "compact", revision, physical };
}

// The case labels below are tags: field number * 8 + wire type (0 number, 2 bytes or message).

function readRange(reader: Reader): WireRange {
  let key = EMPTY_BYTES;
  let rangeEnd = EMPTY_BYTES;
  let limit = 0;
  let revision = 0;
  let sortOrder = 0;
  let sortTarget = 0;
  let serializable = false;
  let keysOnly = false;
  let countOnly = false;
  let minModRevision = 0;
  let maxModRevision = 0;
  let minCreateRevision = 0;
  let maxCreateRevision = 0;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    switch (tag) {
      case 0x0a:
        key = reader.bytes();
        break;
      case 0x12:
        rangeEnd = reader.bytes();
        break;
      case 0x18:
        limit = reader.counter();
        break;
      case 0x20:
        revision = reader.counter();
        break;
      case 0x28:
        sortOrder = reader.enumeration();
        break;
      case 0x30:
        sortTarget = reader.enumeration();
        break;
      case 0x38:
        serializable = reader.bool();
        break;
      case 0x40:
        keysOnly = reader.bool();
        break;
      case 0x48:
        countOnly = reader.bool();
        break;
      case 0x50:
        minModRevision = reader.counter();
        break;
      case 0x58:
        maxModRevision = reader.counter();
        break;
      case 0x60:
        minCreateRevision = reader.counter();
        break;
      case 0x68:
        maxCreateRevision = reader.counter();
        break;
      default:
        reader.skip(tag, 13);
    }
  }
  return {
    kind: "range",
    key,
    rangeEnd,
    limit,
    revision,
    sortOrder,
    sortTarget,
    serializable,
    keysOnly,
    countOnly,
    minModRevision,
    maxModRevision,
    minCreateRevision,
    maxCreateRevision,
  };
}

function readPut(reader: Reader): WirePut {
  let key = EMPTY_BYTES;
  let value = EMPTY_BYTES;
  let lease = 0n;
  let prevKv = false;
  let ignoreValue = false;
  let ignoreLease = false;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    switch (tag) {
      case 0x0a:
        key = reader.bytes();
        break;
      case 0x12:
        value = reader.bytes();
        break;
      case 0x18:
        lease = reader.int64();
        break;
      case 0x20:
        prevKv = reader.bool();
        break;
      case 0x28:
        ignoreValue = reader.bool();
        break;
      case 0x30:
        ignoreLease = reader.bool();
        break;
      default:
        reader.skip(tag, 6);
    }
  }
  return { kind: "put", key, value, lease, prevKv, ignoreValue, ignoreLease };
}

function readDeleteRange(reader: Reader): WireDeleteRange {
  let key = EMPTY_BYTES;
  let rangeEnd = EMPTY_BYTES;
  let prevKv = false;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    switch (tag) {
      case 0x0a:
        key = reader.bytes();
        break;
      case 0x12:
        rangeEnd = reader.bytes();
        break;
      case 0x18:
        prevKv = reader.bool();
        break;
      default:
        reader.skip(tag, 3);
    }
  }
  return { kind: "deleteRange", key, rangeEnd, prevKv };
}

function readTxn(reader: Reader, depth: number): WireTxn {
  if (depth > TXN_DEPTH_MAX) reader.fail("transactions are nested too deep", "too-deep");
  const compare: WireCompare[] = [];
  const success: WireRequestOp[] = [];
  const failure: WireRequestOp[] = [];
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag !== 0x0a && tag !== 0x12 && tag !== 0x1a) {
      reader.skip(tag, 3);
      continue;
    }
    const outerEnd = reader.enter();
    if (tag === 0x0a) compare.push(readCompare(reader));
    else if (tag === 0x12) success.push(readRequestOp(reader, depth));
    else failure.push(readRequestOp(reader, depth));
    reader.leave(outerEnd);
  }
  return { kind: "txn", compare, success, failure };
}

/** Of several members the last one counts, as for any oneof. */
function readRequestOp(reader: Reader, depth: number): WireRequestOp {
  let op: WireRequestOp = { kind: "unset" };
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag !== 0x0a && tag !== 0x12 && tag !== 0x1a && tag !== 0x22) {
      reader.skip(tag, 4);
      continue;
    }
    const outerEnd = reader.enter();
    if (tag === 0x0a) op = readRange(reader);
    else if (tag === 0x12) op = readPut(reader);
    else if (tag === 0x1a) op = readDeleteRange(reader);
    else op = readTxn(reader, depth + 1);
    reader.leave(outerEnd);
  }
  return op;
}

function readCompare(reader: Reader): WireCompare {
  let key = EMPTY_BYTES;
  let rangeEnd = EMPTY_BYTES;
  let result = 0;
  let target = 0;
  let union: WireCompareUnion = { member: "none" };
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    switch (tag) {
      case 0x08:
        result = reader.enumeration();
        break;
      case 0x10:
        target = reader.enumeration();
        break;
      case 0x1a:
        key = reader.bytes();
        break;
      case 0x20:
        union = { member: "version", number: reader.counter() };
        break;
      case 0x28:
        union = { member: "create", number: reader.counter() };
        break;
      case 0x30:
        union = { member: "mod", number: reader.counter() };
        break;
      case 0x3a:
        union = { member: "value", bytes: reader.bytes() };
        break;
      case 0x40:
        union = { member: "lease", lease: reader.int64() };
        break;
      case 0x202:
        rangeEnd = reader.bytes();
        break;
      default:
        reader.skip(tag, tag >>> 3 === 64 ? 64 : 8);
    }
  }
  return { key, rangeEnd, result, target, union };
}
