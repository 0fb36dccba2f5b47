/** What a node does with snapshots: made at an exact place while it works, counted, ended with it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type HarmonyError, hex, setVerifying, text } from "../base/index.ts";
import { MemoryEngine } from "../btree/index.ts";
import { openFile } from "../env/index.ts";
import { runIoNow } from "../env/sim/index.ts";
import { loadSnapshot } from "../snapshot/index.ts";
import type { MadeSnapshot, SnapshotReader } from "./snapshots.ts";
import { KvStateMachine } from "./state-machine.ts";
import { DATA, LOG, rangeRequest, World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const RETENTION = { retentionMs: 300_000, retentionRevisions: 10_000 };

function snapshot(world: World): MadeSnapshot {
  const answer = world.ask<MadeSnapshot | null>((reply) => world.node.snapshot(reply));
  return world.now(answer) as MadeSnapshot;
}

function startSnapshot(world: World): { error: HarmonyError | null; made: MadeSnapshot | null } {
  const found: { error: HarmonyError | null; made: MadeSnapshot | null } = {
    error: null,
    made: null,
  };
  world.node.snapshot((error, made) => {
    found.error = error;
    found.made = made;
  });
  return found;
}

/** The machine that a snapshot's file gives, and the file's header. */
function machineOf(world: World, made: MadeSnapshot): KvStateMachine {
  const path = `${DATA}/snap/${made.record.fileName}`;
  const file = runIoNow(world.machine, openFile(world.env.files, path, { access: "read" }));
  const engine = new MemoryEngine();
  const { header } = runIoNow(
    world.machine,
    loadSnapshot(file, () => world.env.sha256(), engine),
  );
  const { index, term } = header.meta;
  const machine = new KvStateMachine(
    engine,
    { payload: header.machine, appliedIndex: index, appliedTerm: term },
    RETENTION,
  );
  expect([machine.revision, machine.stateHash, machine.clockMs, machine.compactRevision]).toEqual([
    header.revision,
    header.stateHash,
    header.clockMs,
    header.compactRevision,
  ]);
  machine.invariants();
  return machine;
}

function snapshots(world: World): string[] {
  let names: readonly string[] = [];
  world.now(
    world.ask<readonly string[]>((reply) =>
      world.env.files.list(`${DATA}/snap/0`, (error, found) => {
        names = found;
        reply(error as HarmonyError | null, found);
      }),
    ),
  );
  return [...names];
}

