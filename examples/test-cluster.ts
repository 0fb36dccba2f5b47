/** A program is tested against a cluster whose leader is killed: `harmonydb/testing`. */
import { TestCluster } from "../src/testing/index.ts";

export async function main(say: (line: string) => void): Promise<void> {
  await using cluster = await TestCluster.start({ nodes: 3 });
  const db = await cluster.connect();
  await using session = await db.session();

  const pay = async (euros: number): Promise<bigint> =>
    // A number of the session: it is paid once, whatever becomes of the node that was asked.
    db.incr("paid", euros, { requestId: session.requestId() });

  say(`paid: ${await pay(40)}`);
  await (await cluster.leader()).kill();
  say(`paid: ${await pay(60)}`);

  const up = cluster.nodes.filter(({ isUp }) => isUp);
  say(`nodes: ${up.length}, leaders: ${[await cluster.leader(up)].length}`);
}

if (process.argv[1] === import.meta.filename) await main(console.log);
