/**
 * Programs that are connected while members are killed: what was acknowledged is there, what was not is said honestly,
 * watches skip nothing, and a number of a session makes a write happen once.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { codecs, connect, type HarmonyDB, HarmonyError } from "../../src/index.ts";
import { freePort } from "../../src/platform/index.ts";
import { until } from "../embedded/store.suite.ts";
import { Run } from "../process/harmonydb.ts";

/** No process of a test outlives this, whatever happens to the test. */
const PROCESS_MS = 120_000;

class Processes {
  readonly urls: readonly string[];
  readonly #args: readonly (readonly string[])[];
  readonly #runs: Run[] = [];

  private constructor(urls: readonly string[], args: readonly (readonly string[])[]) {
    this.urls = urls;
    this.#args = args;
  }

  static async start(size: number): Promise<Processes> {
    const root = mkdtempSync(join(tmpdir(), "harmonydb-remote-"));
    const ports = await Promise.all(Array.from({ length: size * 2 }, () => freePort()));
    const url = (port: number | undefined): string => `http://127.0.0.1:${port}`;
    const urls = ports.slice(0, size).map(url);
    const peers = ports.slice(size).map(url);
    const initial = peers.map((peer, i) => `n${i + 1}=${peer}`).join(",");
    const processes = new Processes(
      urls,
      urls.map((client, i) => [
        "serve",
        "--name",
        `n${i + 1}`,
        "--data-dir",
        join(root, `n${i + 1}`),
        "--listen-client-urls",
        client,
        "--listen-metrics-urls",
        "none",
        ...(size === 1
          ? []
          : [
              "--listen-peer-urls",
              peers[i] as string,
              "--initial-advertise-peer-urls",
              peers[i] as string,
              "--initial-cluster",
              initial,
            ]),
      ]),
    );
    onTestFinished(async () => {
      await Promise.all(processes.#runs.map((run) => run.kill("SIGKILL")));
      rmSync(root, { recursive: true, force: true });
    });
    await Promise.all(urls.map((_, i) => processes.start(i)));
    return processes;
  }

  async start(i: number): Promise<void> {
    const run = new Run(this.#args[i] as readonly string[], {}, PROCESS_MS);
    this.#runs[i] = run;
    await run.ready();
  }

  async kill(i: number): Promise<void> {
    await this.#runs[i]?.kill("SIGKILL");
  }

  async connect(urls: readonly string[] = this.urls): Promise<HarmonyDB> {
    const db = await connect(urls, { connectTimeoutMs: 20_000, requestTimeoutMs: 20_000 });
    onTestFinished(() => db.close());
    return db;
  }

  /** The index of the member that says that it leads. */
  async leader(): Promise<number> {
    for (;;) {
      for (const [i, url] of this.urls.entries()) {
        await using db = await connect(url);
        if ((await db.admin.status()).isLeader) return i;
      }
    }
  }
}

describe("connected programs", { timeout: 90_000 }, () => {
  it("go on when the node that serves them is killed with -9 and comes back", async () => {
    const node = await Processes.start(1);
    const db = await node.connect();
    const session = await db.session();
    const seen: number[] = [];
    const watching = db.watch({ prefix: "n" });
    const reading = (async () => {
      for await (const { events } of watching) for (const { rev } of events) seen.push(rev);
    })();
    const acknowledged: number[] = [];
    let doubts = 0;
    let isStopped = false;
    const writing = (async () => {
      for (let i = 0; !isStopped; i++) {
        try {
          acknowledged.push((await db.put(`n${i}`, "x")).rev);
        } catch (error) {
          // Whoever is not told that it was done is told that it may have been.
          expect(error).toMatchObject({ maybeApplied: true });
          doubts++;
        }
      }
    })();
    let sums = 0n;
    const counting = (async () => {
      while (!isStopped) sums = await db.incr("count", 1, { requestId: session.requestId() });
    })();
    for (let round = 0; round < 2; round++) {
      const before = acknowledged.length;
      await until(() => acknowledged.length > before + 20);
      await node.kill(0);
      await node.start(0);
    }
    const before = acknowledged.length;
    await until(() => acknowledged.length > before + 20);
    isStopped = true;
    await Promise.all([writing, counting]);
    // Each number counted once, whatever became of its answer.
    expect(await db.scope("", { codec: codecs.int64 }).get("count")).toBe(sums);
    const last = await db.put("n-last", "");
    await until(() => seen.at(-1) === last.rev);
    await watching.close();
    await reading;
    expect(seen).toEqual([...new Set(seen)].toSorted((a, b) => a - b));
    for (const rev of acknowledged) expect([rev, seen.includes(rev)]).toEqual([rev, true]);
    const there = (await db.scan({ prefix: "n" }).all()).length;
    expect(there).toBeGreaterThanOrEqual(acknowledged.length + 1);
    expect(there).toBeLessThanOrEqual(acknowledged.length + doubts + 1);
  });

  it("move to another member when theirs is killed: a lock stays theirs, a scan goes on at its revision", async () => {
    const cluster = await Processes.start(3);
    const leader = await cluster.leader();
    // The leader first, so that it is the one that is asked.
    const urls = [cluster.urls[leader] as string, ...cluster.urls.filter((_, i) => i !== leader)];
    const db = await cluster.connect(urls);
    await db.putMany(
      Array.from({ length: 3000 }, (_, i) => [`k${String(i).padStart(4, "0")}`, "old"]),
    );
    const lock = await db.lock("job", { ttlMs: 60_000 });
    const scan = db.scan({ prefix: "k" })[Symbol.asyncIterator]();
    await scan.next();
    await cluster.kill(leader);
    // Asked until it was done once, whoever leads by then.
    const session = await db.session();
    const { rev } = await db.put("k0001", "new", { requestId: session.requestId() });
    let count = 1;
    for (let step = await scan.next(); step.done !== true; step = await scan.next()) {
      expect(new TextDecoder().decode(step.value.value)).toBe("old");
      expect(step.value.rev).toBeLessThan(rev);
      count++;
    }
    expect(count).toBe(3000);
    await lock.extend();
    expect(lock.signal.aborted).toBe(false);
    expect(await lock.unlock()).toBe(true);
    await cluster.start(leader);
    const again = await cluster.connect([cluster.urls[leader] as string]);
    expect(new TextDecoder().decode(await again.get("k0001"))).toBe("new");
    // Nobody is left: that is said by name, and not before the time that the call has is over.
    for (let i = 0; i < 3; i++) await cluster.kill(i);
    const error: unknown = await db.get("k0001", { timeoutMs: 500 }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(HarmonyError);
    expect(["UNREACHABLE", "TIMEOUT"]).toContain((error as HarmonyError).code);
  });
});