describe("a node", () => {
  it("makes a snapshot at the exact index at which it was asked, while writes go on", () => {
    const world = new World().open();
    for (let i = 0; i < 300; i++) world.putNow(`k${i % 50}`, "x".repeat(900) + i);
    const { raftAppliedIndex, revision } = world.node.database.status();
    const keys = Array.from({ length: 50 }, (_, i) => `k${i}`);
    const before = keys.map((key) => world.get(key));
    const under = startSnapshot(world);
    let during = 0;
    while (under.made === null) {
      world.putNow(`k${during % 50}`, `later ${during}`);
      during++;
    }
    expect(during).toBeGreaterThan(1);
    expect(under.made.record.meta.index).toBe(raftAppliedIndex);
    expect(under.made.revision).toBe(revision);
    const machine = machineOf(world, under.made);
    const values = keys.map((key) => {
      const found = machine.range(rangeRequest(key));
      return found.kind === "range" ? text(found.kvs[0]?.value as Uint8Array) : found.code;
    });
    expect(values).toEqual(before);
    // The versions before it, too: the first of each key is readable at its revision.
    expect(machine.describe().filter((line) => line.startsWith("k7 "))).toHaveLength(6);
    expect(under.made.record.fileName).toMatch(/^0\/[0-9a-f]{16}-[0-9a-f]{16}\.snap$/);
    world.close();
  });

  it("keeps the newest three, or as many as it is told, over its end and the next start", () => {
    const world = new World().open();
    const names: string[] = [];
    for (let i = 0; i < 5; i++) {
      world.putNow("k", `${i}`);
      names.push(snapshot(world).record.fileName.slice(2));
    }
    expect(snapshots(world)).toEqual(names.slice(2));
    world.close();
    world.kill().open({ snapshotsKept: 1 });
    expect(snapshots(world)).toEqual(names.slice(2));
    const last = snapshot(world);
    expect(snapshots(world)).toEqual([last.record.fileName.slice(2)]);
    expect(machineOf(world, last).keyCount).toBe(1);
    world.close();
    expect((world.kill().tryOpen({ snapshotsKept: 0 }) as HarmonyError).code).toBe(
      "INVALID_ARGUMENT",
    );
  });

  it("gives those who ask meanwhile the next one, and one to all of them", () => {
    const world = new World().open();
    world.putNow("k", "1");
    const first = startSnapshot(world);
    world.putNow("k", "2");
    const [second, third] = [startSnapshot(world), startSnapshot(world)];
    world.until(() => third.made !== null);
    expect(second.made).toEqual(third.made);
    expect(second.made?.revision).toBeGreaterThan(first.made?.revision as number);
    expect(world.node.snapshotStats).toMatchObject({ made: 2, failed: 0 });
    expect(world.node.snapshotStats.lastSizeBytes).toBe(second.made?.record.sizeBytes);
  });

  it("gives the same file as long as nothing has happened, and another one when that is damaged", () => {
    const world = new World().open();
    world.putNow("k", "1".repeat(2_000));
    const first = snapshot(world);
    world.pass(5_000);
    expect(snapshot(world)).toEqual(first);
    world.machine.disk.flipBit(`${DATA}/snap/${first.record.fileName}`, 1_000, 1);
    world.pass(5_000);
    const second = snapshot(world);
    expect(second.record.fileName).toBe(first.record.fileName);
    expect(hex(second.record.sha256)).not.toBe(hex(first.record.sha256));
    expect(machineOf(world, second).keyCount).toBe(1);
  });

  it("reads one as bytes that end with their SHA-256, also when its file has gone meanwhile", () => {
    const world = new World().open();
    world.putNow("k", "1".repeat(3_000));
    const reader = world.now(
      world.ask<SnapshotReader | null>((reply) => world.node.openSnapshot(reply)),
    ) as SnapshotReader;
    for (let i = 0; i < 4; i++) {
      world.putNow("k", `${i}`);
      snapshot(world);
    }
    expect(snapshots(world)).not.toContain(reader.made.record.fileName.slice(2));
    const parts: Uint8Array[] = [];
    for (;;) {
      const part = world.now(world.ask<Uint8Array | null>((reply) => reader.read(1_000, reply)));
      if (part === null) break;
      parts.push(part);
    }
    reader.close();
    reader.close();
    const size = parts.reduce((sum, { length }) => sum + length, 0);
    expect(size).toBe(reader.made.record.sizeBytes);
    expect(size % 512).toBe(32);
    const digest = world.env.sha256();
    const all = new Uint8Array(size);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    expect(hex(all.subarray(-32))).toBe(hex(digest.update(all.subarray(0, -32)).finish()));
  });

  it("that has no room for one says DISK_FULL, leaves nothing behind and goes on", () => {
    const world = new World().open();
    world.putNow("k", "1");
    const isOurs = (path: string): boolean => path.includes("tmp/snapshot-");
    const full = world.machine.disk.inject({
      operation: "write",
      error: "ENOSPC",
      path: isOurs,
      times: Number.POSITIVE_INFINITY,
    });
    const under = startSnapshot(world);
    world.until(() => under.error !== null);
    expect(under.error?.code).toBe("DISK_FULL");
    full.remove();
    world.putNow("k", "2");
    expect(world.node.snapshotStats).toMatchObject({ made: 0, failed: 1 });
    expect(machineOf(world, snapshot(world)).keyCount).toBe(1);
    world.close();
  });

  it("that closes ends the one under way, answers who asked, and leaves no file under tmp", () => {
    const world = new World().open();
    for (let i = 0; i < 100; i++) world.putNow(`k${i}`, "x".repeat(5_000));
    const [under, waiting] = [startSnapshot(world), startSnapshot(world)];
    world.close();
    expect([under.error?.code, waiting.error?.code]).toEqual(["CLOSED", "CLOSED"]);
    const late = startSnapshot(world);
    world.until(() => late.error !== null);
    expect(late.error?.code).toBe("CLOSED");
    world.kill().open();
    expect(snapshotsUnderTmp(world)).toEqual([]);
  });

  it("that cannot write the record stops, as with any write to the log", () => {
    const world = new World().open();
    world.putNow("k", "1");
    const under = startSnapshot(world);
    world.machine.disk.inject({ operation: "write", error: "EIO", path: LOG });
    world.until(() => under.error !== null);
    world.until(() => world.fatal !== null);
    expect(world.fatal?.code).toBe("STOPPED");
    world.kill().open();
    expect(world.get("k")).toBe("1");
  });

  it("goes on from checkpoint and log after one, over kill and power loss", () => {
    const world = new World().open();
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 40; i++) world.putNow(`k${i}`, `${round}`);
      const { record } = snapshot(world);
      if (round === 1)
        world.now(
          world.ask<undefined>((reply) =>
            world.node.checkpoint((error) => reply(error, undefined)),
          ),
        );
      if (round % 2 === 0) world.losePower();
      else world.kill();
      world.open();
      expect(world.get("k39")).toBe(`${round}`);
      expect(snapshots(world)).toContain(record.fileName.slice(2));
    }
  });
});

function snapshotsUnderTmp(world: World): string[] {
  let names: readonly string[] | null = null;
  world.env.files.list(`${DATA}/tmp`, (_error, found) => {
    names = found;
  });
  world.until(() => names !== null);
  return (names as unknown as string[]).filter((name) => name.startsWith("snapshot-"));
}
