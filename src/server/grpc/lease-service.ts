/** etcdserverpb.Lease: grant, revoke, keep alive, time to live, list. */
import {
  checkEmptyRequest,
  decodeLeaseGrantRequest,
  decodeLeaseIdRequest,
  decodeLeaseTimeToLiveRequest,
  encodeHeaderOnlyResponse,
  encodeLeaseLeasesResponse,
  encodeLeaseTimeToLiveResponse,
  encodeLeaseTtlResponse,
} from "../../codec/index.ts";
import type { ServiceContext } from "./answer.ts";
import type { Method, StreamCall, StreamListener, UnaryReply } from "./method.ts";

export function leaseService(context: ServiceContext): readonly Method[] {
  const { database } = context;
  return [
    {
      kind: "unary",
      path: "/etcdserverpb.Lease/LeaseGrant",
      handle: (request, call, reply) => {
        database.write(
          { kind: "leaseGrant", ...decodeLeaseGrantRequest(request) },
          call,
          context.outcome("leaseGrant", reply, ({ revision, id, ttlSeconds }) =>
            encodeLeaseTtlResponse(context.header(revision), id, ttlSeconds),
          ),
        );
      },
    },
    {
      kind: "unary",
      path: "/etcdserverpb.Lease/LeaseRevoke",
      handle: (request, call, reply) => {
        database.write(
          { kind: "leaseRevoke", id: decodeLeaseIdRequest(request) },
          call,
          context.outcome("leaseRevoke", reply, ({ revision }) =>
            encodeHeaderOnlyResponse(context.header(revision)),
          ),
        );
      },
    },
    {
      kind: "unary",
      path: "/etcdserverpb.Lease/LeaseTimeToLive",
      handle: (request, call, reply) => {
        const { id, keys } = decodeLeaseTimeToLiveRequest(request);
        database.leaseStatus(
          id,
          keys,
          call,
          context.answer(reply, (status) =>
            encodeLeaseTimeToLiveResponse(context.header(status.revision), id, status),
          ),
        );
      },
    },
    {
      kind: "unary",
      path: "/etcdserverpb.Lease/LeaseLeases",
      handle: (request, call, reply) => {
        checkEmptyRequest(request);
        database.leases(
          call,
          context.answer<readonly bigint[]>(reply, (ids) =>
            encodeLeaseLeasesResponse(context.header(database.header.revision), ids),
          ),
        );
      },
    },
    {
      kind: "bidi",
      path: "/etcdserverpb.Lease/LeaseKeepAlive",
      open: (call) => keepAlive(context, call),
    },
  ];
}

/**
 * One answer for each request, in order. A lease that is unknown or has ended is answered with TTL 0 and the stream
 * goes on: the client learns which of its leases is lost without losing the others.
 */
function keepAlive(context: ServiceContext, call: StreamCall): StreamListener {
  return {
    message(request, done) {
      const id = decodeLeaseIdRequest(request);
      const reply: UnaryReply = (status, response) => {
        if (status !== null) {
          call.end(status);
          return;
        }
        call.send(response);
        done();
      };
      context.database.write(
        { kind: "leaseKeepAlive", id },
        call,
        context.outcome("leaseKeepAlive", reply, ({ revision, ttlSeconds }) =>
          encodeLeaseTtlResponse(context.header(revision), id, ttlSeconds),
        ),
      );
    },
    halfClosed() {
      call.end(null);
    },
    closed() {},
  };
}
