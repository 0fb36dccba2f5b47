/** A snapshot becomes a node of its own, and what is none becomes nothing. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type HarmonyError, setVerifying, text } from "../base/index.ts";
import { readFile, runIo, openFile, writeFile, fileSize } from "../env/index.ts";
import { runIoNow, sweepCrashes } from "../env/sim/index.ts";
import { installSnapshot, SnapshotStore } from "../snapshot/index.ts";
import { Wal } from "../wal/index.ts";
import { encodeCheckpointPayload } from "./checkpoint-payload.ts";
import { readVersion } from "./data-directory.ts";
import { inspectSnapshot, type Restored, type RestoreOptions, restoreSnapshot } from "./restore.ts";
import type { MadeSnapshot } from "./snapshots.ts";
import { DATA, rangeRequest, World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const NEW = "restored";
const SEGMENT = { walSegmentBytes: 64 * 1024 };

/** A node with some history that has made a snapshot and closed. */
function source(keys = 40): { readonly world: World; readonly file: string } {
  const world = new World().open();
  for (let i = 0; i < keys; i++) world.putNow(`k${i % 30}`, `${i}`);
  const made = world.now(
    world.ask<MadeSnapshot | null>((reply) => world.node.snapshot(reply)),
  ) as MadeSnapshot;
  world.close();
  world.kill();
  return { world, file: `${DATA}/snap/${made.record.fileName}` };
}

function restore(
  world: World,
  file: string,
  options: Partial<RestoreOptions> = {},
): { readonly restored: Restored | null; readonly code: string | null; readonly made: boolean } {
  let made = false;
  try {
    const io = restoreSnapshot(world.env, { file, dataDir: NEW, ...SEGMENT, ...options }, () => {
      made = true;
    });
    return { restored: runIoNow(world.machine, io), code: null, made };
  } catch (error) {
    return { restored: null, code: (error as HarmonyError).code, made };
  }
}

function revisionOf(world: World, key: string): number {
  const found = world.now(world.range(rangeRequest(key)));
  return found.kind === "range" ? (found.kvs[0]?.modRevision ?? 0) : -1;
}

describe("a snapshot that is restored", () => {
  it("is a node with the same keys and revisions, new ids, and a log that goes on", () => {
    const { world, file } = source();
    const { restored } = restore(world, file, { name: "other" });
    expect(restored).toMatchObject({ revision: 41, keys: 30 });
    world.kill().open({ dataDir: NEW, name: "other" });
    expect(world.get("k29")).toBe("29");
    expect(world.get("k9")).toBe("39");
    expect(revisionOf(world, "k9")).toBe(41);
    const status = world.node.database.status();
    expect(status.clusterId).toBe(BigInt(restored?.clusterId as number));
    world.putNow("k9", "new");
    expect(revisionOf(world, "k9")).toBe(42);
    world.losePower().open({ dataDir: NEW });
    expect(world.get("k9")).toBe("new");
    world.close();

    // The old directory is what it was, and its ids are others.
    world.kill().open();
    expect(world.get("k9")).toBe("39");
    const old = world.node.database.status();
    expect(old.clusterId).not.toBe(status.clusterId);
    expect(old.memberId).not.toBe(status.memberId);
    world.close();
  });

  it("goes on at a later revision and forgets what was before, where that is asked for", () => {
    const { world, file } = source();
    const { restored } = restore(world, file, { bumpRevisions: 1_000, markCompacted: true });
    expect(restored?.revision).toBe(1_041);
    world.kill().open({ dataDir: NEW });
    expect(world.get("k9")).toBe("39");
    expect(world.node.database.status()).toMatchObject({
      revision: 1_041,
      compactRevision: 1_041,
    });
    const old = world.now(world.range({ ...rangeRequest("k9"), revision: 41 }));
    expect(old).toMatchObject({ kind: "error", code: "COMPACTED" });
    world.putNow("k9", "new");
    expect(revisionOf(world, "k9")).toBe(1_042);
    world.close();
  });

  it("gives the same ids to all that are restored from it with the same names, others to any other", () => {
    const { world, file } = source();
    const ids = (options: Partial<RestoreOptions>): unknown => {
      const { restored } = restore(world, file, options);
      return [restored?.clusterId, restored?.memberId];
    };
    const first = ids({ dataDir: "a", name: "n", clusterToken: "t" });
    expect(ids({ dataDir: "b", name: "n", clusterToken: "t" })).toEqual(first);
    expect(ids({ dataDir: "c", name: "n", clusterToken: "u" })).not.toEqual(first);
    const other = source(41);
    const { restored } = restore(other.world, other.file, { name: "n", clusterToken: "t" });
    expect([restored?.clusterId, restored?.memberId]).not.toEqual(first);
  });

  it("says what it is without being restored", () => {
    const { world, file } = source();
    const report = runIoNow(world.machine, inspectSnapshot(world.env, file));
    expect(report).toMatchObject({ revision: 41, keys: 30 });
    expect(report.entries).toBeGreaterThan(report.keys);
    expect(report.sizeBytes % 512).toBe(32);
  });

  it("is refused for a directory that exists, whatever it holds, and nothing there is touched", () => {
    const { world, file } = source();
    expect(restore(world, file, { dataDir: DATA })).toMatchObject({
      code: "INVALID_ARGUMENT",
      made: false,
    });
    world.open();
    expect(world.get("k9")).toBe("39");
  });

  it("is refused when it is damaged, cut, or no snapshot, before a directory is made", () => {
    const { world, file } = source();
    expect(restore(world, "VERSION of nothing")).toMatchObject({ code: "IO", made: false });
    expect(restore(world, `${DATA}/VERSION`)).toMatchObject({
      code: "NOT_A_SNAPSHOT",
      made: false,
    });
    world.machine.disk.flipBit(file, 1_500, 2);
    expect(restore(world, file)).toMatchObject({ code: "CORRUPT", made: false });
  });

  it("says DISK_FULL where there is no room, and what is there then is no data directory", () => {
    const { world, file } = source();
    world.machine.disk.inject({
      operation: "write",
      error: "ENOSPC",
      path: (path) => path.startsWith(`${NEW}/`),
      times: Number.POSITIVE_INFINITY,
      skip: 3,
    });
    expect(restore(world, file)).toMatchObject({ code: "DISK_FULL", made: true });
    expect(runIoNow(world.machine, readVersion(world.env.files, NEW))).toBeNull();
  });

  it("is there as a whole or no data directory, after a crash at every file operation", () => {
    const { world, file } = source(10);
    let isDone = false;
    const seen = { whole: 0, none: 0 };
    const end = sweepCrashes(
      world.machine,
      (crashed) => {
        const again = new World({}, crashed);
        const version = (() => {
          try {
            return runIoNow(crashed, readVersion(again.env.files, NEW));
          } catch {
            return null;
          }
        })();
        if (version === null) {
          expect(isDone).toBe(false);
          seen.none++;
          return;
        }
        again.open({ dataDir: NEW });
        expect(again.get("k9")).toBe("9");
        expect(again.node.database.status().revision).toBe(11);
        seen.whole++;
      },
      { powerLossesMax: 3 },
    );
    expect(restore(world, file).code).toBeNull();
    isDone = true;
    end();
    expect(seen.none).toBeGreaterThan(20);
    expect(seen.whole).toBeGreaterThan(0);
    world.losePower().open({ dataDir: NEW });
    expect(world.get("k9")).toBe("9");
  });
});

