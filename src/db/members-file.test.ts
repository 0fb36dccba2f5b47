/** MEMBERS on the disk, as time goes on: who is in it, with which directory, and what a start makes of it. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type HarmonyError, setVerifying } from "../base/index.ts";
import {
  closeFile,
  fileSize,
  type Io,
  openFile,
  readFile,
  syncFile,
  writeFile,
} from "../env/index.ts";
import { runIoNow, SimEnv } from "../env/sim/index.ts";
import { ClusterWorld, initialCluster, NAMES, optionsOf, url } from "./cluster.suite.ts";
import { MembersFile } from "./members-file.ts";
import type { NodeOptions } from "./node-options.ts";
import type { MemberRequest } from "./requests.ts";
import { readSmallFile, replaceFile, seal, unseal } from "./sealed-file.ts";
import { DATA, TREE, World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const PATH = `${DATA}/MEMBERS`;
const TIMEOUT = { timeout: 120_000 };

/** What a start would find after a power loss now. */
function onDisk(world: World): MembersFile | null {
  const copy = world.machine.fork();
  copy.losePower("lose-all");
  return runIoNow(copy, MembersFile.read(copy.boot(), DATA));
}

const namesOn = (world: World): readonly string[] | undefined =>
  onDisk(world)
    ?.members.map(({ name }) => name)
    .toSorted();

function change(world: World, request: MemberRequest): void {
  const outcome = world.now(
    world.ask<Parameters<Parameters<typeof world.node.database.changeMembers>[2]>[1]>((reply) =>
      world.node.database.changeMembers(request, {}, reply),
    ),
  );
  if (outcome.kind === "error") throw new Error(`refused: ${outcome.code}`);
}

/** Flips bytes all over the data file of a node that is down. */
function damageData({ machine, env }: World): void {
  runIoNow(
    machine,
    (function* (): Io<void> {
      const file = yield* openFile(env.files, TREE, { access: "readwrite" });
      const bytes = new Uint8Array(yield* fileSize(file));
      yield* readFile(file, 0, bytes);
      for (let at = 16; at < bytes.length; at += 8)
        if (bytes[at] !== 0) bytes[at] = (bytes[at] as number) ^ 0x55;
      yield* writeFile(file, 0, bytes);
      yield* syncFile(file);
      yield* closeFile(file);
    })(),
  );
}

describe("a member that comes anew, with its disk lost", TIMEOUT, () => {
  it("is known to one that was restarted between its addition and their meeting, and again after that", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    const leader = cluster.leader();
    const [witness, other] = cluster.followers() as [World, World];
    cluster.pass(1_000);
    change(leader, { kind: "memberAdd", peerUrls: [url("n4")], isLearner: true });
    cluster.untilCaughtUp(witness);
    const id = witness.node.database.status().members.find(({ name }) => name === "")?.id;
    cluster.checkpointAll(witness);
    cluster.kill(witness);
    cluster.start(witness);
    cluster.untilCaughtUp(witness);
    // The witness alone meets it: what it says of itself reaches no leader, so anybody takes a second one for the first.
    for (const world of [leader, other])
      for (const [from, to] of [
        ["n4", cluster.nameOf(world)],
        [cluster.nameOf(world), "n4"],
      ] as const)
        cluster.network.setWeather(url(from), url(to), { isCut: true });
    const join = (seed: number): World => {
      const world = cluster.world("n4", seed);
      const names = [...NAMES, "n4"].map((name) => ({ name, peerUrls: [url(name)] }));
      world.startOpen(optionsOf("n4", { initialCluster: names, join: true }), () => {});
      return world;
    };
    const first = join(44);
    const met = `${cluster.nameOf(witness)} info: speaks to ${url("n4")}`;
    cluster.until("meeting", () => cluster.logged.some((line) => line.startsWith(met)));
    expect(onDisk(witness)?.walIds.get(Number(id))).toEqual(first.node.identity.walId);
    first.losePower("lose-all");
    cluster.kill(witness);
    cluster.start(witness);
    cluster.untilCaughtUp(witness);
    cluster.logged.length = 0;
    join(45);
    const refused = `${cluster.nameOf(witness)} error: a node that calls itself n4 was refused {"code":"DATA_LOST"`;
    cluster.until("refusal", () => cluster.logged.some((line) => line.startsWith(refused)));
    expect(cluster.logged.some((line) => line.startsWith(met))).toBe(false);
  });
});

