/** Snapshots between two members in simulated time: what is asked, sent and kept to, and what Raft is told of it. */
import { beforeEach, describe, expect, it } from "vitest";
import { equalBytes, HarmonyError, utf8 } from "../../base/index.ts";
import { decodePeerFrame, encodePeerFrame, type PeerFrame } from "../../codec/index.ts";
import { type Env, openFile, readFile, runIo } from "../../env/index.ts";
import { runIoNow, SimEnv, SimNetwork, SimScheduler } from "../../env/sim/index.ts";
import { helloTo } from "../peers/handshake.ts";
import { Membership, Peers, type Self } from "../peers/index.ts";
import {
  type PartialSnapshot,
  type PulledSnapshot,
  SnapshotPull,
  SnapshotServer,
  type SnapshotSource,
} from "./index.ts";

const CLUSTER = 77;
const CONF = {
  voters: [1, 2],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false,
};
const url = (id: number): string => `http://n${id}:2380`;
const SIZE = 1_500_000;
const BYTES: Uint8Array = Uint8Array.from({ length: SIZE }, (_, i) => (i * 31 + (i >> 8)) & 0xff);

/** A snapshot at entry 50 that stands in memory; what was done with it is written down. */
class TestSource implements SnapshotSource {
  readonly asked: string[] = [];
  opened = 0;
  closed = 0;
  distrusted = 0;
  /** Of one read. */
  delayMs = 0;
  openMs = 0;
  refuse: HarmonyError | null = null;
  /** Another one is another file. */
  digest = 9;
  readonly #env: Env;

  constructor(env: Env) {
    this.#env = env;
  }

  open: SnapshotSource["open"] = (want, done) => {
    this.asked.push(`${want.group} ${want.indexAtLeast} ${want.member}`);
    this.#env.timers.after(this.openMs, () => {
      if (this.refuse !== null) {
        done(this.refuse, null);
        return;
      }
      this.opened++;
      let at = 0;
      done(null, {
        meta: { index: 50, term: 3, confState: CONF },
        sizeBytes: SIZE,
        sha256: new Uint8Array(32).fill(this.digest),
        skipTo: (offset) => {
          at = offset;
        },
        read: (bytesMax, read) => {
          this.#env.timers.after(this.delayMs, () => {
            const bytes = BYTES.slice(at, at + bytesMax);
            at += bytes.length;
            read(null, bytes.length === 0 ? null : bytes);
          });
        },
        close: () => this.closed++,
        distrust: () => this.distrusted++,
      });
    });
  };
}

class World {
  readonly scheduler = new SimScheduler(3);
  readonly network = new SimNetwork(this.scheduler, 3);
  readonly machines: readonly SimEnv[];
  readonly envs: readonly Env[];
  readonly reports: string[] = [];
  readonly source: TestSource;
  readonly server: SnapshotServer;
  readonly peers: readonly Peers[];

  /** Member 1 gives, member 2 pulls. */
  constructor(bytesPerSecond = 0) {
    this.machines = [1, 2].map(
      (id) =>
        new SimEnv({
          seed: id,
          scheduler: this.scheduler,
          network: { of: this.network, url: url(id) },
        }),
    );
    this.envs = this.machines.map((machine) => machine.boot());
    const [giver] = this.envs as [Env, Env];
    this.source = new TestSource(giver);
    this.server = new SnapshotServer({
      env: giver,
      source: this.source,
      bytesPerSecond,
      report: (group, member, hasArrived) =>
        this.reports.push(`group ${group}, member ${member}: ${hasArrived ? "has it" : "has not"}`),
    });
    this.peers = this.envs.map((env, i) => {
      const peers = new Peers({
        env,
        links: linksOf(env),
        self: this.self(i + 1),
        membership: membership(),
        deliver: () => {},
        lost: () => {},
        gone: () => {},
        linked: () => {},
        ...(i === 0 ? { snapshots: this.server } : {}),
      });
      peers.start();
      return peers;
    });
    this.pass(200);
  }

