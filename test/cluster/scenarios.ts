/**
 * What a cluster of processes must withstand. Each scenario makes its trouble under load, in a cluster that is whole
 * before and after it, and is then judged (world.ts). `npm test` plays each once and short, the sweep longer and again.
 */
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { etcd } from "../../src/codec/messages/index.ts";
import { until } from "./cluster.ts";
import { expectAlive, writeMortal } from "./deadlines.ts";
import type { Load } from "./load.ts";
import type { Member } from "./member.ts";
import type { World } from "./world.ts";

export interface Extent {
  /** How often the trouble comes. */
  readonly times: number;
  /** How long something stands still or is cut, drawn between the two. */
  readonly troubleMs: readonly [number, number];
  /** What a member misses while it is down. */
  readonly writesBehind: number;
  /** Between two requests of a client. */
  readonly paceMs: number;
}

const HOUR_MS = 3_600_000;
/** Nothing of the log stays for others. */
const SMALL_LOG: readonly string[] = [
  ["--wal-segment-bytes", "1MiB"],
  ["--wal-retention-bytes", "0"],
  ["--checkpoint-wal-bytes", "1MiB"],
].flat();
/** Many times such a log. */
const LARGE_WRITES = 600;
const LARGE_BYTES = 8_000;
const INTERRUPTED_PERCENT = 30;
const INTERRUPTED_MS_MAX = 1_500;
/** Of the members' wall clocks, in every scenario: an hour apart. */
export const CLOCKS_MS: readonly number[] = [0, HOUR_MS, -HOUR_MS];

/** Where another leader is needed the trouble goes on until there is one. */
export const SHORT: Extent = {
  times: 1,
  troubleMs: [1_000, 1_000],
  writesBehind: 1_500,
  paceMs: 20,
};

export interface Scenario {
  /** What holds. */
  readonly name: string;
  /** Flags of all members; one without any may share a cluster with others. */
  readonly args?: readonly string[];
  play(world: World, extent: Extent): Promise<void>;
}

/** With clients through all members. */
async function underLoad(
  world: World,
  { paceMs }: Extent,
  trouble: (load: Load) => Promise<void>,
): Promise<void> {
  const load = world.load({ paceMs });
  await world.progress(load, world.cluster.members);
  await trouble(load);
  await world.progress(load, world.cluster.members);
  await world.judge(load);
}

/** Trouble for one member at a time, found by `whom`, as often as it should be. */
function again(
  whom: (world: World) => Promise<Member>,
  trouble: (world: World, member: Member, load: Load, extent: Extent) => Promise<void>,
): Scenario["play"] {
  return (world, extent) =>
    underLoad(world, extent, async (load) => {
      for (let i = 0; i < extent.times; i++) {
        await trouble(world, await whom(world), load, extent);
        await world.progress(load, world.cluster.members);
      }
    });
}

const theLeader = ({ cluster }: World): Promise<Member> => cluster.leader();

async function aFollower({ cluster, random }: World): Promise<Member> {
  const others = cluster.others(await cluster.leader());
  return others[random.below(others.length)] as Member;
}

const troubleMs = ({ random }: World, { troubleMs: [low, high] }: Extent): number =>
  random.between(low, high);

async function kill(world: World, member: Member, load: Load): Promise<void> {
  await member.stop("SIGKILL");
  await world.progress(load, world.cluster.others(member));
  await member.start();
}

async function stand(world: World, member: Member, load: Load, extent: Extent): Promise<void> {
  member.pause();
  await Promise.all([
    delay(troubleMs(world, extent)),
    world.progress(load, world.cluster.others(member)),
  ]);
  member.resume();
}

/** A way is cut, and those who are said to be able to go on do. */
function cutting(
  cut: (from: string, to: string, member: string) => boolean,
): (world: World, member: Member, load: Load, extent: Extent) => Promise<void> {
  return async (world, member, load, extent) => {
    const { cluster } = world;
    cluster.network.cutWhere((from, to) => cut(from, to, member.name));
    await Promise.all([
      delay(troubleMs(world, extent)),
      world.progress(load, cluster.others(member)),
    ]);
    cluster.network.heal();
  };
}