describe("of two members one that is left alone", TIMEOUT, () => {
  const initial = initialCluster.slice(0, 2);
  const options: Partial<NodeOptions> = optionsOf("n1", { initialCluster: initial });
  let cluster: ClusterWorld;
  let node: World;
  let other: World;

  const startTwo = (): void => {
    cluster = new ClusterWorld({ initialCluster: initial });
    [node, other] = cluster.nodes as [World, World];
    cluster.start(node, other);
    cluster.leader().putNow("k", "v");
    cluster.pass(1_000);
    expect(namesOn(node)).toEqual(["n1", "n2"]);
  };
  const removal = (): MemberRequest => ({
    kind: "memberRemove",
    id: other.node.database.memberId,
  });
  const untilAlone = (): void => {
    cluster.until("end", () => other.fatal?.code === "MEMBER_REMOVED");
    cluster.kill(other);
    cluster.pass(2_000);
  };

  /** And has put nothing aside. */
  const expectRefusal = (): void => {
    expect(namesOn(node)).toEqual(["n1"]);
    expect(onDisk(node)?.walIds.size).toBe(0);
    cluster.close(node);
    damageData(node);
    const refused = node.tryOpen(options) as HarmonyError;
    expect([refused.code, refused.message]).toEqual([
      "CORRUPT",
      expect.stringMatching(/0\.hdb at offset/),
    ]);
    node.kill();
    for (const name of ["damaged", "QUARANTINE"])
      expect(cluster.list(node, DATA)).not.toContain(name);
  };

  it("refuses damage with file and offset, as nobody is there any more who could heal it", () => {
    startTwo();
    change(node, removal());
    untilAlone();
    expectRefusal();
  });

  it("does so also when its MEMBERS is one of before, and it was started once since", () => {
    startTwo();
    const before = runIoNow(node.machine, readSmallFile(node.env.files, PATH, 10_000)) as string;
    change(node, removal());
    untilAlone();
    cluster.close(node);
    runIoNow(node.machine, replaceFile(node.env.files, DATA, "MEMBERS", before));
    expect(namesOn(node)).toEqual(["n1", "n2"]);
    node.open(options);
    cluster.pass(2_000);
    expect(node.get("k")).toBe("v");
    expectRefusal();
  });

  it("has written it when it is closed", () => {
    startTwo();
    const slow = { operation: "rename", path: `${DATA}/tmp/MEMBERS`, delayMs: 20_000 } as const;
    node.machine.disk.inject(slow);
    change(node, removal());
    cluster.close(node);
    expect(namesOn(node)).toEqual(["n1"]);
  });

  it("does so wherever the power is lost, and knows the directory of the other until its removal is durable", () => {
    let isDone = false;
    for (let operations = 1; !isDone; operations++) {
      startTwo();
      const { machine } = node;
      // MEMBERS is there long before the checkpoint that makes the removal durable.
      const slow = { operation: "sync", path: TREE, delayMs: 200, times: Infinity } as const;
      const checkpoint = machine.disk.inject(slow);
      machine.haltAt(machine.disk.opCount + operations, "after");
      const { database } = node.node;
      node.ask<unknown>((reply) => database.changeMembers(removal(), {}, reply));
      cluster.until("end", () => !machine.running || other.fatal !== null);
      isDone = machine.running;
      machine.disk.observer = undefined;
      checkpoint.remove();
      if (!isDone) {
        node.losePower("mixed");
        cluster.isolate(node, true);
        const isKnown = onDisk(node)?.walIds.has(Number(other.node.database.memberId));
        node.open(options);
        expect([
          operations,
          isKnown === true || node.node.database.status().members.length,
        ]).toEqual([operations, isKnown === true || 1]);
        cluster.isolate(node, false);
        const { memberId } = node.node.database;
        cluster.until("leader", () => node.node.database.status().leader === memberId);
        expect(node.get("k")).toBe("v");
        // The power may have been lost before anything of it was durable anywhere.
        if (node.node.database.status().members.length > 1) change(node, removal());
      }
      untilAlone();
      expectRefusal();
    }
  });
});

describe("the one that was removed", TIMEOUT, () => {
  it("is told so at each start, with the others still named", () => {
    const cluster = new ClusterWorld();
    cluster.start(...cluster.nodes);
    cluster.leader().putNow("k", "v");
    const [gone] = cluster.followers() as [World];
    change(cluster.leader(), { kind: "memberRemove", id: gone.node.database.memberId });
    cluster.until("end", () => gone.fatal?.code === "MEMBER_REMOVED");
    cluster.kill(gone);
    const file = onDisk(gone);
    expect(file?.removal).toMatch(/was removed from the cluster/);
    expect(file?.members.length).toBeGreaterThan(1);
    const again = gone.tryOpen(optionsOf(cluster.nameOf(gone))) as HarmonyError;
    expect(again.code).toBe("MEMBER_REMOVED");
  });
});