  readonly boots: readonly Uint8Array[] = [1, 2].map((id) => new Uint8Array(16).fill(id));

  self(id: number): Self {
    return {
      clusterId: CLUSTER,
      memberId: id,
      walId: new Uint8Array(16).fill(id),
      bootId: this.boots[id - 1] as Uint8Array,
      name: `n${id}`,
      clientUrls: [],
      peerUrls: [],
    };
  }

  get puller(): Env {
    return this.envs[1] as Env;
  }

  pass(ms: number): void {
    this.scheduler.runUntil(this.scheduler.nowMs + ms);
  }

  until(what: string, isOver: () => boolean): void {
    for (let waitedMs = 0; waitedMs < 120_000; waitedMs += 10) {
      if (isOver()) return;
      this.pass(10);
    }
    throw new Error(`no ${what}`);
  }

  pull(change: Partial<Want> = {}): Pulling {
    return new Pulling(this, { indexAtLeast: 40, urls: [url(1)], from: 1, ...change });
  }

  /** A call that says and hears frames by hand. */
  call(id = 2): { readonly heard: PeerFrame[]; say(frame: SaidFrame): void; isOver: boolean } {
    const heard: PeerFrame[] = [];
    const call = {
      heard,
      isOver: false,
      say: (frame: SaidFrame): void => link.send(encodePeerFrame(frame)),
    };
    const link = linksOf(this.envs[id - 1] as Env).dial(url(1), {
      frame: (bytes) => heard.push(decodePeerFrame(bytes)),
      drained: () => {},
      closed: () => (call.isOver = true),
    });
    call.say({ ...helloTo(this.self(id), 1), purpose: "snapshot" });
    this.pass(50);
    return call;
  }
}

interface Want {
  readonly indexAtLeast: number;
  readonly urls: string[];
  readonly from: number;
  readonly partial?: PartialSnapshot | null;
}

type SaidFrame = Parameters<typeof encodePeerFrame>[0];

function linksOf(env: Env): NonNullable<Env["links"]> {
  if (env.links === undefined) throw new Error("the machine is on a network");
  return env.links;
}

function membership(): Membership {
  return new Membership({
    members: [1, 2].map((id) => ({ id, name: `n${id}`, peerUrls: [url(id)] })),
    remember: (_id, _walId, done) => done(null),
  });
}

/** A pull under way and how it ended. */
class Pulling {
  readonly pull: SnapshotPull;
  received = 0;
  pulled: PulledSnapshot | null = null;
  error: HarmonyError | null = null;

  constructor(world: World, want: Want) {
    const env = world.puller;
    this.pull = new SnapshotPull({
      env,
      links: linksOf(env),
      self: world.self(2),
      judge: () => null,
      group: 0,
      into: "arriving",
      received: (bytes) => (this.received += bytes),
      ...want,
    });
    runIo(this.pull.run(), (error, pulled) => {
      this.error = error as HarmonyError | null;
      this.pulled = pulled ?? null;
    });
  }

  get isOver(): boolean {
    return this.pulled !== null || this.error !== null;
  }
}

