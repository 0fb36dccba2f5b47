/** Links between members in simulated time: who is taken, who is refused, what is dropped, and what comes back. */
import { beforeEach, describe, expect, it } from "vitest";
import { text, utf8 } from "../../base/index.ts";
import {
  encodeBatchFrame,
  encodePeerFrame,
  encodePeerItem,
  type Hello,
  type PeerItem,
} from "../../codec/index.ts";
import type { Env } from "../../env/index.ts";
import { SimEnv, SimNetwork, SimScheduler } from "../../env/sim/index.ts";
import { Membership, Peers } from "./index.ts";

const CLUSTER = 77;
const NAMES = ["n1", "n2", "n3"];
const url = (id: number): string => `http://n${id}:2380`;

interface NodeOptions {
  readonly clusterId?: number;
  readonly walId?: number;
  /** Where it listens, and as whom. */
  readonly at?: string;
  readonly removed?: readonly number[];
  readonly members?: number;
}

/** A process of a member, and what it has heard. */
class TestNode {
  readonly machine: SimEnv;
  readonly heard: string[] = [];
  readonly lost: number[] = [];
  readonly gone: number[] = [];
  readonly linked: number[] = [];
  readonly walIds: Map<number, Uint8Array>;
  readonly logs: string[] = [];
  /** Whom it has called, and when. */
  readonly calls: { readonly url: string; readonly atMs: number }[] = [];
  env!: Env;
  peers!: Peers;
  readonly #id: number;

  constructor(world: World, id: number, options: NodeOptions = {}, before?: TestNode) {
    this.#id = id;
    this.walIds = before?.walIds ?? new Map();
    this.machine = new SimEnv({
      seed: id,
      scheduler: world.scheduler,
      network: { of: world.network, url: options.at ?? url(id) },
      log: (level, _logger, message, fields) =>
        this.logs.push(
          [
            level,
            message,
            ...(fields?.["code"] === undefined ? [] : [fields["code"] as string]),
            ...(fields?.["times"] === undefined ? [] : [`times ${fields["times"] as number}`]),
          ].join(" "),
        ),
    });
    this.boot(options);
  }

  boot(options: NodeOptions = {}): void {
    const { removed = [], members = 3 } = options;
    this.env = this.machine.boot();
    const { links } = this.env;
    if (links === undefined) throw new Error("the machine is on a network");
    const all = Array.from({ length: members }, (_, i) => ({
      id: i + 1,
      name: `n${i + 1}`,
      peerUrls: [url(i + 1)],
    }));
    const membership = new Membership({
      members: all.filter(({ id }) => !removed.includes(id)),
      removed: new Set(removed),
      walIds: this.walIds,
      remember: (id, walId, done) => {
        this.env.timers.after(3, () => {
          this.walIds.set(id, walId);
          done(null);
        });
      },
    });
    this.peers = new Peers({
      env: this.env,
      links: {
        accept: (take) => links.accept(take),
        dial: (to, events) => {
          this.calls.push({ url: to, atMs: this.env.clock.monotonicMs() });
          return links.dial(to, events);
        },
      },
      self: {
        clusterId: options.clusterId ?? CLUSTER,
        memberId: this.#id,
        walId: new Uint8Array(16).fill(options.walId ?? this.#id),
        bootId: this.env.entropy.bytes(16),
        name: `n${this.#id}`,
        clientUrls: [`http://n${this.#id}:2379`],
        peerUrls: [`http://n${this.#id}:2380`],
      },
      membership,
      deliver: (item, from) => this.heard.push(`${from}: ${describeItem(item)}`),
      lost: (member) => this.lost.push(member),
      gone: (member) => this.gone.push(member),
      linked: (member) => this.linked.push(member),
    });
    this.peers.start();
  }

  say(to: number, word: string): boolean {
    const taken = this.peers.tell(to, command(word));
    this.peers.flush();
    return taken;
  }

  listensTo(id: number): boolean {
    return this.peers.status().some((peer) => peer.id === id && peer.listens);
  }

  refusedBy(id: number): string | null {
    return this.peers.status().find((peer) => peer.id === id)?.refusedBy ?? null;
  }
}

function command(word: string): PeerItem {
  return {
    kind: "forward",
    group: 0,
    ticket: 1,
    commands: [{ data: utf8(word), reserve: false, isConfChange: false }],
  };
}

function describeItem(item: PeerItem): string {
  return item.kind === "forward" ? item.commands.map(({ data }) => text(data)).join() : item.kind;
}

class World {
  readonly scheduler = new SimScheduler(3);
  readonly network = new SimNetwork(this.scheduler, 3);

