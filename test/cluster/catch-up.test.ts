/**
 * A member as a real process that was away for longer than the log of the others reaches: it is given a snapshot while they
 * go on, also when it is killed in the middle of that. Bounded in time; needs the build, which `npm test` makes.
 */
import { expect, it } from "vitest";
import { TestCluster, until, Writer } from "./cluster.ts";
import type { Member } from "./member.ts";

/** The log is cut at every checkpoint, and a snapshot takes seconds. */
const FLAGS: readonly string[] = [
  "--wal-segment-bytes",
  "1MiB",
  "--wal-retention-bytes",
  "0",
  "--checkpoint-wal-bytes",
  "1MiB",
  "--snapshot-rate-bytes",
  "2MiB",
];
const WRITES = 300;
/** So that an answer with all of them is none that a client refuses. */
const KEYS = 100;
const VALUE = "v".repeat(20_000);

/** All keys and values of a member, from its own data. */
const stateOf = (member: Member): Promise<ReadonlyMap<string, string>> => member.all("k", true);

/** Three members, one of which was away for longer than the log of the others reaches, and is down. */
interface Behind {
  readonly cluster: TestCluster;
  readonly leader: Member;
  readonly away: Member;
  readonly other: Member;
}

async function oneBehind(): Promise<Behind> {
  const cluster = await TestCluster.start({ args: FLAGS });
  try {
    const leader = await cluster.leader();
    await leader.put("k-before", "1");
    const [away, other] = cluster.others(leader) as [Member, Member];
    await until("the first write everywhere", async () =>
      (await stateOf(away)).has("k-before") ? true : null,
    );
    await away.stop("SIGKILL");
    for (let i = 0; i < WRITES; i++) await leader.put(`k${i % KEYS}`, `${VALUE}${i}`);
    return { cluster, leader, away, other };
  } catch (error) {
    await cluster.close();
    throw error;
  }
}

/** Starts it, and waits until it is in the middle of its snapshot. */
async function startPulling(away: Member): Promise<void> {
  await away.start();
  await until("a pull", async () =>
    (await away.metric("harmonydb_raft_snapshot_receive_bytes_total")) > 0 ? true : null,
  );
  expect(await away.metric("harmonydb_raft_snapshot_receive_total")).toBe(0);
}

const untilReceived = (away: Member): Promise<true> =>
  until("a snapshot", async () =>
    (await away.metric("harmonydb_raft_snapshot_receive_total")) === 1 ? true : null,
  );

const untilEqual = (members: readonly Member[]): Promise<true> =>
  until("the same state everywhere", async () => {
    const states = await Promise.all(members.map(stateOf));
    const texts = states.map((state) => JSON.stringify([...state]));
    const hashes = await Promise.all(members.map((member) => member.hashKv()));
    return new Set(texts).size === 1 && new Set(hashes).size === 1 ? true : null;
  });

it("a member that the log no longer reaches is given a snapshot, over kill -9 in the middle of it", async () => {
  const { cluster, leader, away } = await oneBehind();
  try {
    // Killed while it pulls, and with what it had by then.
    await startPulling(away);
    // Nobody is served what is half there. What it had applied it may not know yet to be committed.
    const before = [...(await stateOf(away)).keys()];
    expect(before.filter((key) => key !== "k-before")).toEqual([]);
    await away.stop("SIGKILL");

    // The others do not wait for it meanwhile.
    const writer = new Writer(leader, "k-during-");
    await away.start();
    await untilReceived(away);
    await writer.stop();
    expect(writer.refused).toBe(0);
    expect(writer.acknowledged.length).toBeGreaterThan(20);
    await untilEqual(cluster.members);
    const state = await stateOf(away);
    for (const key of writer.acknowledged) expect(state.has(key)).toBe(true);
    expect(state.get("k7")).toBe(`${VALUE}207`);
    expect(await leader.metric("harmonydb_raft_snapshot_send_total")).toBe(1);

    // It is one of three again: it leads, or votes, when another goes.
    await leader.stop("SIGKILL");
    await until("a write through it", async () => {
      await away.put("k-after", "2");
      return true;
    });
  } finally {
    await cluster.close();
  }
}, 120_000);

it("it is given one by the next leader when kill -9 takes the one that sends it", async () => {
  const { cluster, leader, away, other } = await oneBehind();
  try {
    await startPulling(away);
    await leader.stop("SIGKILL");
    // It votes, although it has next to nothing: the other one has everything, and leads.
    expect(await cluster.newLeader([away, other], leader)).toBe(other);
    await until("a write of the two", async () => {
      await other.put("k-after", "2");
      return true;
    });
    await untilReceived(away);
    await untilEqual([away, other]);
    const state = await stateOf(away);
    expect([state.get("k7"), state.get("k-after")]).toEqual([`${VALUE}207`, "2"]);
    // Who sent it first is one of three again.
    await leader.start();
    await untilEqual(cluster.members);
  } finally {
    await cluster.close();
  }
}, 120_000);
