/** HashKV: what it depends on and what it does not. */
import { describe, expect, it } from "vitest";
import { etcd } from "../../codec/messages/index.ts";
import type { KeyValue } from "../../db/index.ts";
import { ServiceContext } from "./answer.ts";
import { FakeDatabase, memoryLog } from "./fake-database.suite.ts";
import { hashService } from "./hash-service.ts";

const KV: KeyValue = {
  key: Uint8Array.of(1),
  value: Uint8Array.of(2),
  createRevision: 3,
  modRevision: 4,
  version: 2,
  lease: 0n,
};

/** What was said of them, in order. */
const compactions: bigint[] = [];

/** Of a database that gives these keys, so many in a page. */
function hashOf(kvs: readonly KeyValue[], pageKeys: number = kvs.length): Promise<number> {
  const database = new FakeDatabase();
  database.onRange = (request, reply) => {
    const from = kvs.findIndex(({ key }) => Buffer.compare(key, request.key) >= 0);
    const left = from < 0 ? [] : kvs.slice(from);
    const page = left.slice(0, pageKeys);
    const more = page.length < left.length;
    reply(null, { kind: "range", revision: 9, kvs: page, more, count: 0 });
  };
  const [method] = hashService(new ServiceContext(database, memoryLog().sink));
  if (method?.kind !== "unary") throw new Error("HashKV is a unary method");
  const { handle } = method;
  return new Promise((resolve) => {
    const request = etcd.HashKVRequest.encode({ revision: 7n }).finish();
    handle(request, { metadata: () => undefined }, (status, bytes) => {
      expect(status).toBeNull();
      const { hash, hash_revision, compact_revision } = etcd.HashKVResponse.decode(bytes);
      compactions.push(compact_revision);
      expect(hash_revision).toBe(7n);
      expect(database.ranges.every(({ revision }) => revision === 7)).toBe(true);
      resolve(hash);
    });
  });
}

describe("HashKV", () => {
  it("is another one where anything of a key is, and the same however the keys are read", async () => {
    const changed: readonly Partial<KeyValue>[] = [
      {},
      { key: Uint8Array.of(1, 2), value: new Uint8Array(0) },
      { key: Uint8Array.of(9) },
      { value: Uint8Array.of(9) },
      { createRevision: 1 },
      { modRevision: 9 },
      { version: 1 },
      { lease: 5n },
      { lease: 5n << 32n },
      { deadlineMs: 5 },
    ];
    const hashes = await Promise.all(changed.map((one) => hashOf([{ ...KV, ...one }])));
    expect(new Set(hashes).size).toBe(changed.length);
    const many = Array.from({ length: 9 }, (_, i) => ({ ...KV, key: Uint8Array.of(i + 1) }));
    const whole = await hashOf(many);
    for (const pageKeys of [1, 2, 4, 8]) expect(await hashOf(many, pageKeys)).toBe(whole);
    expect(await hashOf(many.slice(1))).not.toBe(whole);
  });

  it("of an empty store is etcd's, and says of the compaction that never was what etcd says", async () => {
    // As recorded from etcd 3.4.23.
    expect(await hashOf([])).toBe(1_084_519_789);
    expect(compactions.at(-1)).toBe(-1n);
  });
});
