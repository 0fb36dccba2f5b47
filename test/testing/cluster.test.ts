/** `harmonydb/testing`: what it promises to the test suites of others. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { connect, serve } from "../../src/index.ts";
import { TestCluster } from "../../src/testing/index.ts";
import { codeOf } from "../embedded/store.suite.ts";
import { temporaryDirectory } from "../embedded/temporary.ts";

describe("a cluster for tests", { timeout: 60_000 }, () => {
  it("starts, takes everything through any node, and leaves nothing behind", async () => {
    const cluster = await TestCluster.start();
    const { dataDir } = cluster.node("n1");
    expect(cluster.nodes.map(({ name }) => name)).toEqual(["n1", "n2", "n3"]);
    await cluster.node(0).put("a", "1");
    for (const node of cluster.nodes) expect(await node.get("a")).toBe("1");
    expect((await cluster.node("n2").delete("a")).ok).toBe(true);
    expect(await cluster.node("n3").get("a")).toBeUndefined();
    const leader = await cluster.leader();
    expect(await leader.isLeader()).toBe(true);
    expect(await leader.term()).toBeGreaterThan(0);
    const db = await cluster.connect();
    const { urls } = { urls: cluster.nodes.map(({ url }) => url) };
    await cluster.stop();
    await cluster.stop();
    expect([db.status, existsSync(dataDir)]).toEqual(["closed", false]);
    for (const url of urls)
      expect(await codeOf(() => connect(url, { connectTimeoutMs: 50 }))).toBe("UNREACHABLE");
  });

  it("goes on when the leader is killed, and the leader comes back with what it had acknowledged", async () => {
    await using cluster = await TestCluster.start();
    const db = await cluster.connect();
    const before = await cluster.leader();
    const session = await db.session();
    for (let i = 0; i < 50; i++) await before.put(`k${i}`, "x");
    await before.kill();
    expect([before.isUp, await before.isLeader()]).toEqual([false, false]);
    expect(await codeOf(() => before.term())).toBe("CLOSED");
    const after = await cluster.leader(cluster.others(before));
    expect(after).not.toBe(before);
    expect(await after.term()).toBeGreaterThan(1);
    expect((await db.put("later", "y", { requestId: session.requestId() })).ok).toBe(true);
    await before.start();
    expect(await before.get("later")).toBe("y");
    expect(await before.get("k49")).toBe("x");
    expect(await codeOf(() => before.start())).toBe("INVALID_ARGUMENT");
  });

  it("cuts the network: the minority answers nothing, the majority goes on, and healed they agree", async () => {
    await using cluster = await TestCluster.start();
    const before = await cluster.leader();
    const others = cluster.others(before);
    await before.put("a", "1");
    // A list instead of nodes would cut off nobody.
    for (const misuse of [
      () => cluster.partition([before] as never),
      () => cluster.others({} as never),
    ])
      expect(misuse).toThrow(/takes nodes of this cluster/);
    cluster.partition(before);
    const lonely = codeOf(async () => (await connect(before.url)).get("a", { timeoutMs: 1_500 }));
    const after = await cluster.leader(others);
    await after.put("a", "2");
    expect(["TIMEOUT", "NO_LEADER", "LEADER_CHANGED"]).toContain(await lonely);
    // A program that knows all of them finds the others.
    const db = await cluster.connect({ nodes: [before, ...others] });
    expect(new TextDecoder().decode(await db.get("a"))).toBe("2");
    cluster.heal();
    await cluster.until("the truth from the one that was cut off", async () =>
      (await before.get("a")) === "2" ? true : null,
    );
    await cluster.leader();
  });

  it("has everything again after all were killed at once, on the same directories", async () => {
    const dataDir = temporaryDirectory();
    const first = await TestCluster.start({ dataDir });
    for (let i = 0; i < 20; i++) await first.node(i % 3).put(`k${i}`, "x");
    await Promise.all(first.nodes.map((node) => node.kill()));
    await Promise.all(first.nodes.map((node) => node.start()));
    const db = await first.connect();
    expect(await db.scan().count()).toBe(20);
    await first.node(1).restart();
    await first.node(2).stop();
    expect(await first.node(0).get("k19")).toBe("x");
    await first.stop();
    expect(readdirSync(dataDir)).toEqual(["n1", "n2", "n3"]);
    expect(existsSync(join(dataDir, "n1", "VERSION"))).toBe(true);
  });

  it("has one node, too, whose killed directory can be taken over at once", async () => {
    const dataDir = temporaryDirectory();
    await using cluster = await TestCluster.start({ nodes: 1, dataDir, patienceMs: 3_000 });
    const [node] = cluster.nodes as [(typeof cluster.nodes)[number]];
    const acknowledged: string[] = [];
    const writing = (async () => {
      for (let i = 0; ; i++) {
        await node.put(`k${i}`, "x");
        acknowledged.push(`k${i}`);
        if (i === 30) void node.kill();
      }
    })();
    await expect(writing).rejects.toMatchObject({ code: "UNREACHABLE" });
    await cluster.until("its end", () => (node.isUp ? null : true));
    const taken = await cluster.until("the directory", () =>
      serve({ dataDir: node.dataDir, name: "n1", listenClientUrls: ["http://127.0.0.1:0"] }),
    );
    for (const key of acknowledged) expect([key, await taken.has(key)]).toEqual([key, true]);
    await taken.close();
  });

  it("refuses what it does not know, and waits for nothing longer than it was told", async () => {
    for (const options of [{ nodes: 0 }, { nodes: 10 }, { size: 3 }, { patienceMs: 0 }, null])
      expect(await codeOf(() => TestCluster.start(options as never))).toBe("INVALID_ARGUMENT");
    await using cluster = await TestCluster.start({ nodes: 1, patienceMs: 5_000 });
    expect(() => cluster.node("n9")).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(await codeOf(() => cluster.leader([]))).toBe("TIMEOUT");
  });
});