  pass(ms: number): void {
    this.scheduler.runUntil(this.scheduler.nowMs + ms);
  }

  /** Bytes from somebody who is no member, and how the call ends. */
  stranger(to: number, ...frames: readonly Uint8Array[]): string[] {
    const heard: string[] = [];
    const machine = new SimEnv({
      seed: 9,
      scheduler: this.scheduler,
      network: { of: this.network, url: "http://stranger:1" },
    });
    const link = machine.boot().links?.dial(url(to), {
      frame: (bytes) => heard.push(text(bytes)),
      drained: () => {},
      closed: () => heard.push("closed"),
    });
    for (const frame of frames) link?.send(frame);
    this.pass(100);
    machine.kill();
    this.pass(10);
    return heard;
  }
}

describe("members that may talk", { timeout: 60_000 }, () => {
  let world: World;
  let nodes: TestNode[];
  const node = (id: number): TestNode => nodes[id - 1] as TestNode;

  beforeEach(() => {
    world = new World();
    nodes = NAMES.map((_, i) => new TestNode(world, i + 1));
    world.pass(200);
  });

  it("find each other, whoever starts first", () => {
    for (const each of nodes)
      expect(each.peers.status().map(({ speaks, listens }) => [speaks, listens])).toEqual([
        [true, true],
        [true, true],
      ]);
    expect(node(1).peers.status()[0]).toMatchObject({
      name: "n2",
      clientUrls: ["http://n2:2379"],
      refusedBy: null,
    });
  });

  it("hear everything in its order, and what a turn says in one frame", () => {
    const { frames } = world.network.stats;
    for (const word of ["a", "b", "c"]) node(1).peers.tell(2, command(word));
    node(1).peers.flush();
    world.pass(20);
    expect(node(2).heard).toEqual(["1: a", "1: b", "1: c"]);
    expect(world.network.stats.frames - frames).toBe(1);
  });

  it("are told when what was said may be lost, before anything later arrives", () => {
    expect(node(1).say(2, "lost")).toBe(true);
    world.network.breakLinks(url(1), url(2));
    world.pass(5);
    expect(node(1).say(2, "not taken")).toBe(false);
    expect(node(1).lost).toContain(2);
    expect(node(2).lost).toContain(1);
    world.pass(200);
    expect(node(1).say(2, "again")).toBe(true);
    world.pass(20);
    expect(node(2).heard).toEqual(["1: again"]);
  });

  it("call again with longer and longer pauses, and are back soon after the other is", () => {
    node(2).machine.kill();
    const killedMs = node(1).env.clock.monotonicMs();
    world.pass(60_000);
    expect(node(1).listensTo(2)).toBe(false);
    const called = node(1)
      .calls.filter((call) => call.url === url(2) && call.atMs >= killedMs)
      .map(({ atMs }) => atMs - killedMs);
    // At once and soon again, then every second or two.
    expect(called.filter((afterMs) => afterMs < 1_000).length).toBeGreaterThan(3);
    const lateCalls = called.filter((afterMs) => afterMs >= 10_000);
    expect(lateCalls.length).toBeGreaterThanOrEqual(25);
    expect(lateCalls.length).toBeLessThanOrEqual(50);
    // Not in step: who calls the same member should not do so in the same moment each time.
    const pauses = lateCalls.slice(1).map((afterMs, i) => afterMs - (lateCalls[i] as number));
    expect(Math.max(...pauses) - Math.min(...pauses)).toBeGreaterThan(200);
    node(2).boot();
    world.pass(2_100);
    expect(node(1).listensTo(2)).toBe(true);
    // One line when it went, however often it was called.
    expect(node(1).logs.filter((line) => line.includes("no link to n2")).length).toBeLessThan(4);
  });

  it("give up a member that has fallen silent, and say so once", () => {
    node(2).machine.losePower();
    world.pass(4_000);
    expect(node(1).listensTo(2)).toBe(true);
    world.pass(2_000);
    expect(node(1).listensTo(2)).toBe(false);
    expect(node(1).lost).toContain(2);
  });

  it("know of a process that has ended at once, and of nobody else that it has", () => {
    node(2).machine.kill();
    world.pass(70);
    expect([node(1).gone, node(3).gone]).toEqual([[2], [2]]);
    node(2).boot();
    world.pass(3_000);
    node(1).gone.length = 0;
    // A link that breaks, a machine without power, a way that is cut: any of them may hide a member that lives.
    world.network.breakLinks(url(1), url(2));
    world.pass(200);
    node(3).machine.losePower();
    world.network.setWeather(url(1), url(2), { isCut: true });
    world.network.setWeather(url(2), url(1), { isCut: true });
    world.pass(20_000);
    expect(node(1).gone).toEqual([]);
  });

  it("have not ended as long as they are heard, whatever says so in their place", () => {
    // Something in front of it turns calls away; what it says itself arrives.
    node(2).env.links?.accept(null);
    world.network.setWeather(url(1), url(2), { bytesPerMs: 50 });
    const large = "x".repeat(200_000);
    while (node(1).say(2, large));
    node(1).peers.tellForSure(2, command(large));
    world.pass(10_000);
    expect(node(1).listensTo(2)).toBe(false);
    expect(node(1).peers.status()[0]?.speaks).toBe(true);
    expect(node(1).gone).toEqual([]);
    node(2).machine.kill();
    world.pass(3_000);
    expect(node(1).gone).toContain(2);
  });

  it("keep an idle link", () => {
    world.pass(120_000);
    expect(nodes.map(({ lost }) => lost)).toEqual([[], [], []]);
  });

  it("do not take their own standstill for the others' silence", () => {
    world.scheduler.stall(30_000);
    world.pass(1_000);
    expect(nodes.map(({ lost }) => lost)).toEqual([[], [], []]);
  });

  it("drop what a slow way cannot take, within bounds, and let what is small pass", () => {
    world.network.setWeather(url(1), url(2), { bytesPerMs: 50 });
    const large = "x".repeat(200_000);
    let taken = 0;
    for (let i = 0; i < 500; i++) if (node(1).say(2, large)) taken++;
    const [status] = node(1).peers.status();
    expect(status?.queuedBytes).toBeLessThan(36 * 1024 * 1024);
    expect(status?.dropped).toBe(500 - taken);
    expect(taken).toBeGreaterThan(100);
    expect(taken).toBeLessThan(200);
    // A heartbeat has its own room.
    expect(node(1).say(2, "small")).toBe(true);
    expect(node(1).say(3, large)).toBe(true);
    const before = node(1).peers.status()[0]?.dropped ?? 0;
    for (let i = 0; i < 20_000; i++) node(1).peers.tell(2, command("tiny"));
    const after = node(1).peers.status()[0];
    expect(after?.queuedBytes).toBeLessThan(37 * 1024 * 1024);
    // Nor can they be too many.
    expect((after?.dropped ?? 0) - before).toBeGreaterThan(10_000);
  });

  it("end a link on which bits flip: what arrives is what was said", () => {
    world.network.setWeather(url(1), url(2), { flipPercent: 30 });
    const said: string[] = [];
    for (let i = 0; i < 300; i++) {
      if (node(1).say(2, `word ${i}`)) said.push(`1: word ${i}`);
      world.pass(100);
    }
    expect(world.network.stats.flipped).toBeGreaterThan(20);
    expect(node(2).heard.length).toBeGreaterThan(20);
    expect(said).toEqual(expect.arrayContaining(node(2).heard));
    world.network.setWeather(url(1), url(2), { flipPercent: 0 });
    world.pass(8_000);
    expect(node(1).say(2, "well again")).toBe(true);
  });

  it("are the same member after a restart, and no other while it lives", () => {
    node(2).machine.kill();
    world.pass(10);
    node(2).boot();
    world.pass(3_000);
    expect(node(1).listensTo(2)).toBe(true);
    expect(node(2).listensTo(1)).toBe(true);
    // A copy of its directory, started elsewhere.
    const copy = new TestNode(world, 2, { at: "http://elsewhere:2380" }, node(2));
    world.pass(500);
    expect(copy.refusedBy(1)).toBe("DUPLICATE_MEMBER");
    expect(copy.refusedBy(3)).toBe("DUPLICATE_MEMBER");
    expect(node(1).logs).toContain(
      "error a node that calls itself n2 was refused DUPLICATE_MEMBER",
    );
    expect(node(2).listensTo(1)).toBe(true);
    expect(node(1).say(2, "to the first")).toBe(true);
    world.pass(20);
    expect(node(2).heard).toEqual(["1: to the first"]);
    // Once the first is gone, and not before, the copy is as good as it was.
    node(2).machine.kill();
    world.pass(6_000);
    expect(copy.listensTo(1)).toBe(true);
  });
});

describe("who is refused, and by which name", { timeout: 60_000 }, () => {
  let world: World;
  let first: TestNode;

  beforeEach(() => {
    world = new World();
    first = new TestNode(world, 1);
    world.pass(50);
  });

  const hello = (change: Partial<Hello>): Uint8Array =>
    encodePeerFrame({
      kind: "hello",
      clusterId: CLUSTER,
      from: 2,
      to: 1,
      bootId: new Uint8Array(16).fill(1),
      walId: new Uint8Array(16).fill(2),
      versionMin: 1,
      versionMax: 1,
      purpose: "raft",
      name: "somebody",
      clientUrls: [],
      peerUrls: [],
      ...change,
    });

  it.each([
    ["WRONG_CLUSTER", { clusterId: 78 }],
    ["WRONG_VERSION", { versionMin: 2, versionMax: 3 }],
    ["WRONG_VERSION", { versionMin: 0, versionMax: 0 }],
    ["WRONG_MEMBER", { to: 3 }],
    ["UNKNOWN_MEMBER", { from: 9 }],
    ["UNKNOWN_MEMBER", { from: 1 }],
  ])("%s", (code, change) => {
    const [answer = "", end] = world.stranger(1, hello(change));
    expect(answer).toContain(code);
    expect(end).toBe("closed");
    expect(first.logs.join("\n")).toContain(
      `error a node that calls itself somebody was refused ${code}`,
    );
  });

  it("takes one that is right, of whatever newer version it says it speaks, too", () => {
    const [answer = ""] = world.stranger(1, hello({ versionMax: 9 }));
    expect(answer).toContain("n1");
  });

  it("REMOVED_MEMBER", () => {
    first.machine.kill();
    first.boot({ removed: [2] });
    const second = new TestNode(world, 2);
    world.pass(300);
    expect(second.refusedBy(1)).toBe("REMOVED_MEMBER");
    expect(second.say(1, "heard?")).toBe(false);
  });

  it("WRONG_CLUSTER, seen from both sides", () => {
    const second = new TestNode(world, 2, { clusterId: 5 });
    world.pass(2_100);
    expect(second.refusedBy(1)).toBe("WRONG_CLUSTER");
    expect(first.refusedBy(2)).toBe("WRONG_CLUSTER");
  });

  it("the log tells of it when it begins, when its reason changes, then rarely, and when it ends", () => {
    const REFUSED = "error a node that calls itself n2 was refused WRONG_CLUSTER";
    const second = new TestNode(world, 2, { clusterId: 5 });
    const told = (node: TestNode, what: string): string[] =>
      node.logs.filter((line) => line.includes(what));
    const timesIn = (line = ""): number => Number(/times (\d+)$/.exec(line)?.[1]);
    world.pass(3_600_000);
    // It has called some hundred times in that hour, and has been called as often.
    for (const lines of [told(first, REFUSED), told(second, "error no link to n1")]) {
      expect(lines.length).toBeGreaterThan(4);
      expect(lines.length).toBeLessThan(9);
      expect(lines[0]).not.toContain("times");
      expect(timesIn(lines.at(-1))).toBeGreaterThan(200);
    }
    const before = told(first, REFUSED).length;
    const restart = (clusterId: number): void => {
      second.machine.kill();
      second.boot({ clusterId });
      world.pass(8_000);
    };
    restart(6);
    expect(told(first, REFUSED)).toHaveLength(before + 1);
    restart(CLUSTER);
    expect(told(first, "n2 is not refused any more")).toHaveLength(1);
    expect(first.logs).toContain("info hears n2");
    // What comes next is new.
    restart(7);
    expect(told(first, REFUSED)).toHaveLength(before + 2);
    expect(told(first, REFUSED).at(-1)).toBe(REFUSED);
    second.machine.kill();
    world.pass(60_000);
    expect(told(first, "n2 was refused and does not call any more")).toHaveLength(1);
  });

  it("does not fill the log for callers who have a new reason or another name each time", () => {
    const lines = (): number => first.logs.filter((line) => line.startsWith("error")).length;
    for (let i = 0; i < 30; i++) world.stranger(1, hello({ clusterId: 1000 + i }));
    expect(lines()).toBe(8);
    for (let i = 0; i < 100; i++) world.stranger(1, hello({ from: 1000 + i }));
    expect(lines()).toBeLessThan(90);
  });

  it("DATA_LOST: a member that was met is known by its directory, also after a restart", () => {
    const second = new TestNode(world, 2);
    world.pass(2_100);
    expect(first.listensTo(2)).toBe(true);
    expect(first.walIds.get(2)).toEqual(new Uint8Array(16).fill(2));
    second.machine.kill();
    first.machine.kill();
    first.boot();
    second.boot({ walId: 99 });
    world.pass(3_000);
    expect(second.refusedBy(1)).toBe("DATA_LOST");
    expect(first.refusedBy(2)).toBe("DATA_LOST");
    expect(second.say(1, "vote for me")).toBe(false);
    expect(first.say(2, "entries")).toBe(false);
    // With its own directory it is itself again.
    second.machine.kill();
    second.boot();
    world.pass(9_000);
    expect(second.listensTo(1)).toBe(true);
    expect(first.listensTo(2)).toBe(true);
  });

  it("a directory is written down before its member is welcome", () => {
    let welcomed = 0;
    const machine = new SimEnv({
      seed: 4,
      scheduler: world.scheduler,
      network: { of: world.network, url: url(2) },
    });
    machine
      .boot()
      .links?.dial(url(1), {
        frame: () => {
          welcomed++;
          expect(first.walIds.has(2)).toBe(true);
        },
        drained: () => {},
        closed: () => {},
      })
      .send(hello({}));
    world.pass(20);
    expect(welcomed).toBe(1);
  });

  it("bytes that are no frame, and frames out of turn, end the call and change nothing", () => {
    const batch = encodeBatchFrame([encodePeerItem(command("x"))]);
    for (const frames of [
      [utf8("GET / HTTP/1.1\r\n\r\n")],
      [new Uint8Array(0)],
      [new Uint8Array(100_000).fill(0xff)],
      [batch],
      [encodePeerFrame({ kind: "refusal", code: "NO", detail: "" })],
      [hello({}), hello({})],
      [hello({}), utf8("garbage")],
      [hello({ bootId: new Uint8Array(0) })],
    ]) {
      expect(world.stranger(1, ...frames).at(-1)).toBe("closed");
    }
    expect(first.heard).toEqual([]);
  });

  it("callers who say nothing are sent away after a while, and at once the oldest when there are many", () => {
    const machine = new SimEnv({
      seed: 4,
      scheduler: world.scheduler,
      network: { of: world.network, url: "http://stranger:1" },
    });
    const env = machine.boot();
    const closed: number[] = [];
    const call = (i: number): void => {
      const link = { frame: () => {}, drained: () => {}, closed: () => void closed.push(i) };
      env.links?.dial(url(1), link);
    };
    // Not at the same time: which of them comes first would be a matter of the network.
    for (let i = 0; i < 70; i++) {
      call(i);
      world.pass(20);
    }
    world.pass(100);
    expect(closed).toEqual([0, 1, 2, 3, 4, 5]);
    world.pass(6_000);
    expect(closed).toHaveLength(70);
  });
});
