/** Keys that end by themselves: with a lease, or at a deadline of their own. */
import { etcd, native } from "../../src/codec/messages/index.ts";
import type { KvOutput } from "../../sim/linearizability/kv-model.ts";
import { type Member, NOTHING } from "./member.ts";
import type { World } from "./world.ts";

/** Far beyond a run, and far below what the clocks of the members differ by. */
const LIFE_SECONDS = 600;
/** Beside the clients of a load. */
const CLIENT = 2_000;

let leases = 0;

/** Two keys whose time begins now: one with a lease, one with a deadline. */
export async function writeMortal(world: World, member: Member): Promise<readonly string[]> {
  const id = BigInt(++leases);
  const request = etcd.LeaseGrantRequest.encode({ TTL: BigInt(LIFE_SECONDS), ID: id }).finish();
  await member.call("Lease/LeaseGrant", request);
  const [leased, timed] = [`mortal/lease${id}`, `mortal/deadline${id}`];
  await written(world, member, leased, async () => {
    const put = etcd.PutRequest.decode(NOTHING);
    const answer = await member.call(
      "KV/Put",
      etcd.PutRequest.encode({ ...put, ...bytesOf(leased), lease: id }).finish(),
    );
    return changeAt(etcd.PutResponse.decode(answer).header?.revision);
  });
  await written(world, member, timed, async () => {
    const set = native.SetRequest.decode(NOTHING);
    const expiry = { after_ms: BigInt(LIFE_SECONDS) * 1000n };
    const answer = await member.call(
      "/harmonydb.v1.Native/Set",
      native.SetRequest.encode({ ...set, ...bytesOf(timed), expiry }).finish(),
    );
    return changeAt(native.SetResponse.decode(answer).revision);
  });
  return [leased, timed];
}

/** They are there, whoever is asked. */
export async function expectAlive(world: World, keys: readonly string[]): Promise<void> {
  for (const member of world.cluster.members)
    for (const key of keys) {
      const answer = await world.recorder.request(CLIENT, member, { kind: "get", key }, true);
      if (answer.kind === "ok" && answer.output.results[0] === null)
        throw new Error(`${key} has ended before its time, says ${member.name}`);
    }
}

async function written(
  world: World,
  member: Member,
  key: string,
  call: () => Promise<KvOutput>,
): Promise<void> {
  const input = { kind: "put", key, value: "mortal" } as const;
  const { kind } = await world.recorder.requestAs(CLIENT, member, input, call);
  if (kind !== "ok") throw new Error(`${key} was not written: ${world.recorder.errors.at(-1)}`);
}

function bytesOf(key: string): { readonly key: Buffer; readonly value: Buffer } {
  return { key: Buffer.from(key), value: Buffer.from("mortal") };
}

function changeAt(revision: bigint | undefined): KvOutput {
  return { revision: Number(revision), succeeded: true, results: [null] };
}
