/** A disk that stands still under a real process of a cluster: strace holds its writes and syncs back. Needs strace. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TestCluster, until, Writer } from "../cluster/cluster.ts";
import type { Member } from "../cluster/member.ts";

/** Longer than the test. */
const HELD_US = 120_000_000;
const CALLS = "pwrite64,pwritev,fdatasync,fsync";

let cluster: TestCluster;
let held: ChildProcess[];

beforeEach(async () => {
  held = [];
  cluster = await TestCluster.start();
}, 60_000);
afterEach(async () => {
  for (const child of held) child.kill("SIGKILL");
  await cluster.close();
});

/** From when this resolves nothing that the member writes gets any further. */
async function hold(member: Member): Promise<ChildProcess> {
  const child = spawn(
    "strace",
    [
      "-f",
      "-p",
      String(member.pid),
      "-o",
      join(cluster.root, "strace"),
      "-e",
      `trace=${CALLS}`,
      "-e",
      `inject=${CALLS}:delay_enter=${HELD_US}`,
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  held.push(child);
  let said = "";
  let missing: Error | null = null;
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.on("error", (error) => (missing = error));
  await until("strace, which this test needs", async () => {
    if (missing !== null) throw missing;
    if (child.exitCode !== null) throw new Error(said);
    return said.includes("attached") ? true : null;
  });
  return child;
}

describe("a disk that stands still", { timeout: 90_000 }, () => {
  it("costs the leader its lead within seconds, and nobody what was acknowledged", async () => {
    const leader = await cluster.leader();
    const others = cluster.others(leader);
    const { raftTerm } = await leader.status();
    const writers = cluster.members.map((member) => new Writer(member, `w-${member.name}-`));
    const more = (count: number, among: readonly Writer[]): Promise<true> => {
      const goals = among.map(({ acknowledged }) => acknowledged.length + count);
      return until("acknowledged writes", async () =>
        among.every(({ acknowledged }, i) => acknowledged.length >= (goals[i] as number))
          ? true
          : null,
      );
    };
    await more(10, writers);
    const strace = await hold(leader);
    const next = await cluster.newLeader(others, leader);
    await more(
      10,
      writers.filter((_, i) => cluster.members[i] !== leader),
    );
    expect((await next.status()).raftTerm).toBe(raftTerm + 1n);
    expect(leader.log).toContain("the disk stands still: hands the lead over");
    strace.kill("SIGINT");
    await more(10, writers);
    await Promise.all(writers.map((writer) => writer.stop()));
    for (const member of cluster.members) {
      const found = await until(`answer of ${member.name}`, () => member.all("w"));
      for (const { acknowledged } of writers)
        for (const key of acknowledged)
          expect([member.name, key, found.has(key)]).toEqual([member.name, key, true]);
    }
  });
});
