import { describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import type { Env, Io } from "../env/index.ts";
import { runIoNow, SimEnv } from "../env/sim/index.ts";
import { decideVote, readVotes, VoteFile, type VoteState } from "./index.ts";
import { IDENTITY } from "./testing/lab.ts";

setVerifying(true);

const PLACE = { directory: "data" };

function machine(seed: number): { sim: SimEnv; env: Env } {
  const sim = new SimEnv({ seed });
  const env = sim.boot();
  runIoNow(
    sim,
    (function* (): Io<void> {
      for (const path of ["data", "data/tmp"]) yield (done) => env.files.mkdir(path, done);
      yield (done) => env.files.syncDir("", done);
      yield (done) => env.files.syncDir("data", done);
    })(),
  );
  return { sim, env };
}

function save(sim: SimEnv, votes: VoteFile, group: number, state: VoteState): unknown {
  let outcome: unknown = "pending";
  votes.save(group, state, (error) => {
    outcome = error;
  });
  while (outcome === "pending") expect(sim.scheduler.step()).toBe(true);
  return outcome;
}

function vote(term: number, candidate: number, incarnation = 1): VoteState {
  return { term, vote: candidate, incarnation };
}

describe("the vote file", () => {
  it("gives back what was saved, for every group, after a power loss", () => {
    const { sim, env } = machine(1);
    const votes = runIoNow(sim, VoteFile.create(env, PLACE, IDENTITY));
    for (let group = 0; group < 40; group++) {
      for (let term = 1; term <= 3; term++)
        expect(save(sim, votes, group, vote(term, group + 1))).toBeNull();
    }
    sim.losePower("lose-all");
    const again = runIoNow(sim, VoteFile.open(sim.boot(), PLACE, IDENTITY));
    expect(again.lost).toBe(false);
    expect(again.groups()).toHaveLength(40);
    for (let group = 0; group < 40; group++) expect(again.read(group)).toEqual(vote(3, group + 1));
    expect(again.read(77)).toBe("none");
  });

  it("at every operation and in every outcome of a crash it holds the last answered vote or the one after it", () => {
    const { sim, env } = machine(2);
    const votes = runIoNow(sim, VoteFile.create(env, PLACE, IDENTITY));
    let answered: VoteState | null = null;
    let images = 0;
    sim.disk.observer = (): void => {
      for (const image of sim.crashImages({ limit: 64 })) {
        images++;
        const again = runIoNow(image, VoteFile.open(image.boot(), PLACE, IDENTITY));
        expect(again.lost).toBe(false);
        const read = again.read(5);
        if (read === "unreadable" || read === "none") expect(answered).toBeNull();
        else expect(read.term - (answered?.term ?? 0)).toBeGreaterThanOrEqual(0);
      }
    };
    for (let term = 1; term <= 5; term++) {
      expect(save(sim, votes, 5, vote(term, 2))).toBeNull();
      answered = vote(term, 2);
    }
    expect(images).toBeGreaterThan(10);
  });

  it("D10: a vote that was only visible is durable after the start that reads it", () => {
    let seen = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const { sim, env } = machine(seed);
      const first = new Map([[0, vote(1, 1)]]);
      const votes = runIoNow(sim, VoteFile.create(env, PLACE, IDENTITY, first));
      // Of a failed write the device has any part, by the seed, while readers see all of it.
      sim.disk.inject({ operation: "write", error: "EIO" });
      expect(save(sim, votes, 0, vote(2, 3))).toMatchObject({ code: "STOPPED" });
      expect(save(sim, votes, 0, vote(3, 3))).toMatchObject({ code: "STOPPED" });
      sim.kill();
      const read = runIoNow(sim, VoteFile.open(sim.boot(), PLACE, IDENTITY)).read(0);
      if (read !== "none" && read !== "unreadable" && read.term === 2) seen++;
      sim.losePower("lose-all");
      expect(runIoNow(sim, VoteFile.open(sim.boot(), PLACE, IDENTITY)).read(0)).toEqual(read);
    }
    expect(seen).toBeGreaterThan(0);
  });

  it("one damaged slot costs nothing, also right after the first save of a group", () => {
    const { sim, env } = machine(7);
    const votes = runIoNow(sim, VoteFile.create(env, PLACE, IDENTITY));
    expect(save(sim, votes, 6, vote(2, 4))).toBeNull();
    sim.kill();
    for (const slot of [512, 1024]) {
      const damaged = sim.fork();
      damaged.disk.flipBit("data/VOTE", slot + 17);
      const again = runIoNow(damaged, VoteFile.open(damaged.boot(), PLACE, IDENTITY));
      expect(again.lost).toBe(false);
      expect(again.read(6)).toEqual(vote(2, 4));
    }
  });

  it("one damaged slot does not bring back the life before", () => {
    const { sim, env } = machine(8);
    const votes = runIoNow(sim, VoteFile.create(env, PLACE, IDENTITY));
    expect(save(sim, votes, 0, vote(2, 4))).toBeNull();
    expect(save(sim, votes, 0, vote(2, 4, 2))).toBeNull();
    sim.kill();
    for (const slot of [512, 1024]) {
      const damaged = sim.fork();
      damaged.disk.flipBit("data/VOTE", slot + 17);
      const again = runIoNow(damaged, VoteFile.open(damaged.boot(), PLACE, IDENTITY));
      expect(again.read(0)).toEqual(vote(2, 4, 2));
    }
  });

  it("is brought up by a start to a vote that only the log has, and to none that contradicts it", () => {
    const { sim, env } = machine(9);
    const votes = runIoNow(sim, VoteFile.create(env, PLACE, IDENTITY));
    for (const group of [0, 1]) expect(save(sim, votes, group, vote(4, 2, 3))).toBeNull();
    sim.kill();
    const logged = new Map([
      [0, { term: 5, vote: 1, commit: 7 }],
      [1, { term: 4, vote: 1, commit: 7 }],
      [2, { term: 1, vote: 3, commit: 0 }],
      [3, { term: 0, vote: 0, commit: 0 }],
    ]);
    runIoNow(sim, VoteFile.open(sim.boot(), PLACE, IDENTITY, logged));
    sim.losePower();
    const again = runIoNow(sim, VoteFile.open(sim.boot(), PLACE, IDENTITY));
    expect(again.groups().map((group) => again.read(group))).toEqual([
      vote(5, 1, 3),
      vote(4, 2, 3),
      vote(1, 3),
    ]);
  });

  it("tells of a slot that cannot be read, and of none in a file that is whole", () => {
    const { sim, env } = machine(10);
    const votes = runIoNow(sim, VoteFile.create(env, PLACE, IDENTITY));
    expect(save(sim, votes, 0, vote(2, 4))).toBeNull();
    sim.kill();
    const { files } = sim.boot();
    const isWhole = (): boolean => runIoNow(sim, readVotes(files, "data")).isWhole;
    expect(isWhole()).toBe(true);
    sim.disk.flipBit("data/VOTE", 512 + 17);
    expect(isWhole()).toBe(false);
  });

  it("saves of one group that wait become one; of different groups overlap", () => {
    const { sim, env } = machine(4);
    const votes = runIoNow(
      sim,
      VoteFile.create(
        env,
        PLACE,
        IDENTITY,
        new Map([
          [0, vote(1, 1)],
          [1, vote(1, 1)],
        ]),
      ),
    );
    const before = sim.disk.opCount;
    let ended = 0;
    for (let term = 2; term <= 9; term++)
      for (const group of [0, 1]) votes.save(group, vote(term, 2), () => ended++);
    runIoNow(sim, votes.close());
    expect(ended).toBe(16);
    expect(sim.disk.opCount - before).toBeLessThanOrEqual(5);
    sim.losePower("lose-all");
    const again = runIoNow(sim, VoteFile.open(sim.boot(), PLACE, IDENTITY));
    expect([again.read(0), again.read(1)]).toEqual([vote(9, 2), vote(9, 2)]);
  });

  // Found by the cluster world: the save was begun twice, its caller was told twice, and took the second answer for that
  // of a log write that was still on its way.
  it("who is told of a save and saves again at once is told once, when that is durable", () => {
    const { sim, env } = machine(9);
    const votes = runIoNow(sim, VoteFile.create(env, PLACE, IDENTITY));
    expect(save(sim, votes, 3, vote(1, 1))).toBeNull();
    const told: string[] = [];
    let writes = 0;
    sim.disk.observer = (moment, { kind }): void => {
      if (moment === "after" && kind === "write") writes++;
    };
    votes.save(3, vote(2, 1), (error) => {
      told.push(`2: ${error} after ${writes}`);
      votes.save(3, vote(3, 1), (again) => {
        told.push(`3: ${again} after ${writes}`);
        votes.save(3, vote(4, 1), (last) => told.push(`4: ${last} after ${writes}`));
      });
    });
    sim.scheduler.run(1000);
    expect(told).toEqual(["2: null after 1", "3: null after 2", "4: null after 3"]);
    expect(writes).toBe(3);
  });

  it("one damaged slot is made good by the other, two mean that the file is lost", () => {
    const { sim, env } = machine(5);
    const votes = runIoNow(sim, VoteFile.create(env, PLACE, IDENTITY));
    for (let term = 1; term <= 4; term++) save(sim, votes, 0, vote(term, 2));
    sim.kill();
    const one = sim.fork();
    one.disk.zeroSector("data/VOTE", 512);
    expect(runIoNow(one, VoteFile.open(one.boot(), PLACE, IDENTITY)).read(0)).toMatchObject({
      vote: 2,
    });
    const both = sim.fork();
    for (const offset of [600, 1100]) both.disk.flipBit("data/VOTE", offset);
    const lost = runIoNow(both, VoteFile.open(both.boot(), PLACE, IDENTITY));
    expect(lost.lost).toBe(true);
    expect(lost.read(0)).toBe("unreadable");
  });

  it("D15: a slot that stands in another group's place says nothing of that group", () => {
    const { sim, env } = machine(6);
    const votes = runIoNow(sim, VoteFile.create(env, PLACE, IDENTITY));
    expect(save(sim, votes, 0, vote(3, 1))).toBeNull();
    expect(save(sim, votes, 1, vote(32, 2))).toBeNull();
    sim.losePower("keep-all");
    // Either slot of group 0 over either slot of group 1.
    for (const [from, to] of [
      [512, 1536],
      [512, 2048],
      [1024, 1536],
      [1024, 2048],
    ] as const) {
      const fork = sim.fork();
      fork.disk.damage("data/VOTE", to, fork.disk.contents("data/VOTE").slice(from, from + 512));
      const again = runIoNow(fork, VoteFile.open(fork.boot(), PLACE, IDENTITY));
      expect(again.read(0)).toEqual(vote(3, 1));
      expect([vote(32, 2), "unreadable"]).toContainEqual(again.read(1));
    }
  });

  it("a missing file is lost; another log's is refused", () => {
    const { sim, env } = machine(6);
    expect(runIoNow(sim, VoteFile.open(env, PLACE, IDENTITY)).lost).toBe(true);
    runIoNow(sim, VoteFile.create(env, PLACE, IDENTITY));
    const other = { ...IDENTITY, memberId: 8 };
    expect(() => runIoNow(sim, VoteFile.open(env, PLACE, other))).toThrow(
      expect.objectContaining({ code: "WRONG_CLUSTER" }),
    );
  });
});

describe("which vote counts", () => {
  const log = (
    term: number,
    candidate: number,
  ): { term: number; vote: number; commit: number } => ({ term, vote: candidate, commit: 0 });

  it("the higher term; of one term the copy with a vote; two votes of one term are corruption", () => {
    expect(decideVote(log(3, 1), vote(2, 2, 4), false)).toEqual(vote(3, 1, 4));
    expect(decideVote(log(2, 1), vote(3, 2, 4), false)).toEqual(vote(3, 2, 4));
    expect(decideVote(log(3, 0), vote(3, 2, 4), false)).toEqual(vote(3, 2, 4));
    expect(decideVote(log(3, 2), vote(3, 0, 4), false)).toEqual(vote(3, 2, 4));
    expect(decideVote(log(3, 1), vote(3, 2, 4), true)).toBe("corrupt");
    expect(decideVote(log(3, 1), "none", false)).toEqual(vote(3, 1, 1));
  });

  it("an unreadable file: a lone voter takes the next term, a member of many is replaced", () => {
    expect(decideVote(log(3, 1), "unreadable", true)).toEqual(vote(4, 0, 1));
    expect(decideVote(log(3, 1), "unreadable", false)).toBe("corrupt");
  });
});
