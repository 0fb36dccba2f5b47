/** The requests of sim/linearizability's key-value model in the words of etcd's protocol. */
import { etcd } from "../../src/codec/messages/index.ts";
import type {
  KvCompare,
  KvInput,
  KvOutput,
  KvResult,
  KvSimpleInput,
} from "../../sim/linearizability/kv-model.ts";
import { type Member, NOTHING } from "./member.ts";

/** Of a client that waits for its member to be there again, however busy the machine is. */
const PATIENT_MS = 60_000;

export async function callKv(member: Member, input: KvInput, waits: boolean): Promise<KvOutput> {
  const call = (method: string, request: Uint8Array): Promise<Buffer> =>
    member.call(`KV/${method}`, request, waits ? { waits, timeoutMs: PATIENT_MS } : {});
  switch (input.kind) {
    case "get":
    case "stale-get": {
      const request = etcd.RangeRequest.encode({
        ...range(input.key),
        serializable: input.kind === "stale-get",
      });
      const answer = etcd.RangeResponse.decode(await call("Range", request.finish()));
      return { revision: revisionOf(answer), succeeded: true, results: [record(answer)] };
    }
    case "put": {
      const request = etcd.PutRequest.encode(put(input.key, input.value)).finish();
      const answer = etcd.PutResponse.decode(await call("Put", request));
      return { revision: revisionOf(answer), succeeded: true, results: [null] };
    }
    case "delete": {
      const request = etcd.DeleteRangeRequest.encode(deletion(input.key)).finish();
      const answer = etcd.DeleteRangeResponse.decode(await call("DeleteRange", request));
      const results = [Number(answer.deleted)];
      return { revision: revisionOf(answer), succeeded: true, results };
    }
    case "txn": {
      const request = etcd.TxnRequest.encode({
        compare: input.compare.map(comparison),
        success: input.success.map(operation),
        failure: input.failure.map(operation),
      }).finish();
      const answer = etcd.TxnResponse.decode(await call("Txn", request));
      const { succeeded } = answer;
      return { revision: revisionOf(answer), succeeded, results: answer.responses.map(result) };
    }
  }
}

function revisionOf({ header }: { readonly header: etcd.ResponseHeader | undefined }): number {
  return Number(header?.revision);
}

function record({ kvs: [kv] }: etcd.RangeResponse): KvResult {
  if (kv === undefined) return null;
  return {
    value: Buffer.from(kv.value).toString(),
    createRevision: Number(kv.create_revision),
    modRevision: Number(kv.mod_revision),
    version: Number(kv.version),
  };
}

function range(key: string): etcd.RangeRequest {
  return { ...etcd.RangeRequest.decode(NOTHING), key: Buffer.from(key) };
}

function put(key: string, value: string): etcd.PutRequest {
  return {
    ...etcd.PutRequest.decode(NOTHING),
    key: Buffer.from(key),
    value: Buffer.from(value),
  };
}

function deletion(key: string): etcd.DeleteRangeRequest {
  return { ...etcd.DeleteRangeRequest.decode(NOTHING), key: Buffer.from(key) };
}

function operation(input: KvSimpleInput): etcd.RequestOp {
  if (input.kind === "get") return { request_range: range(input.key) };
  if (input.kind === "put") return { request_put: put(input.key, input.value) };
  return { request_delete_range: deletion(input.key) };
}

function result(of: etcd.ResponseOp): KvResult {
  if (of.response_range !== undefined) return record(of.response_range);
  return of.response_delete_range === undefined ? null : Number(of.response_delete_range.deleted);
}

const RELATIONS = { "=": 0, ">": 1, "<": 2, "!=": 3 } as const;

function comparison({ key, target, relation, operand }: KvCompare): etcd.Compare {
  const compare = { key: Buffer.from(key), range_end: NOTHING, result: RELATIONS[relation] };
  switch (target) {
    case "version":
      return { ...compare, target: 0, version: BigInt(operand) };
    case "createRevision":
      return { ...compare, target: 1, create_revision: BigInt(operand) };
    case "modRevision":
      return { ...compare, target: 2, mod_revision: BigInt(operand) };
    case "value":
      return { ...compare, target: 3, value: Buffer.from(String(operand)) };
  }
}
