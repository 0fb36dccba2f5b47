/**
 * Three real processes: what was acknowledged through any of them is there through all of them, whoever is killed and
 * however the network is cut. Bounded in time; needs the build, which `npm test` makes.
 */
import { rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Run } from "../process/harmonydb.ts";
import { TestCluster, until, Writer } from "./cluster.ts";
import type { Member } from "./member.ts";

let cluster: TestCluster;
beforeEach(async () => {
  cluster = await TestCluster.start();
}, 60_000);
afterEach(() => cluster.close());

/** Everything that writers were told is there, through this member. */
async function expectAll(member: Member, writers: readonly Writer[]): Promise<void> {
  const found = await until(`answer of ${member.name}`, () => member.all("w"));
  for (const { acknowledged } of writers)
    for (const key of acknowledged)
      expect([member.name, key, found.has(key)]).toEqual([member.name, key, true]);
}

const write = (members: readonly Member[], round: string): readonly Writer[] =>
  members.map((member) => new Writer(member, `w-${round}-${member.name}-`));

const enough = (writers: readonly Writer[], count: number): Promise<true> =>
  until("acknowledged writes", async () =>
    writers.every(({ acknowledged }) => acknowledged.length >= count) ? true : null,
  );

describe("three members as processes", { timeout: 90_000 }, () => {
  it("take a write through one and give it through the others; all name the same leader", async () => {
    const leader = await cluster.leader();
    for (const [i, writer] of cluster.members.entries()) {
      await writer.put(`k${i}`, `v${i}`);
      for (const reader of cluster.members)
        expect((await reader.all("k")).get(`k${i}`)).toBe(`v${i}`);
    }
    const statuses = await Promise.all(cluster.members.map((member) => member.status()));
    const { header } = await leader.status();
    for (const { leader: id, errors, header: own } of statuses) {
      expect([id, errors, own?.cluster_id]).toEqual([header?.member_id, [], header?.cluster_id]);
    }
    for (const member of cluster.members)
      expect((await member.memberNames()).toSorted()).toEqual(["n1", "n2", "n3"]);
    for (const member of cluster.members)
      for (const path of ["/livez", "/readyz", "/health"])
        expect([member.name, path, await member.probe(path)]).toEqual([member.name, path, 200]);
    // Stopped in order the leader hands over, and exits as asked.
    expect((await leader.stop("SIGTERM")).exit).toBe(0);
    await cluster.leader(cluster.others(leader));
  });

  it("keep every acknowledged write when the leader is killed under load, and take it back", async () => {
    const before = await cluster.leader();
    const writers = write(cluster.members, "a");
    await enough(writers, 20);
    await before.stop("SIGKILL");
    const others = cluster.others(before);
    const after = await cluster.leader(others);
    expect(after).not.toBe(before);
    const rest = writers.filter((_, i) => cluster.members[i] !== before);
    const counts = rest.map(({ acknowledged }) => acknowledged.length);
    await until("writes through the others", async () =>
      rest.every(({ acknowledged }, i) => acknowledged.length > (counts[i] as number) + 20)
        ? true
        : null,
    );
    await before.start();
    await Promise.all(writers.map((writer) => writer.stop()));
    // Also from its own data alone: it has caught up.
    await expectAll(before, writers);
    for (const member of others) await expectAll(member, writers);
  });

  it("have everything again after all were killed at once", async () => {
    await cluster.leader();
    const writers = write(cluster.members, "b");
    await enough(writers, 20);
    await Promise.all(cluster.members.map((member) => member.stop("SIGKILL")));
    await Promise.all(writers.map((writer) => writer.stop()));
    await Promise.all(cluster.members.map((member) => member.start()));
    await cluster.leader();
    for (const member of cluster.members) await expectAll(member, writers);
  });

  it("get nothing linearizable from a leader that is cut off, and everything from the majority", async () => {
    const before = await cluster.leader();
    await before.put("w", "old");
    cluster.network.cut(before.name);
    const minority = [before.put("w", "minority"), before.all("w")].map((call) =>
      call.then(
        () => "answered",
        (error: Error) => error.message,
      ),
    );
    const others = cluster.others(before);
    const after = await until("a leader of the majority", async () => {
      const found = await cluster.leader(others);
      return found === before ? null : found;
    });
    await until("a write of the majority", async () => {
      await after.put("w", "new");
      return true;
    });
    for (const message of await Promise.all(minority)) expect(message).toMatch(/14 UNAVAILABLE/);
    expect((await before.status()).errors).toEqual(["etcdserver: no leader"]);
    // It lives, and nothing is to be sent to it.
    expect(await before.probe("/livez")).toBe(200);
    expect(await before.probe("/readyz")).toBe(503);
    expect(await before.probe("/health")).toBe(503);
    // Old as it is, what is here is told to whoever asks for no more.
    expect((await before.all("w", true)).get("w")).toBe("old");
    cluster.network.heal();
    const healed = await until("the truth from the one that was cut off", async () => {
      const value = (await before.all("w")).get("w");
      return value === "old" ? null : value;
    });
    expect(healed).toBe("new");
  });

  it("refuse by name who must not take part, and close on whoever speaks no sense", async () => {
    const leader = await cluster.leader();
    await leader.put("w", "1");
    const [wiped] = cluster.others(leader) as [Member];
    await wiped.stop("SIGKILL");
    rmSync(wiped.dataDir, { recursive: true });
    await wiped.start();
    await until("the refusal of a wiped disk", async () =>
      wiped.log.includes("DATA_LOST") && leader.log.includes("DATA_LOST") ? true : null,
    );
    expect((await wiped.status()).errors).toEqual(["etcdserver: no leader"]);
    // The others go on without it.
    await leader.put("w", "2");

    const port = cluster.peerPorts[cluster.members.indexOf(leader)] as number;
    for (const bytes of [Buffer.alloc(100_000, 0xff), Buffer.from("GET / HTTP/1.1\r\n\r\n")]) {
      await new Promise<void>((resolve) => {
        const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
        socket.on("error", () => {});
        socket.on("data", () => {});
        socket.on("close", () => resolve());
      });
    }
    await leader.put("w", "3");

    // The same first members under another token are another cluster.
    const url = "http://127.0.0.1";
    const stranger = new Run(
      `serve --name n2 --data-dir ${join(cluster.root, "stranger")} --listen-client-urls ${url}:0
      --listen-metrics-urls none --listen-peer-urls ${url}:0 --initial-advertise-peer-urls ${url}:1
      --initial-cluster n1=${url}:${port},n2=${url}:1 --initial-cluster-token another`.split(/\s+/),
      {},
      60_000,
    );
    try {
      await stranger.ready();
      await until("the refusal of another cluster", async () =>
        stranger.err.includes("WRONG_CLUSTER") && leader.log.includes("WRONG_CLUSTER")
          ? true
          : null,
      );
    } finally {
      await stranger.kill("SIGKILL");
    }
  });
});