/**
 * After a trouble that concerns no leader the one that led leads still, in the same term. A machine that stands still for
 * an election timeout has an election without our doing, but not each time.
 */
async function undisturbed(
  world: World,
  load: Load,
  trouble: (leader: Member) => Promise<etcd.StatusResponse>,
): Promise<void> {
  const { cluster } = world;
  const disturbed: string[] = [];
  while (disturbed.length < ATTEMPTS) {
    const { leader, raftTerm } = await trouble(await cluster.leader());
    await world.progress(load, cluster.members);
    const now = await (await cluster.leader()).status();
    if (now.leader === leader && now.raftTerm === raftTerm) return;
    disturbed.push(`term ${raftTerm} under ${leader} became ${now.raftTerm} under ${now.leader}`);
  }
  throw new Error(disturbed.join("; "));
}

const ATTEMPTS = 3;

const speechless = cutting((from, _to, member) => from === member);
const deaf = cutting((_from, to, member) => to === member);
const alone = cutting((from, to, member) => (from === member) !== (to === member));

export const SCENARIOS: readonly Scenario[] = [
  { name: "the leader is killed", play: again(theLeader, kill) },
  { name: "a follower is killed", play: again(aFollower, kill) },
  {
    name: "one leads whose clock is an hour away, and nothing ends before its time",
    play: again(theLeader, async (world, leader, load) => {
      const [other] = world.cluster.others(leader) as [Member];
      const keys = await writeMortal(world, other);
      await kill(world, leader, load);
      await world.progress(load, world.cluster.members);
      await expectAlive(world, keys);
    }),
  },
  {
    name: "all are killed at once",
    play: (world, extent) =>
      underLoad(world, extent, async (load) => {
        const { members } = world.cluster;
        for (let i = 0; i < extent.times; i++) {
          await Promise.all(members.map((member) => member.stop("SIGKILL")));
          await Promise.all(members.map((member) => member.start()));
          await world.progress(load, members);
        }
      }),
  },
  { name: "the leader stands still", play: again(theLeader, stand) },
  { name: "a follower stands still", play: again(aFollower, stand) },
  { name: "nobody hears the leader", play: again(theLeader, speechless) },
  { name: "the leader hears nobody", play: again(theLeader, deaf) },
  { name: "a follower hears nobody", play: again(aFollower, deaf) },
  { name: "the leader is cut off", play: again(theLeader, alone) },
  {
    name: "two followers do not hear each other",
    play: again(theLeader, (world, _leader, load, extent) =>
      undisturbed(world, load, async (leader) => {
        const { cluster } = world;
        cluster.network.cutWhere((from, to) => from !== leader.name && to !== leader.name);
        await Promise.all([delay(troubleMs(world, extent)), world.progress(load, cluster.members)]);
        cluster.network.heal();
        return leader.status();
      }),
    ),
  },
  {
    name: "a leader and one follower do not hear each other, and the third hears both",
    play: again(theLeader, async (world, leader, load, extent) => {
      const { cluster } = world;
      const [cut] = cluster.others(leader) as [Member];
      const ends = [leader.name, cut.name];
      cluster.network.cutWhere((from, to) => ends.includes(from) && ends.includes(to));
      const [third] = cluster.others(leader).filter((member) => member !== cut) as [Member];
      await Promise.all([delay(troubleMs(world, extent)), world.progress(load, [third])]);
      cluster.network.heal();
    }),
  },
  {
    name: "one that was cut off for long disturbs nobody when it comes back",
    play: again(theLeader, (world, _leader, load, extent) =>
      undisturbed(world, load, async (leader) => {
        const { cluster } = world;
        const [member] = cluster.others(leader) as [Member];
        const others = cluster.others(member);
        const before = await member.status();
        cluster.network.cut(member.name);
        // Longer than any election timeout: it has tried to be elected.
        await Promise.all([delay(3 * troubleMs(world, extent)), world.progress(load, others)]);
        const alone = await member.status();
        if (alone.leader !== 0n || alone.raftTerm !== before.raftTerm)
          throw new Error(
            `${member.name}, alone, is in term ${alone.raftTerm} under ${alone.leader}`,
          );
        const at = await leader.status();
        cluster.network.heal();
        return at;
      }),
    ),
  },
  {
    name: "members that restart one after the other keep nobody from being answered who waits",
    play: async (world, { times, paceMs }) => {
      const { cluster, recorder } = world;
      const load = world.load({ paceMs, waits: true });
      await world.progress(load, cluster.members);
      const errors = recorder.errors.length;
      for (let i = 0; i < times; i++)
        for (const member of cluster.members) {
          const { exit } = await member.stop("SIGTERM");
          if (exit !== 0) throw new Error(`${member.name} ended with ${exit}`);
          await world.progress(load, cluster.others(member));
          await member.start();
          await world.progress(load, cluster.members);
        }
      const [error] = recorder.errors.slice(errors);
      if (error !== undefined) throw new Error(`a client that waits was told ${error}`);
      await world.judge(load);
    },
  },
  {
    name: "one that is far behind catches up from the log",
    play: again(aFollower, async (world, member, load, { writesBehind }) => {
      const { cluster } = world;
      await member.stop("SIGKILL");
      await fill(world, await cluster.leader(cluster.others(member)), writesBehind);
      await member.start();
      await world.progress(load, cluster.members);
    }),
  },
  {
    name: "one that has lost its disk is replaced",
    play: again(aFollower, async (world, member, load) => {
      const { cluster } = world;
      await member.stop("SIGKILL");
      await rm(member.dataDir, { recursive: true });
      const leader = await cluster.leader(cluster.others(member));
      const of = (await leader.memberList()).find(({ name }) => name === member.name);
      if (of === undefined) throw new Error(`${member.name} is no member`);
      // Both may have happened although their answers were lost: what counts is who the members are.
      await until("its removal", async () => {
        const isThere = (await leader.memberList()).some(({ ID }) => ID === of.ID);
        if (isThere) await leader.removeMember(of.ID);
        return isThere ? null : true;
      });
      await until("its successor", async () => {
        const isThere = (await leader.memberList()).length === cluster.members.length;
        if (!isThere) await leader.addMember(of.peerURLs[0] as string);
        return isThere ? true : null;
      });
      await member.start("--initial-cluster-state", "existing");
      await world.progress(load, cluster.members);
    }),
  },
  {
    name: "one that the log does not reach any more catches up by a snapshot",
    args: SMALL_LOG,
    play: again(aFollower, async (world, member, load) => {
      const { cluster, random } = world;
      await member.stop("SIGKILL");
      await fill(world, await cluster.leader(cluster.others(member)), LARGE_WRITES, LARGE_BYTES);
      await member.start();
      if (random.percent(INTERRUPTED_PERCENT)) {
        // It is killed on the way, wherever that is, and begins anew.
        await delay(random.below(INTERRUPTED_MS_MAX));
        await member.stop("SIGKILL");
        await member.start();
      }
      await world.progress(load, cluster.members);
      if (!(await hasInstalled(member))) throw new Error(`${member.name} took no snapshot`);
    }),
  },
];

/** It has said so in this life, or holds a snapshot from the one before. */
async function hasInstalled(member: Member): Promise<boolean> {
  return (
    member.log.includes("a snapshot has taken the place of the state") ||
    (await readdir(join(member.dataDir, "snap"))).length > 0
  );
}

/** So many writes, many at a time. */
async function fill(world: World, member: Member, writes: number, valueBytes = 1): Promise<void> {
  const tail = "x".repeat(valueBytes);
  let acknowledged = 0;
  const write = async (client: number): Promise<void> => {
    while (acknowledged < writes) {
      const key = `fill/${acknowledged % FILL_KEYS}`;
      const input = { kind: "put", key, value: `${acknowledged}${tail}` } as const;
      const { kind } = await world.recorder.request(FILL_CLIENT + client, member, input, true);
      if (kind === "ok") acknowledged++;
    }
  };
  await Promise.all(Array.from({ length: FILL_CLIENTS }, (_, client) => write(client)));
}

/** The first of its clients, beside those of a load. */
const FILL_CLIENT = 1_000;

const FILL_CLIENTS = 64;
const FILL_KEYS = 1_000;
