/** Who hands over to whom, who stands aside and who takes only what frees room, told by what members say of their disks. */
import { describe, expect, it } from "vitest";
import type { RoomItem } from "../codec/index.ts";
import type { ConfState, NodeId, RawNode } from "../raft/index.ts";
import { Room } from "./room.ts";

type Status = ReturnType<RawNode["status"]>;
type Progress = Status["progress"][number];

const simple = (voters: readonly NodeId[], learners: readonly NodeId[] = []): ConfState => ({
  voters,
  votersOutgoing: [],
  learners,
  learnersNext: [],
  autoLeave: false,
});

/** Member 1 of a group, of which the test says how it stands. */
class Setting {
  role: RawNode["role"] = "leader";
  confState: ConfState;
  transferee: NodeId = 0;
  readonly id: NodeId = 1;
  readonly told: string[] = [];
  readonly handed: NodeId[] = [];
  readonly room: Room;
  readonly progress: Map<NodeId, Partial<Progress>> = new Map();

  constructor(confState: ConfState = simple([1, 2, 3])) {
    this.confState = confState;
    this.room = new Room({
      group: 7,
      raft: this,
      tell: (member, { kind, group, isFull }: RoomItem) =>
        this.told.push(`${kind} ${group} to ${member}: ${isFull ? "full" : "room"}`),
      handsOver: (to) => this.handed.push(to),
    });
    this.pass(20);
  }

  status(): Status {
    const { voters, votersOutgoing, learners } = this.confState;
    const progress = [...new Set([...voters, ...votersOutgoing, ...learners])].map((id) => ({
      id,
      match: 10,
      state: "replicate",
      isLearner: learners.includes(id),
      recentActive: true,
      ...this.progress.get(id),
    }));
    return { progress, confState: this.confState } as unknown as Status;
  }

  transferLeader(to: NodeId): "started" {
    this.transferee = to;
    return "started";
  }

  /** Of the way of a transfer: it came to nothing. */
  giveUp(): this {
    this.transferee = 0;
    return this;
  }

  pass(ticks: number): this {
    for (let i = 0; i < ticks; i++) this.room.tick();
    return this;
  }

  full(isStill = false): this {
    this.room.look(true, isStill);
    return this;
  }

  ok(): this {
    this.room.look(false, false);
    return this;
  }

  hear(from: NodeId, isFull: boolean): this {
    this.room.take(from, { kind: "room", group: 7, isFull });
    return this;
  }

  get said(): { readonly isShort: boolean; readonly isAside: boolean } {
    const { isShort, isAside } = this.room;
    return { isShort, isAside };
  }
}

const GOES_ON = { isShort: false, isAside: false };
const SHORT = { isShort: true, isAside: false };
const ASIDE = { isShort: true, isAside: true };

describe("a leader whose disk is full", () => {
  it("hands over at once, to the voter that is there, close behind, and furthest", () => {
    const setting = new Setting(simple([1, 2, 3, 4, 5], [6]));
    setting.progress.set(2, { match: 8 });
    setting.progress.set(3, { match: 9 });
    setting.progress.set(4, { match: 10, state: "probe" });
    setting.progress.set(5, { match: 10, recentActive: false });
    setting.progress.set(6, { match: 10 });
    expect(setting.full().handed).toEqual([3]);
    expect(setting.said).toEqual(SHORT);
  });

  it("hands over to nobody who has said that his is full, as long as he goes on saying it", () => {
    const setting = new Setting();
    setting.progress.set(2, { match: 9 });
    setting.hear(3, true).full();
    // Member 2 alone is no majority.
    expect(setting.handed).toEqual([]);
    setting.pass(20).hear(3, true).pass(20);
    expect(setting.handed).toEqual([]);
    // He is not heard any more, or has another version by now.
    setting.pass(20);
    expect(setting.handed).toEqual([3]);
  });

  it("hands over as soon as somebody has room again", () => {
    const setting = new Setting();
    setting.hear(2, true).hear(3, true).full();
    expect([setting.handed, setting.said]).toEqual([[], SHORT]);
    setting.hear(3, false);
    // A majority needs both.
    expect(setting.handed).toEqual([]);
    setting.hear(2, false);
    expect(setting.handed).toEqual([2]);
  });

  it("stays where the others cannot go on without it: two, one that is down, a learner", () => {
    for (const confState of [simple([1]), simple([1, 2]), simple([1], [2, 3])])
      expect(new Setting(confState).full().pass(100).handed).toEqual([]);
    const down = new Setting();
    down.progress.set(2, { recentActive: false });
    expect(down.full().pass(100).handed).toEqual([]);
    const joint = new Setting({ ...simple([1, 2, 3]), votersOutgoing: [1, 4] });
    expect(joint.full().pass(100).handed).toEqual([]);
    const mixed = new Setting({ ...simple([1, 2, 3]), votersOutgoing: [4, 5, 6] });
    mixed.progress.set(6, { match: 99 });
    expect(mixed.full().handed).toEqual([2]);
  });

  it("waits twice as long after each attempt, and after a long peace as at first", () => {
    const setting = new Setting();
    const attempts = (ticks: number): readonly number[] => {
      const at: number[] = [];
      for (let tick = 0; tick < ticks; tick++) {
        const before = setting.handed.length;
        setting.giveUp().pass(1);
        if (setting.handed.length > before) at.push(tick);
      }
      return at;
    };
    setting.full();
    expect(setting.handed).toEqual([2]);
    const [first, second, third] = attempts(1_000) as [number, number, number];
    expect([first, second - first, third - second]).toEqual([49, 100, 200]);
    // Room again and full again does not begin anew.
    setting.ok().full();
    expect(attempts(100)).toEqual([]);
    setting.ok().pass(10_000).full();
    expect(setting.handed.length).toBe(6);
    expect(attempts(50)).toEqual([49]);
  });

  it("does not begin again while it hands over", () => {
    const setting = new Setting();
    setting.full().pass(500);
    expect(setting.handed).toEqual([2]);
  });
});

