/** etcdserverpb.KV: Range, Put, DeleteRange, Txn, Compact. */
import {
  decodeCompactRequest,
  decodeDeleteRangeRequest,
  decodePutRequest,
  decodeRangeRequest,
  decodeTxnRequest,
  encodeDeleteRangeResponse,
  encodeHeaderOnlyResponse,
  encodePutResponse,
  encodeRangeResponse,
  encodeTxnResponse,
} from "../../codec/index.ts";
import type { RangeResponse, Refusal } from "../../db/index.ts";
import type { ServiceContext } from "./answer.ts";
import type { Method } from "./method.ts";
import { rangeRequest, txnRequest } from "./translate.ts";

export function kvService(context: ServiceContext): readonly Method[] {
  const { database } = context;
  return [
    {
      kind: "unary",
      path: "/etcdserverpb.KV/Range",
      handle: (request, call, reply) => {
        database.range(
          rangeRequest(decodeRangeRequest(request)),
          call,
          context.answer<RangeResponse | Refusal>(reply, (response) =>
            encodeRangeResponse(context.header(response.revision), response),
          ),
        );
      },
    },
    {
      kind: "unary",
      path: "/etcdserverpb.KV/Put",
      handle: (request, call, reply) => {
        database.write(
          decodePutRequest(request),
          call,
          context.outcome("put", reply, (outcome) =>
            encodePutResponse(context.header(outcome.revision), outcome),
          ),
        );
      },
    },
    {
      kind: "unary",
      path: "/etcdserverpb.KV/DeleteRange",
      handle: (request, call, reply) => {
        database.write(
          decodeDeleteRangeRequest(request),
          call,
          context.outcome("deleteRange", reply, (outcome) =>
            encodeDeleteRangeResponse(context.header(outcome.revision), outcome),
          ),
        );
      },
    },
    {
      kind: "unary",
      path: "/etcdserverpb.KV/Txn",
      handle: (request, call, reply) => {
        database.write(
          txnRequest(decodeTxnRequest(request)),
          call,
          context.outcome("txn", reply, (outcome) =>
            encodeTxnResponse(context.header(outcome.revision), outcome),
          ),
        );
      },
    },
    {
      kind: "unary",
      path: "/etcdserverpb.KV/Compact",
      handle: (request, call, reply) => {
        database.write(
          decodeCompactRequest(request),
          call,
          context.outcome("compact", reply, (outcome) =>
            encodeHeaderOnlyResponse(context.header(outcome.revision)),
          ),
        );
      },
    },
  ];
}
