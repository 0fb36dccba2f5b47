/** incr, decr, mset, checkpoint: what etcd's protocol has no words for. */
import { native } from "../../codec/messages/index.ts";
import { badArguments, flagValue, int64, leaseId } from "./flags.ts";
import { duration } from "../values.ts";
import { bytesOf } from "./ranges.ts";
import { CHECKPOINT, INCR, MSET } from "./rpcs.ts";
import type { Session } from "./session.ts";

export interface IncrFlags {
  readonly by?: string;
  readonly min?: string;
  readonly max?: string;
  readonly saturate?: boolean;
  readonly ttl?: string;
}

const TTL = duration({ minMs: 1, maxMs: 9_000_000_000_000 });

export function ttlMs(flag: string, text: string): bigint {
  return BigInt(flagValue(flag, TTL, text));
}

export function incr(session: Session, args: readonly string[], flags: IncrFlags): Promise<void> {
  return add(session, args, flags, 1n);
}

export function decr(session: Session, args: readonly string[], flags: IncrFlags): Promise<void> {
  return add(session, args, flags, -1n);
}

async function add(
  session: Session,
  args: readonly string[],
  flags: IncrFlags,
  sign: bigint,
): Promise<void> {
  const [key, number] = args as readonly [string, string?];
  if (number !== undefined && flags.by !== undefined)
    throw badArguments("a number cannot stand beside --by");
  const name = number === undefined ? "--by" : "number";
  const by = sign * int64(name, number ?? flags.by ?? "1");
  if (BigInt.asIntN(64, by) !== by) throw badArguments(`${name}: out of the range of 64 bits`);
  const min = flags.min === undefined ? undefined : int64("--min", flags.min);
  const max = flags.max === undefined ? undefined : int64("--max", flags.max);
  if (min !== undefined && max !== undefined && min > max)
    throw badArguments("--min must not be above --max");
  const response = await (
    await session.client()
  ).unary(INCR, {
    key: bytesOf(key),
    by,
    min,
    max,
    saturate: flags.saturate ?? false,
    expiry: flags.ttl === undefined ? undefined : { after_ms: ttlMs("--ttl", flags.ttl) },
    expiry_if_none: false,
  });
  // Zero is a value here, not an absence.
  if (session.form === "json")
    session.streams.out(`{"revision":${response.revision},"value":${response.value}}\n`);
  else session.print(response, () => session.streams.out(`${response.value}\n`));
}

export async function mset(
  session: Session,
  args: readonly string[],
  flags: {
    readonly ifAbsent?: boolean;
    readonly ifPresent?: boolean;
    readonly ttl?: string;
    readonly lease?: string;
  },
): Promise<boolean> {
  if (args.length % 2 !== 0)
    throw badArguments("mset takes keys and values in turns: the last key has no value");
  if (flags.ifAbsent === true && flags.ifPresent === true)
    throw badArguments("--if-absent and --if-present cannot be given together");
  const { NONE, ABSENT, PRESENT } = native.MSetRequest_Condition;
  const condition = flags.ifAbsent === true ? ABSENT : flags.ifPresent === true ? PRESENT : NONE;
  const items: native.MSetRequest_Item[] = [];
  for (let i = 0; i < args.length; i += 2)
    items.push({ key: bytesOf(args[i] as string), value: bytesOf(args[i + 1] as string) });
  const response = await (
    await session.client()
  ).unary(MSET, {
    items,
    condition,
    lease: flags.lease === undefined ? 0n : leaseId("--lease", flags.lease),
    expiry: flags.ttl === undefined ? undefined : { after_ms: ttlMs("--ttl", flags.ttl) },
  });
  if (session.form === "json")
    session.streams.out(`{"revision":${response.revision},"succeeded":${response.succeeded}}\n`);
  else
    session.print(response, () => session.streams.out(response.succeeded ? "OK\n" : "NOT SET\n"));
  return response.succeeded;
}

export async function checkpoint(session: Session): Promise<void> {
  const client = await session.client();
  const response = await client.unary(CHECKPOINT, {});
  session.print(response, () =>
    session.streams.out(`the trees are durable at revision ${response.revision} or later\n`),
  );
}
