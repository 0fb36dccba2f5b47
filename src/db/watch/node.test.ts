/** Watches of a whole node on a simulated machine: across a crash, at the end of keys, and when the node ends. */
import { describe, expect, it } from "vitest";
import { setVerifying, text, utf8 } from "../../base/index.ts";
import { LOG, World } from "../world.suite.ts";
import { watchRequest } from "./hub.suite.ts";
import type { Watch, WatchNews } from "./watch.ts";

setVerifying(true);

class Watcher {
  readonly seen: string[] = [];
  end: WatchNews | null = null;
  told = 0;
  readonly watch: Watch;

  constructor(world: World, key: string, rangeEnd = "", startRevision = 0) {
    this.watch = world.node.database.watch(watchRequest(key, rangeEnd, startRevision), () => {
      this.told++;
      this.take();
    });
  }

  take(): void {
    for (let news = this.watch.take(100); news !== null; news = this.watch.take(100)) {
      if (news.kind !== "events") {
        this.end = news;
        return;
      }
      for (const { type, kv, cause } of news.events)
        this.seen.push(
          type === "put"
            ? `${text(kv.key)}=${text(kv.value)}@${kv.modRevision}`
            : `-${text(kv.key)}@${kv.modRevision} ${cause}`,
        );
    }
  }
}

describe("a node's watches", () => {
  it("go on after a crash from the revision where they were", () => {
    const world = new World().open();
    const before = new Watcher(world, "k", "l");
    for (let i = 0; i < 5; i++) world.putNow(`k${i}`, `${i}`);
    world.pass(10);
    expect(before.seen).toEqual(["k0=0@2", "k1=1@3", "k2=2@4", "k3=3@5", "k4=4@6"]);
    const resumeAt = before.watch.revision + 1;
    for (let i = 5; i < 8; i++) world.putNow(`k${i}`, `${i}`);
    world.losePower().open();
    const after = new Watcher(world, "k", "l", resumeAt);
    world.putNow("k8", "8");
    world.pass(10);
    expect(after.seen).toEqual(["k5=5@7", "k6=6@8", "k7=7@9", "k8=8@10"]);
    world.close();
  });

  it("see a key end by its own time and with its lease", () => {
    const world = new World().open();
    const watcher = new Watcher(world, "\0", "\0");
    world.now(
      world.write({
        kind: "set",
        key: utf8("t"),
        value: utf8("x"),
        condition: null,
        lease: 0n,
        expiry: { kind: "after", ttlMs: 500 },
        prevKv: false,
      }),
    );
    world.now(world.write({ kind: "leaseGrant", ttlSeconds: 2n, id: 7n }));
    world.now(world.put("l", "y", { lease: 7n }));
    world.pass(5000);
    expect(watcher.seen).toEqual(["t=x@2", "l=y@3", "-t@4 expired", "-l@5 lease"]);
    world.close();
  });

  it("are told of the writes of one turn together, and end with the node", () => {
    const world = new World().open();
    const watcher = new Watcher(world, "\0", "\0");
    const answers = Array.from({ length: 20 }, (_, i) => world.put(`k${i}`));
    for (const answer of answers) world.now(answer);
    world.pass(10);
    expect(watcher.seen).toHaveLength(20);
    expect(watcher.told).toBeLessThan(5);
    world.close();
    world.pass(10);
    expect(watcher.end).toMatchObject({ kind: "failed", error: { code: "CLOSED" } });
  });

  it("end when the log cannot be written", () => {
    const world = new World().open();
    const watcher = new Watcher(world, "k");
    world.machine.disk.inject({ operation: "write", path: LOG, error: "EIO" });
    world.put("k", "1");
    world.pass(1000);
    expect(world.fatal).not.toBeNull();
    expect(watcher.end).toMatchObject({ kind: "failed" });
    expect(watcher.seen).toEqual([]);
  });
});
