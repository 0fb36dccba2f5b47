/** A member that answers what a test says: the API's service over real sockets, without a node behind it. */
import { onTestFinished } from "vitest";
import { apiMessages as wire } from "../../codec/index.ts";
import { encodeWholeOutcome, type Outcome } from "../../db/index.ts";
import type { StreamCall, UnaryReply } from "./method.ts";
import { listenGrpc } from "./transport.ts";

const EMPTY = new Uint8Array(0);

export class FakeMember {
  url = "";
  clusterId = 1n;
  leader = 1n;
  /** What was asked, in order. */
  readonly asked: string[] = [];
  readonly writes: wire.WriteRequest[] = [];
  readonly watches: { readonly request: wire.ApiWatchRequest; readonly call: StreamCall }[] = [];
  onWrite: (reply: (response: Partial<wire.WriteResponse>) => void) => void = (reply) =>
    reply(put(2));
  onRead: (reply: (response: Partial<wire.ReadResponse>) => void) => void = (reply) =>
    reply({ revision: 1n, count: 1n });
  close: () => Promise<void> = async () => {};

  static async start(): Promise<FakeMember> {
    const member = new FakeMember();
    const unary = (name: string, handle: (bytes: Uint8Array, reply: UnaryReply) => void) =>
      ({
        kind: "unary",
        path: `/harmonydb.v1.Api/${name}`,
        handle: (bytes: Uint8Array, _call: unknown, reply: UnaryReply) => {
          if (name !== "Report") member.asked.push(name);
          handle(bytes, reply);
        },
      }) as const;
    const transport = await listenGrpc(
      [
        unary("Report", (_bytes, reply) =>
          reply(
            null,
            wire.ReportResponse.encode({
              ...wire.ReportResponse.decode(EMPTY),
              cluster_id: member.clusterId,
              member_id: 1n,
              leader: member.leader,
              revision: 1n,
            }).finish(),
          ),
        ),
        unary("Write", (bytes, reply) => {
          member.writes.push(wire.WriteRequest.decode(bytes));
          member.onWrite((response) =>
            reply(
              null,
              wire.WriteResponse.encode({
                outcome: EMPTY,
                failure: undefined,
                ...response,
              }).finish(),
            ),
          );
        }),
        unary("Read", (_bytes, reply) =>
          member.onRead((response) =>
            reply(
              null,
              wire.ReadResponse.encode({
                ...wire.ReadResponse.decode(EMPTY),
                ...response,
              }).finish(),
            ),
          ),
        ),
        {
          kind: "serverStream",
          path: "/harmonydb.v1.Api/Watch",
          open: (call) => ({
            message: (bytes, done) => {
              done();
              member.watches.push({ request: wire.ApiWatchRequest.decode(bytes), call });
            },
            halfClosed: () => {},
            closed: () => {},
          }),
        },
      ],
      {
        urls: ["http://127.0.0.1:0"],
        maxMessageBytes: 1024 * 1024,
        maxConcurrentStreams: 100,
        connectionIdleMs: 60_000,
      },
      () => {},
    );
    member.url = transport.addresses[0] as string;
    member.close = () => transport.close(0);
    onTestFinished(() => transport.close(0));
    return member;
  }

  /** Tells the watch that was opened last. */
  tell(message: Partial<wire.ApiWatchResponse>): void {
    this.watches.at(-1)?.call.send(
      wire.ApiWatchResponse.encode({
        ...wire.ApiWatchResponse.decode(EMPTY),
        ...message,
      }).finish(),
    );
  }
}

export function put(revision: number): { readonly outcome: Uint8Array } {
  const outcome: Outcome = { kind: "put", revision, prevKv: null };
  return { outcome: encodeWholeOutcome(outcome) };
}

export function failure(code: string, maybeApplied = false): Partial<wire.WriteResponse> {
  return { failure: { code, detail: "", maybe_applied: maybeApplied } };
}

export function putEvent(key: string, revision: number): wire.ApiEvent {
  return {
    is_delete: false,
    entry: {
      key: Buffer.from(key),
      value: Buffer.from("v"),
      create_revision: BigInt(revision),
      mod_revision: BigInt(revision),
      version: 1n,
      lease: 0n,
      deadline_ms: 0n,
      is_lock: false,
    },
    prev: undefined,
    cause: wire.ApiEvent_Cause.CLIENT,
  };
}
