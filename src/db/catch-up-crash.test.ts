/**
 * Crashes at every file operation of a member that is given a snapshot while it runs (fault-rules D28, D29): it comes back
 * with what it had or with what it was given, whole, and with all that it has told the leader to hold.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { setVerifying } from "../base/index.ts";
import { type SimEnv, SimNetwork, sweepCrashes } from "../env/sim/index.ts";
import { ClusterWorld, optionsOf, url } from "./cluster.suite.ts";
import { World } from "./world.suite.ts";

beforeAll(() => setVerifying(true));
afterAll(() => setVerifying(false));

const OPTIONS = { walRetentionBytes: 0, walSegmentBytes: 16 * 1024 };

/** The member as it starts with nobody to talk to. */
function startAlone(crashed: SimEnv, name: string): World {
  crashed.connect({ of: new SimNetwork(crashed.scheduler, 1), url: url(name) });
  return new World({}, crashed).open(optionsOf(name, OPTIONS));
}

/** Without the clock: what a member says of itself when it is back changes nothing else. */
const stateOf = ({ node }: World): string =>
  node.database
    .describe()
    .join("\n")
    .replace(/ clock \d+/, "");

it("a crash at every file operation leaves the old state or the new one, with every entry that it acknowledged", () => {
  const cluster = new ClusterWorld(OPTIONS);
  cluster.start(...cluster.nodes);
  cluster.leader().putNow("before", "1");
  cluster.pass(1_000);
  const [away] = cluster.followers() as [World];
  const name = cluster.nameOf(away);
  cluster.kill(away);
  const old = startAlone(away.machine.fork(), name);
  const oldState = stateOf(old);
  old.kill();
  cluster.writeUntilCut(15);
  const newState = stateOf(cluster.leader());
  const seen = { old: 0, new: 0 };
  let mustBeNew = false;
  const visit = (crashed: SimEnv): void => {
    if (away.node.snapshotsInstalled?.installed === 1) mustBeNew = true;
    const again = startAlone(crashed, name);
    const state = stateOf(again);
    expect([oldState, newState]).toContain(state);
    if (mustBeNew) expect(state).toBe(newState);
    seen[state === newState ? "new" : "old"]++;
    again.kill();
  };
  cluster.start(away);
  const end = sweepCrashes(away.machine, visit, { powerLossesMax: 2, kills: 1 });
  cluster.untilCaughtUp(away);
  end();
  expect(away.node.snapshotsInstalled?.installed).toBe(1);
  expect(seen.old).toBeGreaterThan(20);
  expect(seen.new).toBeGreaterThan(10);

  // What follows a snapshot is in the log behind it, and there after a start too.
  for (let i = 0; i < 10; i++) cluster.leader().putNow(`after${i}`, "x");
  cluster.untilCaughtUp(away);
  const { raftIndex } = cluster.leader().node.database.status();
  away.machine.losePower("lose-all");
  cluster.kill(away);
  const after = startAlone(away.machine.fork(), name);
  expect(after.node.database.status().raftIndex).toBe(raftIndex);
  after.kill();
  cluster.start(away);
  cluster.expectEqual();
  expect(away.node.snapshotsInstalled?.installed).toBe(0);
}, 240_000);