describe("the file", () => {
  const A = { id: 1, name: "a", peerUrls: [url("a")] };
  const B = { id: 2, name: "b", peerUrls: [url("b")] };
  const walId = (byte: number): Uint8Array => new Uint8Array(16).fill(byte);
  const none: ReadonlySet<number> = new Set();
  let world: World;
  let file: MembersFile;

  beforeEach(() => {
    world = new World({}, new SimEnv({ seed: 1 }));
    runIoNow(
      world.machine,
      (function* (): Io<void> {
        for (const directory of [DATA, `${DATA}/tmp`])
          yield (done) => world.env.files.mkdir(directory, done);
        yield (done) => world.env.files.syncDir(".", done);
        yield (done) => world.env.files.syncDir(DATA, done);
      })(),
    );
    file = new MembersFile(world.env, DATA, [A, B], new Map());
    runIoNow(world.machine, file.write());
  });

  const remember = (id: number, byte: number): void => {
    const end = { error: undefined as Error | null | undefined };
    file.remember(id, walId(byte), (error) => Object.assign(end, { error }));
    world.until(() => end.error !== undefined);
    expect(end.error).toBeNull();
  };

  it("keeps the directories of all that were met, and names the members alone", () => {
    // One that others spoke of, and that the state here does not know yet.
    remember(7, 70);
    remember(2, 20);
    expect(onDisk(world)?.members).toEqual([A, B]);
    expect(onDisk(world)?.walIds).toEqual(
      new Map([
        [2, walId(20)],
        [7, walId(70)],
      ]),
    );
    // Its removal is applied, and may yet be forgotten with the power.
    file.become([A], none);
    world.pass(1_000);
    expect(onDisk(world)?.members).toEqual([A]);
    expect(onDisk(world)?.walIds.get(2)).toEqual(walId(20));
    file.become([A], new Set([2]));
    world.pass(1_000);
    expect(onDisk(world)?.members).toEqual([A]);
    expect([...(onDisk(world)?.walIds.keys() ?? [])]).toEqual([7]);
  });

  it("is written for what has changed, and for nothing else", () => {
    remember(2, 20);
    const { opCount } = world.machine.disk;
    file.become([{ ...B }, { ...A }], none);
    world.pass(1_000);
    expect(world.machine.disk.opCount).toBe(opCount);
    file.become([A, { ...B, name: "other" }], none);
    world.pass(1_000);
    expect(onDisk(world)?.members).toEqual([A, { ...B, name: "other" }]);
  });

  it("does not appear where a node is alone, until somebody is met", () => {
    const other = new MembersFile(world.env, `${DATA}/tmp`, [], new Map());
    const { opCount } = world.machine.disk;
    other.become([A], none);
    world.pass(1_000);
    expect(world.machine.disk.opCount).toBe(opCount);
  });

  it("is written later where there was no room, once", () => {
    const full = world.machine.disk.inject({
      operation: "write",
      path: `${DATA}/tmp/MEMBERS`,
      error: "ENOSPC",
      times: 3,
    });
    file.become([A], none);
    world.pass(1_000);
    expect(full.struck).toBe(1);
    file.become([A], new Set([2]));
    world.pass(100_000);
    expect(full.struck).toBe(3);
    expect(world.machine.disk.quiet).toBe(true);
    expect(onDisk(world)?.members).toEqual([A]);
    expect(world.logged).toEqual([]);
    const { opCount } = world.machine.disk;
    world.pass(100_000);
    expect(world.machine.disk.opCount).toBe(opCount);
  });

  it("is left alone once the node ends, which waits for what is being written", () => {
    const slow = world.machine.disk.inject({ operation: "rename", path: () => true, delayMs: 500 });
    file.become([A], none);
    file.end();
    let isQuiet = false;
    file.whenQuiet(() => (isQuiet = true));
    expect(isQuiet).toBe(false);
    world.until(() => isQuiet);
    expect(slow.struck).toBe(1);
    expect(onDisk(world)?.members).toEqual([A]);
    const { opCount } = world.machine.disk;
    file.become([B], none);
    world.pass(100_000);
    expect(world.machine.disk.opCount).toBe(opCount);
    file.whenQuiet(() => (isQuiet = false));
    expect(isQuiet).toBe(false);
  });

  it("says nothing that older versions trip over, and reads what they wrote", () => {
    remember(7, 70);
    const content = runIoNow(world.machine, readSmallFile(world.env.files, PATH, 10_000)) as string;
    expect(JSON.parse(content)).toMatchObject({ format: 1, members: [A, B] });
    const { met: _, checksum: __, ...older } = JSON.parse(content) as Record<string, unknown>;
    runIoNow(
      world.machine,
      replaceFile(world.env.files, DATA, "MEMBERS", seal(JSON.stringify(older))),
    );
    expect(onDisk(world)?.members).toEqual([A, B]);
    expect(onDisk(world)?.walIds.size).toBe(0);
    expect(unseal(content).isSealed).toBe(true);
  });

  it.each([
    ["no list", { met: 7 }],
    ["an id that is none", { met: [{ id: 0.5, walId: "0".repeat(32) }] }],
    ["a directory that is none", { met: [{ id: 7, walId: "0" }] }],
  ])("is refused with %s of those that were met", (_what, part) => {
    const json = JSON.stringify({ format: 1, members: [A], ...part });
    runIoNow(world.machine, replaceFile(world.env.files, DATA, "MEMBERS", seal(json)));
    expect(() => onDisk(world)).toThrow(/MEMBERS/);
  });
});
