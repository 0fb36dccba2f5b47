/** The ten write operations of a task back end: each is one command of the log, and happens when the log holds it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { setVerifying, utf8 } from "../base/index.ts";
import type { AnyWriteRequest, Condition, IncrRequest, KeyValue } from "./requests.ts";
import { deleteRequest, LOG, outcomeOf, rangeRequest, World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const STUCK = { delayMs: Number.POSITIVE_INFINITY, times: Number.POSITIVE_INFINITY } as const;
const MANY = 100;

function set(key: string, value: string, condition: Condition | null, ttlMs = 0): AnyWriteRequest {
  const expiry = ttlMs === 0 ? ({ kind: "none" } as const) : ({ kind: "after", ttlMs } as const);
  return {
    kind: "set",
    key: utf8(key),
    value: utf8(value),
    condition,
    lease: 0n,
    expiry,
    prevKv: false,
  };
}

function add(key: string, by: bigint): IncrRequest {
  const rest = { min: null, max: null, saturate: false, expiryIfNone: false } as const;
  return { kind: "incr", key: utf8(key), by, expiry: { kind: "keep" }, ...rest };
}

const manyKeys = Array.from({ length: MANY }, (_, i) => utf8(`many/${i}`));

const mset: AnyWriteRequest = {
  kind: "mset",
  items: manyKeys.map((key) => ({ key, value: new Uint8Array(700).fill(0x61) })),
  condition: "none",
  lease: 0n,
  expiry: { kind: "none" },
};
const mdel: AnyWriteRequest = { kind: "mdel", keys: manyKeys };
const owner = { key: utf8("lock"), token: utf8("worker-1") };

/** In an order in which each of them changes something, and none could stand elsewhere. */
const OPERATIONS: readonly (readonly [string, AnyWriteRequest])[] = [
  ["set", set("result", "PENDING", null, 3_600_000)],
  ["setnx", set("other", "taken", { kind: "absent" })],
  ["incr", add("counter", 7n)],
  ["decr", add("counter", -2n)],
  ["mset", mset],
  ["lock", { kind: "lock", ...owner, ttlMs: 3_600_000 }],
  ["extend lock", { kind: "extendLock", ...owner, fence: 0, ttlMs: 7_200_000 }],
  ["mdel", mdel],
  ["delete", deleteRequest("other")],
  ["unlock", { kind: "unlock", ...owner, fence: 0 }],
];

/** Every key with all that is known of it; as this node has it when `local`, also while its disk is stuck. */
function everything(world: World): readonly KeyValue[] {
  const outcome = world.now(
    world.range({ ...rangeRequest("\0", true), rangeEnd: Uint8Array.of(0) }),
  );
  if (outcome.kind !== "range") throw new Error(outcomeOf(outcome));
  return outcome.kvs;
}

describe("the ten operations", () => {
  it("are seen and answered only when the log holds them, each in one revision", () => {
    const world = new World().open();
    for (const [name, request] of OPERATIONS) {
      const before = everything(world);
      const { revision } = world.node.database.status();
      const stuck = world.machine.disk.inject({ operation: "write", path: LOG, ...STUCK });
      const answer = world.write(request);
      world.pass(1_000);
      expect([name, answer.isThere, everything(world)]).toEqual([name, false, before]);
      stuck.remove();
      world.until(() => answer.isThere);
      expect([name, outcomeOf(answer)]).toEqual([name, "ok"]);
      expect([name, everything(world)]).not.toEqual([name, before]);
      expect([name, world.node.database.status().revision]).toEqual([name, revision + 1]);
    }
    world.close();
  });

  it("are one command each, and are all replayed in their order after a power loss at any of them", () => {
    const world = new World().open();
    OPERATIONS.forEach(([name, request], i) => {
      expect([name, outcomeOf(world.now(world.write(request)))]).toEqual([name, "ok"]);
      const before = everything(world);
      world.losePower().open();
      expect([name, world.node.recovery.walEntriesReplayed]).toEqual([name, i + 1]);
      expect([name, everything(world)]).toEqual([name, before]);
    });
    expect(world.get("counter")).toBe("5");
    world.close();
  });

  it("on many keys happen for all of them or for none, wherever the power fails", () => {
    const found = new Set<string>();
    for (const [kind, request, from] of [
      ["mset", mset, 0],
      ["mdel", mdel, MANY],
    ] as const) {
      for (let seed = 1; seed <= 12; seed++) {
        const world = new World({ seed }).open();
        if (from > 0) world.now(world.write(mset));
        const answer = world.write(request);
        for (let events = 0; events < seed && !answer.isThere; events++)
          world.machine.scheduler.step();
        world.losePower(seed % 2 === 0 ? "torn" : "mixed").open();
        const count = everything(world).length;
        expect([0, MANY]).toContain(count);
        found.add(`${kind}: ${count}`);
      }
    }
    // Cut short in some runs, and whole in others.
    expect([...found].sort()).toEqual(["mdel: 0", "mdel: 100", "mset: 0", "mset: 100"]);
  });
});