describe("a leader that has room", () => {
  it("takes only what frees room where no majority could write on: one that is down counts as one that is full", () => {
    const setting = new Setting();
    setting.hear(2, true);
    expect(setting.said).toEqual(GOES_ON);
    setting.hear(3, true);
    expect(setting.said).toEqual(SHORT);
    setting.hear(3, false);
    expect(setting.said).toEqual(GOES_ON);
    setting.progress.set(3, { recentActive: false });
    setting.hear(2, true).pass(1);
    expect(setting.said).toEqual(SHORT);
    setting.hear(2, false);
    expect(setting.said).toEqual(GOES_ON);
    expect(setting.handed).toEqual([]);
  });

  it("that is new takes who has not answered yet for present", () => {
    const setting = new Setting();
    setting.role = "follower";
    setting.hear(2, true).pass(1);
    setting.role = "leader";
    setting.progress.set(3, { recentActive: false });
    setting.pass(1);
    expect(setting.said).toEqual(GOES_ON);
    setting.hear(2, true).pass(10);
    expect(setting.said).toEqual(SHORT);
  });

  it("tells nobody anything", () => {
    expect(new Setting().pass(1_000).told).toEqual([]);
  });
});

describe("a follower whose disk is full", () => {
  const follower = (confState?: ConfState): Setting => {
    const setting = new Setting(confState);
    setting.role = "follower";
    return setting;
  };

  it("stands aside as long as the others can go on without it", () => {
    const setting = follower();
    expect(setting.full().said).toEqual(ASIDE);
    expect(setting.hear(2, true).said).toEqual(SHORT);
    expect(setting.hear(2, false).said).toEqual(ASIDE);
    expect(setting.ok().said).toEqual(GOES_ON);
    expect(follower(simple([2, 3], [1])).full().said).toEqual(ASIDE);
    expect(follower(simple([1, 2])).full().said).toEqual(SHORT);
  });

  it("stands aside when its log stands still, whatever the others do", () => {
    const setting = follower().hear(2, true).hear(3, true).full();
    expect(setting.said.isAside).toBe(false);
    expect(setting.full(true).said.isAside).toBe(true);
    // Who leads does not: nobody could tell who else to ask.
    setting.role = "leader";
    expect(setting.said.isAside).toBe(false);
  });

  it("says so to all others at once, every second, and once when it is over", () => {
    const setting = follower(simple([1, 2], [3]));
    const all = (what: string): string[] => [2, 3].map((id) => `room 7 to ${id}: ${what}`);
    setting.full();
    expect(setting.told.splice(0)).toEqual(all("full"));
    setting.pass(10);
    expect(setting.told.splice(0)).toEqual(all("full"));
    setting.ok().pass(100);
    expect(setting.told).toEqual(all("room"));
  });

  it("hands over when it comes to lead", () => {
    const setting = follower().full().pass(3);
    expect(setting.handed).toEqual([]);
    setting.role = "leader";
    expect(setting.pass(1).handed).toEqual([2]);
  });
});
