/** get, put, del, compact. Flags and simple output are etcdctl's. */
import { etcd } from "../../codec/messages/index.ts";
import type { kv as mvcc } from "../../codec/messages/index.ts";
import { badArguments, count, flagValue, leaseId } from "./flags.ts";
import { oneOf } from "../values.ts";
import { bytesOf, rangeOf, type RangeFlags } from "./ranges.ts";
import { COMPACT, DELETE_RANGE, PUT, RANGE } from "./rpcs.ts";
import type { Session } from "./session.ts";
import { readAll } from "./input.ts";

export interface GetFlags extends RangeFlags {
  readonly limit?: string;
  readonly order?: string;
  readonly sortBy?: string;
  readonly rev?: string;
  readonly consistency?: string;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
  readonly printValueOnly?: boolean;
}

export interface PutFlags {
  readonly lease?: string;
  readonly prevKv?: boolean;
  readonly ignoreValue?: boolean;
  readonly ignoreLease?: boolean;
}

export interface DelFlags extends RangeFlags {
  readonly prevKv?: boolean;
}

const SORT_ORDERS: Readonly<Record<string, etcd.RangeRequest_SortOrder>> = {
  ASCEND: etcd.RangeRequest_SortOrder.ASCEND,
  DESCEND: etcd.RangeRequest_SortOrder.DESCEND,
};
const SORT_TARGETS: Readonly<Record<string, etcd.RangeRequest_SortTarget>> = {
  CREATE: etcd.RangeRequest_SortTarget.CREATE,
  KEY: etcd.RangeRequest_SortTarget.KEY,
  MODIFY: etcd.RangeRequest_SortTarget.MOD,
  VALUE: etcd.RangeRequest_SortTarget.VALUE,
  VERSION: etcd.RangeRequest_SortTarget.VERSION,
};

export function rangeRequest(
  key: string,
  end: string | undefined,
  flags: GetFlags,
): etcd.RangeRequest {
  const { keysOnly = false, countOnly = false } = flags;
  if (keysOnly && countOnly)
    throw badArguments("--keys-only and --count-only cannot be given together");
  return {
    ...rangeOf(key, end, flags),
    limit: count("--limit", flags.limit ?? "0"),
    revision: count("--rev", flags.rev ?? "0"),
    sort_order: chosen("--order", SORT_ORDERS, flags.order) ?? etcd.RangeRequest_SortOrder.NONE,
    sort_target:
      chosen("--sort-by", SORT_TARGETS, flags.sortBy) ?? etcd.RangeRequest_SortTarget.KEY,
    serializable: isSerializable(flags.consistency ?? "l"),
    keys_only: keysOnly,
    count_only: countOnly,
    min_mod_revision: 0n,
    max_mod_revision: 0n,
    min_create_revision: 0n,
    max_create_revision: 0n,
  };
}

function chosen<T>(
  flag: string,
  choices: Readonly<Record<string, T>>,
  text: string | undefined,
): T | undefined {
  if (text === undefined) return undefined;
  return choices[flagValue(flag, oneOf(...Object.keys(choices)), text.toUpperCase())];
}

function isSerializable(text: string): boolean {
  return flagValue("--consistency", oneOf("l", "s"), text) === "s";
}

export function putRequest(
  key: string,
  value: string | undefined,
  flags: PutFlags,
): etcd.PutRequest {
  const { ignoreValue = false, ignoreLease = false } = flags;
  if (ignoreValue && value !== undefined)
    throw badArguments("a value cannot stand beside --ignore-value");
  if (ignoreLease && flags.lease !== undefined)
    throw badArguments("--lease and --ignore-lease cannot be given together");
  return {
    key: bytesOf(key),
    value: bytesOf(value ?? ""),
    lease: flags.lease === undefined ? 0n : leaseId("--lease", flags.lease),
    prev_kv: flags.prevKv ?? false,
    ignore_value: ignoreValue,
    ignore_lease: ignoreLease,
  };
}

export function deleteRequest(
  key: string,
  end: string | undefined,
  flags: DelFlags,
): etcd.DeleteRangeRequest {
  return { ...rangeOf(key, end, flags), prev_kv: flags.prevKv ?? false };
}

export async function get(
  session: Session,
  args: readonly string[],
  flags: GetFlags,
): Promise<void> {
  const request = rangeRequest(args[0] as string, args[1], flags);
  const client = await session.client();
  const response = await client.unary(RANGE, request);
  session.print(response, () => printRange(session, response, flags));
}

export function printRange(session: Session, response: etcd.RangeResponse, flags: GetFlags): void {
  if (flags.countOnly === true) session.streams.out(`${response.count}\n`);
  for (const kv of response.kvs) printKeyValue(session, kv, flags);
}

export function printKeyValue(session: Session, kv: mvcc.KeyValue, flags: GetFlags): void {
  if (flags.printValueOnly !== true) session.line(kv.key);
  if (flags.keysOnly !== true) session.line(kv.value);
}

export async function put(
  session: Session,
  args: readonly string[],
  flags: PutFlags,
): Promise<void> {
  const request = putRequest(args[0] as string, args[1], flags);
  // As etcdctl: without a value on the line, standard input is the value.
  if (args[1] === undefined && flags.ignoreValue !== true)
    request.value = await readAll(process.stdin);
  const client = await session.client();
  const response = await client.unary(PUT, request);
  session.print(response, () => printPut(session, response));
}

export function printPut(session: Session, response: etcd.PutResponse): void {
  session.streams.out("OK\n");
  if (response.prev_kv !== undefined) printKeyValue(session, response.prev_kv, {});
}

export async function del(
  session: Session,
  args: readonly string[],
  flags: DelFlags,
): Promise<void> {
  const request = deleteRequest(args[0] as string, args[1], flags);
  const client = await session.client();
  const response = await client.unary(DELETE_RANGE, request);
  session.print(response, () => printDelete(session, response));
}

export function printDelete(session: Session, response: etcd.DeleteRangeResponse): void {
  session.streams.out(`${response.deleted}\n`);
  for (const kv of response.prev_kvs) printKeyValue(session, kv, {});
}

export async function compact(
  session: Session,
  args: readonly string[],
  flags: { readonly physical?: boolean },
): Promise<void> {
  const revision = count("revision", args[0] as string);
  const client = await session.client();
  const response = await client.unary(COMPACT, { revision, physical: flags.physical ?? false });
  session.print(response, () => session.streams.out(`compacted revision ${revision}\n`));
}
