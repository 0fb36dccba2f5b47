/**
 * `harmonydb/testing`: whole clusters for the tests of programs, in the process of the test.
 *
 *     import { TestCluster } from "harmonydb/testing";
 *     await using cluster = await TestCluster.start({ nodes: 3 });
 *     await using db = await cluster.connect();
 *     await (await cluster.leader()).kill();
 *     await db.put("still", "works");
 *
 * Nodes are those of `serve`, with real files and real sockets of this machine, so a program is tested against what it
 * will run on, and `etcdctl` can look in. A node ends as a process ends: what a node knows of the world, its files, its
 * timers and its links, is cut from it at once (`life.ts`), and nothing that it had not written is there afterwards.
 * The network between the members is cut where they call each other (`network.ts`): silence, as of dropped packets.
 *
 * Invariants:
 * 1. Nothing is shared between clusters, nothing outlives `stop`: ports, files, timers and sockets are given back.
 * 2. Every wait is bounded by `patienceMs` and rejects with TIMEOUT, saying for what.
 * 3. A killed node writes nothing any more, and its directory can be taken over at once.
 *
 * Left out: power failures, slow or lying disks, clocks that jump: the project's own simulator has them.
 */
export { TestCluster, type TestClusterOptions } from "./cluster.ts";
export { TestNode } from "./node.ts";
