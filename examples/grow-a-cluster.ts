/** One node becomes three on the data that it has: members are added one by one, and the node serves meanwhile. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connect, HarmonyError, type Member, open, serve, type ServedDB } from "../src/index.ts";

const text = new TextDecoder();
/** Here all nodes are in one process; elsewhere each has a machine of its own, and the ports of its choice. */
const ANY = ["http://127.0.0.1:0"];

export async function main(
  say: (line: string) => void,
  ports: readonly number[] = [12_380, 22_380, 32_380],
): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), "harmonydb-example-"));
  const nodes: ServedDB[] = [];
  const added: Member[] = [];
  const peerUrlsOf = (i: number): string[] => [`http://127.0.0.1:${ports[i]}`];
  try {
    // What a program has written that needed no network.
    const alone = await open(join(root, "n1"), { name: "n1" });
    await alone.put("before", "yes");
    await alone.close();

    // Served where others can call it, the same directory is the first of a cluster.
    const first = await serve({
      dataDir: join(root, "n1"),
      name: "n1",
      listenClientUrls: ANY,
      listenPeerUrls: peerUrlsOf(0),
    });
    nodes.push(first);
    for (const name of ["n2", "n3"]) {
      const peerUrls = peerUrlsOf(nodes.length);
      // Without a vote first: no write waits for a member that has yet to fetch the data.
      const next = await first.admin.members.addLearner(peerUrls);
      const members = await first.admin.members.list();
      nodes.push(
        await serve({
          dataDir: join(root, name),
          name,
          join: true,
          initialCluster: members.map((member) =>
            member.id === next.id ? { name, peerUrls } : member,
          ),
          listenClientUrls: ANY,
          listenPeerUrls: peerUrls,
        }),
      );
      await whenReady(() => first.admin.members.promote(next.id));
      added.push(next);
    }
    const [, second, third] = nodes as [ServedDB, ServedDB, ServedDB];
    say(`before: ${text.decode(await third.get("before"))}`);

    // Whichever member is asked.
    const members = await third.admin.members.list();
    say(`voters: ${members.filter(({ isLearner }) => !isLearner).length}`);
    const [next] = added as [Member];
    await whenReady(() => third.admin.members.moveLeader(next.id, { timeoutMs: 3_000 }));
    say(`n2 leads: ${second.role === "leader"}`);

    // One of three may go. A program that knows several finds another.
    await using db = await connect(nodes.flatMap(({ urls }) => urls));
    await first.close();
    await db.put("after", "too");
    say(`after: ${text.decode(await third.get("after"))}`);
  } finally {
    for (const node of nodes) await node.close();
    await rm(root, { recursive: true });
  }
}

/** Again until it is done: a learner has to catch up first, and who is to lead has to take over in time. */
async function whenReady(change: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      await change();
      return;
    } catch (error) {
      const code = error instanceof HarmonyError ? error.code : null;
      if (code !== "LEARNER_NOT_READY" && code !== "TIMEOUT") throw error;
      await delay(100);
    }
  }
}

if (process.argv[1] === import.meta.filename) await main(console.log);