describe("a node that was stopped between the record of an install and its data file", () => {
  it("starts with what was installed", () => {
    // A leader of the same cluster that is far ahead, and a follower that has less.
    const ahead = source(200);
    const bytes = runIoNow(
      ahead.world.machine,
      (function* () {
        const from = yield* openFile(ahead.world.env.files, ahead.file, { access: "read" });
        const all = new Uint8Array(yield* fileSize(from));
        yield* readFile(from, 0, all);
        return all;
      })(),
    );
    const behind = source(10).world;
    const { env, machine } = behind;
    const version = runIoNow(machine, readVersion(env.files, DATA));
    const identity = { memberId: version?.memberId as number, walId: version?.walId as Uint8Array };
    let image: World | null = null;
    const install = (function* () {
      const store = yield* SnapshotStore.open(env, DATA);
      const { wal } = yield* Wal.open(env, { directory: DATA, ...SEGMENT }, identity, []);
      const path = store.temporaryPath({ group: 0, term: 1, index: 1 });
      const file = yield* openFile(env.files, path, { access: "readwrite", create: "exclusive" });
      yield* writeFile(file, 0, bytes);
      yield* installSnapshot(path, {
        env,
        store,
        directory: DATA,
        group: 0,
        fileId: identity.walId,
        walLsn: wal.durableLsn,
        clusterId: version?.clusterId as number,
        commit: wal.hardState(0).commit,
        keep: 3,
        payload: ({ meta, machine: payload }) =>
          encodeCheckpointPayload({ incarnation: 1, confState: meta.confState, machine: payload }),
        *record(snapshot) {
          const { index, term } = snapshot.meta;
          const hardState = { term: term + 1, vote: 0, commit: index };
          yield (done) => {
            wal.append([{ group: 0, snapshot, entries: [], hardState }], () =>
              done(null, undefined),
            );
          };
          const crashed = machine.fork();
          crashed.losePower();
          image = new World({}, crashed);
        },
      });
    })();
    runIo(install, () => {});
    behind.until(() => image !== null);
    const node = image as unknown as World;
    node.open();
    expect(node.get("k9")).toBe("189");
    expect(node.node.database.status().revision).toBe(201);
    node.putNow("k9", "after");
    node.losePower().open();
    expect(node.get("k9")).toBe("after");
    expect(text(bytes.subarray(0, 7))).toBe("HDBSNAP");
  });
});
