/** A member that the log of the others no longer reaches: it is given a snapshot while everybody goes on. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import { ClusterWorld } from "./cluster.suite.ts";
import type { World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

describe("a member that the log no longer reaches", { timeout: 120_000 }, () => {
  let cluster: ClusterWorld;
  let away: World;

  /** Two go on without the third until its place in the log is gone. */
  beforeEach(() => {
    cluster = new ClusterWorld({ walRetentionBytes: 0, walSegmentBytes: 16 * 1024 });
    cluster.start(...cluster.nodes);
    cluster.leader().putNow("before", "1");
    cluster.pass(1_000);
    [away] = cluster.followers() as [World];
    cluster.kill(away);
    cluster.writeUntilCut(60);
  });

  it("gets a snapshot, and what was written since", () => {
    const writer = cluster.leader();
    cluster.start(away);
    cluster.untilCaughtUp(away);
    expect(away.node.snapshotsInstalled).toMatchObject({ installed: 1, failed: 0 });
    expect(away.get("before")).toBe("1");
    expect(away.get("k7")).toBe(writer.get("k7"));
    writer.putNow("after", "2");
    expect(away.get("after")).toBe("2");
    away.putNow("from there", "3");
    expect(writer.get("from there")).toBe("3");
    cluster.expectEqual();
  });
});
