/**
 * Maintenance.HashKV: a hash of all keys of one revision, the same on every member that has them. It is made page by page
 * as of that revision, so that it holds nobody up and nothing is kept for it; a compaction may overtake it. Of an empty
 * store it is etcd's; of keys it is another, since etcd hashes what its own file holds of them, all their history with it.
 */
import { crc32c, EMPTY_BYTES, hash32, utf8 } from "../../base/index.ts";
import { decodeHashKvRequest, encodeHashKvResponse } from "../../codec/index.ts";
import { type KeyValue, type RangeRequest, POINT } from "../../db/index.ts";
import type { ServiceContext } from "./answer.ts";
import type { Call, Method, UnaryReply } from "./method.ts";
import { refusalStatus, statusOf } from "./status.ts";

const PAGE_KEYS = 500;
/** etcd begins with the name of its table of keys. */
const OF_NOTHING: number = crc32c(utf8("key"));
const EVERY_KEY: RangeRequest = {
  ...POINT,
  key: Uint8Array.of(0),
  rangeEnd: Uint8Array.of(0),
  limit: PAGE_KEYS,
  serializable: true,
  uncounted: true,
};

export function hashService(context: ServiceContext): readonly Method[] {
  return [
    {
      kind: "unary",
      path: "/etcdserverpb.Maintenance/HashKV",
      handle: (bytes, call, reply) => {
        const asked = decodeHashKvRequest(bytes);
        const revision = asked > 0 ? asked : context.database.header.revision;
        hashFrom(context, call, { revision, key: EVERY_KEY.key, hash: OF_NOTHING }, reply);
      },
    },
  ];
}

interface Hashing {
  readonly revision: number;
  /** The next key. */
  readonly key: Uint8Array;
  readonly hash: number;
}

/** One page, and then the next one in a turn of its own. */
function hashFrom(context: ServiceContext, call: Call, at: Hashing, reply: UnaryReply): void {
  const { revision } = at;
  context.database.range({ ...EVERY_KEY, key: at.key, revision }, call, (error, page) => {
    if (error !== null) reply(statusOf(error.code), EMPTY_BYTES);
    else if (page.kind === "error") reply(refusalStatus(page), EMPTY_BYTES);
    else {
      const hash = page.kvs.reduce(mixed, at.hash);
      const last = page.kvs.at(-1);
      if (page.more && last !== undefined) {
        const key = new Uint8Array(last.key.length + 1);
        key.set(last.key);
        setImmediate(() => hashFrom(context, call, { revision, key, hash }, reply));
        return;
      }
      const { compactRevision } = context.database.status();
      reply(
        null,
        encodeHashKvResponse(context.header(page.revision), {
          // Of 32 bits without a sign.
          hash: hash >>> 0,
          compactRevision,
          revision,
        }),
      );
    }
  });
}

function mixed(hash: number, kv: KeyValue): number {
  const { key, value, createRevision, modRevision, version, lease, deadlineMs = 0 } = kv;
  // The length of the key parts it from the value: ("ab", "c") is not ("a", "bc").
  const bytes = hash32(crc32c(value, 0, value.length, crc32c(key)), key.length);
  const place = hash32(low(createRevision), low(modRevision), low(version));
  const end = hash32(Number(BigInt.asIntN(32, lease)), Number(BigInt.asIntN(32, lease >> 32n)));
  return hash32(hash32(hash, bytes, place), end, low(deadlineMs));
}

function low(value: number): number {
  return (value % 0x1_0000_0000) | 0;
}