describe("a pull", { timeout: 30_000 }, () => {
  let world: World;
  beforeEach(() => {
    world = new World();
  });

  const fileIs = (): Uint8Array | null => {
    const copy = (world.machines[1] as SimEnv).fork();
    copy.kill();
    const { files } = copy.boot();
    try {
      const file = runIoNow(copy, openFile(files, "arriving", { access: "read" }));
      const into = new Uint8Array(SIZE + 1);
      return into.slice(0, runIoNow(copy, readFile(file, 0, into)));
    } catch {
      return null;
    }
  };

  it("brings the file byte by byte, says what it is, and is over for Raft when it is taken", () => {
    world.server.announced(0, 2);
    const pulling = world.pull();
    world.until("snapshot", () => pulling.isOver);
    expect(pulling.error).toBeNull();
    expect(pulling.pulled).toEqual({
      path: "arriving",
      index: 50,
      term: 3,
      sizeBytes: SIZE,
      sha256: new Uint8Array(32).fill(9),
    });
    expect(equalBytes(fileIs() ?? BYTES.subarray(1), BYTES)).toBe(true);
    expect(world.source.asked).toEqual(["0 40 2"]);
    // However long it is checked.
    world.pass(60_000);
    expect(world.reports).toEqual([]);
    const none = { durationMs: 0, lastDurationMs: 0 };
    expect(world.server.stats).toEqual({ sent: 0, failed: 0, sentBytes: SIZE, ...none, pulls: 1 });
    pulling.pull.taken();
    world.pass(100);
    expect(world.reports).toEqual(["group 0, member 2: has it"]);
    expect(world.server.stats).toMatchObject({ sent: 1, failed: 0, sentBytes: SIZE, pulls: 0 });
    // From being asked for to hearing that it was taken.
    const { durationMs, lastDurationMs } = world.server.stats;
    expect(durationMs).toBe(lastDurationMs);
    expect(lastDurationMs).toBeGreaterThanOrEqual(60_000);
    expect(lastDurationMs).toBeLessThanOrEqual(60_100);
    expect([world.source.opened, world.source.closed]).toEqual([1, 1]);
  });

  it("tries one URL after the other, and says why it came to nothing", () => {
    const found = world.pull({ urls: ["http://nowhere:1", url(1)] });
    world.until("snapshot", () => found.isOver);
    expect(found.pulled?.index).toBe(50);
    found.pull.taken();
    world.pass(100);
    const lost = world.pull({ urls: ["http://nowhere:1"] });
    world.until("end", () => lost.isOver);
    expect(lost.error?.code).toBe("PEER_FAILED");
    expect(lost.error?.message).toMatch(/nowhere:1: refused/);
    const wrong = world.pull({ from: 9 });
    world.until("end", () => wrong.isOver);
    expect(wrong.error?.message).toMatch(/WRONG_MEMBER/);
    const none = world.pull({ urls: [] });
    world.until("end", () => none.isOver);
    expect(none.error?.message).toMatch(/no peer URL/);
  });

  it("is told by name what the other cannot give, and Raft that it has not arrived", () => {
    world.source.refuse = new HarmonyError("DISK_FULL", "no room to make one");
    world.server.announced(0, 2);
    const pulling = world.pull();
    world.until("end", () => pulling.isOver);
    expect(pulling.error?.message).toMatch(/DISK_FULL: .*no room to make one/);
    expect(world.reports).toEqual(["group 0, member 2: has not"]);
    expect(fileIs()).toBeNull();
  });

  it("takes no snapshot that ends before what it asked for", () => {
    const pulling = world.pull({ indexAtLeast: 51 });
    world.until("end", () => pulling.isOver);
    expect(pulling.error?.code).toBe("PEER_FAILED");
    expect(fileIs()).toBeNull();
  });

  it("keeps what has come when the link breaks, and goes on from there, if it is still the same file", () => {
    world.network.setWeather(url(1), url(2), { bytesPerMs: 300 });
    let partial: PartialSnapshot | null = null;
    let receivedBytes = 0;
    for (let attempt = 0; attempt < 3; attempt++) {
      const broken: Pulling = world.pull({ partial });
      world.until("bytes", () => broken.received > 0);
      world.network.breakLinks(url(1), url(2));
      world.until("end", () => broken.isOver);
      expect(broken.error?.code).toBe("PEER_FAILED");
      receivedBytes += broken.received;
      ({ partial } = broken.pull);
      expect(partial?.offset).toBe(receivedBytes);
      world.pass(5_000);
    }
    const rest = world.pull({ partial });
    world.until("snapshot", () => rest.isOver);
    expect(receivedBytes + rest.received).toBe(SIZE);
    expect(equalBytes(fileIs() ?? BYTES.subarray(1), BYTES)).toBe(true);
    rest.pull.taken();

    const broken = world.pull();
    world.until("bytes", () => broken.received > 0);
    world.network.breakLinks(url(1), url(2));
    world.until("end", () => broken.isOver);
    world.source.digest = 10;
    world.pass(5_000);
    const other = world.pull({ partial: broken.pull.partial });
    world.until("snapshot", () => other.isOver);
    expect(other.received).toBe(SIZE);
    expect(other.pulled?.sha256).toEqual(new Uint8Array(32).fill(10));
  });

  it("leaves nothing when it is stopped, or when the disk is full", () => {
    world.network.setWeather(url(1), url(2), { bytesPerMs: 300 });
    const stopped = world.pull();
    world.until("bytes", () => stopped.received > 0);
    stopped.pull.stop(new HarmonyError("CLOSED"));
    world.until("end", () => stopped.isOver);
    expect(stopped.error?.code).toBe("CLOSED");
    expect(fileIs()).toBeNull();

    (world.machines[1] as SimEnv).disk.inject({
      operation: "write",
      path: "arriving",
      error: "ENOSPC",
      skip: 2,
    });
    const full = world.pull();
    world.until("end", () => full.isOver);
    expect(full.error).toMatchObject({ isFull: true });
    expect(fileIs()).toBeNull();
    world.pass(1_000);
    expect([world.source.opened, world.source.closed]).toEqual([2, 2]);
    expect(world.server.stats).toMatchObject({ sent: 0, failed: 2, pulls: 0 });
  });

  it("that is refused as damaged makes the other distrust its file", () => {
    const pulling = world.pull();
    world.until("snapshot", () => pulling.isOver);
    pulling.pull.refuse(new HarmonyError("CORRUPT", "a chunk"));
    world.pass(100);
    expect(world.source.distrusted).toBe(1);
    expect(world.server.stats).toMatchObject({ sent: 0, failed: 1, pulls: 0 });
  });

  it("keeps the other to the room that there is here, however slow the disk is", () => {
    const { disk } = world.machines[1] as SimEnv;
    const stuck = disk.inject({
      operation: "write",
      path: "arriving",
      delayMs: Number.POSITIVE_INFINITY,
      skip: 1,
    });
    const pulling = world.pull();
    world.pass(3_000);
    // A chunk is written, and a window of them is under way.
    expect(pulling.received).toBe(256 * 1024);
    expect(world.server.stats.sentBytes).toBeLessThanOrEqual(2 * 1024 * 1024);
    const sentBytes = world.server.stats.sentBytes;
    world.pass(20_000);
    expect(world.server.stats.sentBytes).toBe(sentBytes);
    expect(sentBytes).toBeLessThan(SIZE);
    stuck.remove();
    world.until("snapshot", () => pulling.isOver);
    expect(equalBytes(fileIs() ?? BYTES.subarray(1), BYTES)).toBe(true);
  });
});

