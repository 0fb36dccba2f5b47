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

it("a member that the log no longer reaches is given a snapshot, over kill -9 in the middle of it", async () => {
  const cluster = await TestCluster.start({ args: FLAGS });
  try {
    const leader = await cluster.leader();
    await leader.put("k-before", "1");
    const [away] = cluster.others(leader) as [Member];
    await until("the first write everywhere", async () =>
      (await stateOf(away)).has("k-before") ? true : null,
    );
    await away.stop("SIGKILL");
    for (let i = 0; i < WRITES; i++) await leader.put(`k${i % KEYS}`, `${VALUE}${i}`);

    // Killed while it pulls, and with what it had by then.
    await away.start();
    await until("a pull", async () =>
      (await away.metric("harmonydb_raft_snapshot_receive_bytes_total")) > 0 ? true : null,
    );
    expect(await away.metric("harmonydb_raft_snapshot_receive_total")).toBe(0);
    expect([...(await stateOf(away)).keys()]).toEqual(["k-before"]);
    await away.stop("SIGKILL");

    // The others do not wait for it meanwhile.
    const writer = new Writer(leader, "k-during-");
    await away.start();
    await until("a snapshot", async () =>
      (await away.metric("harmonydb_raft_snapshot_receive_total")) === 1 ? true : null,
    );
    await writer.stop();
    expect(writer.refused).toBe(0);
    expect(writer.acknowledged.length).toBeGreaterThan(20);
    await until("the same state everywhere", async () => {
      const states = await Promise.all(cluster.members.map(stateOf));
      const texts = states.map((state) => JSON.stringify([...state]));
      const hashes = await Promise.all(cluster.members.map((member) => member.hashKv()));
      return new Set(texts).size === 1 && new Set(hashes).size === 1 ? true : null;
    });
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
