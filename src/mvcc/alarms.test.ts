/** What was raised is data: it is the same after a restart, shows in the hash, and is bounded. */
import { describe, expect, it } from "vitest";
import { MemoryEngine } from "../btree/index.ts";
import { AlarmKind, ALARMS_MAX, Alarms } from "./alarms.ts";
import { StateHash } from "./state-hash.ts";

describe("alarms", () => {
  it("are raised once, listed in order, cleared once, and found again", () => {
    const engine = new MemoryEngine();
    const hash = new StateHash(1);
    const alarms = new Alarms(engine, hash);
    const corrupt = { kind: AlarmKind.corrupt, memberId: 2n ** 64n - 1n };
    const full = { kind: AlarmKind.noSpace, memberId: 7n };
    const ofNobody = { kind: AlarmKind.corrupt, memberId: 0n };
    for (const alarm of [corrupt, full, ofNobody]) alarms.set(alarm, true);
    const raised = hash.value;
    alarms.set(corrupt, true);
    expect(hash.value).toBe(raised);
    expect(alarms.list).toEqual([full, ofNobody, corrupt]);
    expect(new Alarms(engine, new StateHash(0)).list).toEqual(alarms.list);
    alarms.set(ofNobody, false);
    expect(hash.value).not.toBe(raised);
    const cleared = hash.value;
    alarms.set(ofNobody, false);
    alarms.set({ kind: AlarmKind.noSpace, memberId: 8n }, false);
    expect(hash.value).toBe(cleared);
    expect(alarms.list).toEqual([full, corrupt]);
  });

  it("are no more than so many, whatever clients raise", () => {
    const alarms = new Alarms(new MemoryEngine(), new StateHash(0));
    for (let id = 0; id < ALARMS_MAX + 50; id++)
      alarms.set({ kind: AlarmKind.noSpace, memberId: BigInt(id) }, true);
    expect(alarms.list.length).toBe(ALARMS_MAX);
  });
});
