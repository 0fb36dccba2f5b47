/**
 * Between the views of a recording and messages on the wire, through the generated code, so that the codecs of the
 * server are not judged by themselves.
 */
// The generated code is the oracle of tests and no part of the codec's door.
// oxlint-disable-next-line no-restricted-imports
import * as pb from "../../src/codec/protobuf/gen/etcdserverpb/rpc.ts";
// oxlint-disable-next-line no-restricted-imports
import { Event_EventType } from "../../src/codec/protobuf/gen/mvccpb/kv.ts";
import type { View } from "./transcript.ts";

interface Message {
  encode(message: never): { finish(): Uint8Array };
  decode(bytes: Uint8Array): object;
}

const METHODS: Readonly<Record<string, readonly [request: Message, response: Message]>> = {
  "/etcdserverpb.KV/Range": [pb.RangeRequest, pb.RangeResponse],
  "/etcdserverpb.KV/Put": [pb.PutRequest, pb.PutResponse],
  "/etcdserverpb.KV/DeleteRange": [pb.DeleteRangeRequest, pb.DeleteRangeResponse],
  "/etcdserverpb.KV/Txn": [pb.TxnRequest, pb.TxnResponse],
  "/etcdserverpb.KV/Compact": [pb.CompactionRequest, pb.CompactionResponse],
  "/etcdserverpb.Watch/Watch": [pb.WatchRequest, pb.WatchResponse],
  "/etcdserverpb.Lease/LeaseGrant": [pb.LeaseGrantRequest, pb.LeaseGrantResponse],
  "/etcdserverpb.Lease/LeaseRevoke": [pb.LeaseRevokeRequest, pb.LeaseRevokeResponse],
  "/etcdserverpb.Lease/LeaseKeepAlive": [pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse],
  "/etcdserverpb.Lease/LeaseTimeToLive": [pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse],
  "/etcdserverpb.Lease/LeaseLeases": [pb.LeaseLeasesRequest, pb.LeaseLeasesResponse],
};

/** Messages inside the requests that are recorded without their bytes. */
const EMBEDDED: Readonly<Record<string, Message>> = {
  success: pb.RequestOp,
  request_put: pb.PutRequest,
};

/** The bytes of a request of which only the view is recorded. */
export function encodeRequest(method: string, view: View): Uint8Array {
  const message = METHODS[method]?.[0];
  if (message === undefined) throw new Error(`no message is known for ${method}`);
  return message.encode(fill(message, view) as never).finish();
}

/** The view of a response; null when the method is not one of ours. */
export function viewResponse(method: string, bytes: Uint8Array): View {
  const message = METHODS[method]?.[1];
  if (message === undefined) return null;
  const decoded = message.decode(bytes);
  return viewOf("events" in decoded ? withEventTypes(decoded as pb.WatchResponse) : decoded);
}

/** The one enum of the responses, as the recordings show it. */
function withEventTypes(response: pb.WatchResponse): object {
  const events = response.events.map((event) => ({
    ...event,
    type: event.type === Event_EventType.DELETE ? "DELETE" : "",
  }));
  return { ...response, events };
}

function fill(message: Message, view: View): object {
  const into = message.decode(new Uint8Array(0)) as Record<string, unknown>;
  for (const [field, value] of Object.entries(view as Record<string, View>)) {
    const embedded = EMBEDDED[field];
    if (embedded !== undefined && Array.isArray(value))
      into[field] = value.map((element) => fill(embedded, element));
    else if (embedded !== undefined) into[field] = fill(embedded, value);
    else if (into[field] instanceof Uint8Array) into[field] = bytesOf(value);
    else if (typeof into[field] === "bigint") into[field] = BigInt(value as string);
    else into[field] = value;
  }
  return into;
}

function viewOf(value: unknown): View {
  if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString("base64") };
  if (typeof value === "bigint") return value.toString();
  if (Array.isArray(value)) return value.map(viewOf);
  if (typeof value !== "object" || value === null) return value as View;
  const shown: Record<string, View> = {};
  for (const [field, member] of Object.entries(value)) {
    const isDefault =
      member === undefined ||
      member === 0n ||
      member === false ||
      member === "" ||
      ((member instanceof Uint8Array || Array.isArray(member)) && member.length === 0);
    if (!isDefault) shown[field] = viewOf(member);
  }
  return shown;
}

function bytesOf(view: View): Uint8Array | null {
  if (typeof view !== "object" || view === null || Array.isArray(view)) return null;
  const { utf8, base64, repeatByte, count } = view as Readonly<Record<string, View>>;
  if (typeof utf8 === "string") return Buffer.from(utf8);
  if (typeof base64 === "string") return Buffer.from(base64, "base64");
  if (typeof repeatByte === "number" && typeof count === "number")
    return new Uint8Array(count).fill(repeatByte);
  return null;
}

/** Where two views differ: lines of a path, what was recorded, what came. */
export function compareViews(
  recorded: View | undefined,
  came: View | undefined,
  path = "response",
): string[] {
  if (recorded === "*") return came === undefined ? [`${path}: missing`] : [];
  const recordedBytes = recorded === undefined ? null : bytesOf(recorded);
  const cameBytes = came === undefined ? null : bytesOf(came);
  if (recordedBytes !== null && cameBytes !== null) {
    return Buffer.compare(recordedBytes, cameBytes) === 0
      ? []
      : [`${path}: ${short(recorded)} recorded, ${short(came)} came`];
  }
  if (isObject(recorded) && isObject(came)) {
    const fields = new Set([...Object.keys(recorded), ...Object.keys(came)]);
    return [...fields].flatMap((field) =>
      compareViews(recorded[field], came[field], `${path}.${field}`),
    );
  }
  return Object.is(recorded, came)
    ? []
    : [`${path}: ${short(recorded)} recorded, ${short(came)} came`];
}

/** Lists compare like objects: by position, with a length that differs as missing elements. */
function isObject(view: View | undefined): view is { readonly [field: string]: View } {
  return typeof view === "object" && view !== null;
}

function short(view: View | undefined): string {
  const text = view === undefined ? "nothing" : JSON.stringify(view);
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
}