describe("who gives snapshots", { timeout: 30_000 }, () => {
  const ask = { kind: "ask", group: 0, indexAtLeast: 0, bytes: 300_000, has: null } as const;

  it("tells Raft that it has not arrived when nobody pulls within five seconds, once", () => {
    const world = new World();
    world.server.announced(0, 2);
    world.pass(4_900);
    world.server.announced(0, 2);
    expect([world.reports, world.server.isBusy]).toEqual([[], true]);
    world.pass(200);
    expect(world.reports).toEqual(["group 0, member 2: has not"]);
    world.pass(10_000);
    expect([world.reports.length, world.server.isBusy]).toEqual([1, false]);
  });

  it("counts a pull that went on before it was announced for what it is", () => {
    const world = new World();
    const pulling = world.pull();
    world.until("snapshot", () => pulling.isOver);
    world.server.announced(0, 2);
    world.pass(20_000);
    expect(world.reports).toEqual([]);
    pulling.pull.taken();
    world.pass(100);
    expect(world.reports).toEqual(["group 0, member 2: has it"]);
  });

  it("gives the pull before up when a member asks again, and tells Raft of the last one alone", () => {
    const world = new World();
    world.server.announced(0, 2);
    const first = world.call();
    first.say(ask);
    world.pass(100);
    const second = world.call();
    second.say(ask);
    world.pass(100);
    expect([first.isOver, second.isOver]).toEqual([true, false]);
    expect(world.reports).toEqual([]);
    second.say({ kind: "refusal", code: "IO", detail: "the disk here" });
    world.pass(100);
    expect(world.reports).toEqual(["group 0, member 2: has not"]);
    expect(world.source.closed).toBe(2);
  });

  it("tells the fifth at a time that it is busy", () => {
    const world = new World();
    const calls = [0, 1, 2, 3, 4].map((group) => {
      const call = world.call();
      call.say({ ...ask, group });
      world.pass(50);
      return call;
    });
    expect(calls.map(({ isOver }) => isOver)).toEqual([false, false, false, false, true]);
    expect(calls[4]?.heard.at(-1)).toMatchObject({ kind: "refusal", code: "BUSY" });
    expect(world.server.stats).toMatchObject({ pulls: 4, failed: 1 });
  });

  it("ends a pull in which nothing moves for half a minute, and one that never asks", () => {
    const world = new World();
    const silent = world.call();
    const slow = world.call();
    slow.say(ask);
    let signs = 0;
    // They say that they are there, and nothing else.
    while (signs++ < 40) {
      for (const call of [silent, slow]) call.say({ kind: "more", bytes: 0 });
      world.pass(1_000);
      if (signs === 29) expect([silent.isOver, slow.isOver]).toEqual([false, false]);
    }
    expect([silent.isOver, slow.isOver]).toEqual([true, true]);
    expect([world.source.opened, world.source.closed]).toEqual([1, 1]);
  });

  it("ends a call that speaks out of turn, and one that says nothing at all", () => {
    const world = new World();
    for (const said of [
      { kind: "taken" },
      { kind: "chunk", offset: 0, data: utf8("x") },
      { kind: "head", index: 1, term: 1, sizeBytes: 1, sha256: new Uint8Array(32), offset: 0 },
    ] as const) {
      const call = world.call();
      call.say(said);
      world.pass(50);
      expect([said.kind, call.isOver]).toEqual([said.kind, true]);
    }
    const twice = world.call();
    twice.say(ask);
    world.pass(50);
    twice.say(ask);
    world.pass(50);
    expect(twice.isOver).toBe(true);
    const dead = world.call();
    dead.say(ask);
    world.pass(6_000);
    expect(dead.isOver).toBe(true);
    expect(world.source.opened).toBe(world.source.closed);
  });

  it("closes what comes too late, after the end of the pull", () => {
    const world = new World();
    world.source.openMs = 1_000;
    const call = world.call();
    call.say(ask);
    world.pass(100);
    world.network.breakLinks(url(1), url(2));
    world.pass(2_000);
    expect([world.source.opened, world.source.closed]).toEqual([1, 1]);
  });

  it("gives no more than its rate in a second, of all pulls together", () => {
    const world = new World(400_000);
    const startMs = world.scheduler.nowMs;
    const pulling = world.pull();
    world.until("snapshot", () => pulling.isOver);
    const seconds = (world.scheduler.nowMs - startMs) / 1000;
    expect(pulling.error).toBeNull();
    // What may leave at once, and the chunk that exceeds it.
    expect(seconds).toBeGreaterThan((SIZE - 300_000) / 400_000);
    expect(seconds).toBeLessThan((SIZE + 100_000) / 400_000);
  });
});
