/** `harmonydb cluster start` and `stop`, as their users run them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connect } from "../../src/index.ts";
import { codeOf, until } from "../embedded/store.suite.ts";
import { Run } from "./harmonydb.ts";

/** No process of a test outlives this, whatever happens to the test. */
const PROCESS_MS = 150_000;

let root: string;
let dataDir: string;
let runs: Run[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "harmonydb-local-"));
  dataDir = join(root, "cluster");
  runs = [];
});
afterEach(async () => {
  // Members outlive their start when that is killed, so it is asked first.
  await harmonydb("cluster", "stop", "--data-dir", dataDir).ended;
  for (const run of runs) if (run.child.exitCode === null) await run.kill("SIGKILL");
  rmSync(root, { recursive: true, force: true });
}, 60_000);

function harmonydb(...args: readonly string[]): Run {
  const run = new Run(args, {}, PROCESS_MS);
  runs.push(run);
  return run;
}

const start = (...more: readonly string[]): Run =>
  harmonydb("cluster", "start", "--data-dir", dataDir, ...more);

/** Waits until it has said so, so many times. */
async function said(run: Run, pattern: RegExp, times = 1): Promise<readonly RegExpExecArray[]> {
  const all = (): RegExpExecArray[] => [...run.out.matchAll(new RegExp(pattern, "g"))];
  await until(() => all().length >= times || run.child.exitCode !== null);
  expect([run.out, run.err, all().length >= times]).toEqual([run.out, run.err, true]);
  return all();
}

const endpointsOf = async (run: Run): Promise<string> =>
  (await said(run, /endpoints: (\S+)/))[0]?.[1] as string;

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

describe("a local cluster", { timeout: 150_000 }, () => {
  it("runs three nodes, starts one again that dies, stops from elsewhere, and comes back as it was", async () => {
    const first = start(
      "--nodes",
      "3",
      "--",
      "--election-timeout",
      "500ms",
      "--heartbeat-interval",
      "50ms",
    );
    const endpoints = await endpointsOf(first);
    const pids = (await said(first, /serves on \S+ as process (\d+)/, 3)).map(([, pid]) =>
      Number(pid),
    );
    await said(first, /n\d leads in term \d+/);
    const db = await connect(endpoints, { connectTimeoutMs: 20_000 });
    await db.put("a", "1");
    // Of all members, whichever one is asked.
    const [one] = endpoints.split(",") as [string];
    const ask = async (...args: readonly string[]): Promise<readonly string[]> => {
      const ended = await harmonydb("endpoint", ...args, "--cluster", "--endpoints", one).ended;
      expect([args, ended.exit, ended.err]).toEqual([args, 0, ""]);
      return ended.out.trimEnd().split("\n");
    };
    const named = (lines: readonly string[]): string =>
      lines
        .map((line) => /^[\d.]+:\d+/.exec(line)?.[0] ?? "")
        .toSorted()
        .join();
    const all = endpoints.split(",").toSorted().join();
    // A member says by a command where its clients come in, some time after it serves.
    await until(async () => {
      const args = ["endpoint", "status", "--cluster", "--endpoints", one];
      return (await harmonydb(...args).ended).exit === 0;
    });
    expect(named(await ask("status"))).toBe(all);
    expect(named(await ask("health"))).toBe(all);
    const hashes = await ask("hashkv");
    expect(named(hashes)).toBe(all);
    expect(new Set(hashes.map((line) => line.split(", ")[1])).size).toBe(1);
    await db.put("a", "2");
    // A member answers for itself, and may apply the write a moment after it was acknowledged.
    await until(async () => (await ask("hashkv"))[0] !== hashes[0]);
    expect(await ask("hashkv", "--rev", hashes[0]?.split(", ")[2] as string)).toEqual(hashes);
    const future = await harmonydb("endpoint", "hashkv", "--rev", "9999", "--endpoints", one).ended;
    expect([future.exit, future.err.includes("required revision is a future revision")]).toEqual([
      1,
      true,
    ]);
    // One that was added and has not come yet is named; the others are asked all the same.
    const add = ["member", "add", "n9", "--learner", "--peer-urls", "http://127.0.0.1:1"];
    const added = await harmonydb(...add, "--endpoints", one).ended;
    expect(added.exit).toBe(0);
    const [, id] = /Learner (\w+) added/.exec(added.out) ?? [];
    for (const [what, count] of [
      ["status", "3 of 4 endpoints answered"],
      ["health", "1 of 4 endpoints are unhealthy"],
      ["hashkv", "3 of 4 endpoints answered"],
    ] as const) {
      const { exit, out, err } = await harmonydb("endpoint", what, "--cluster", "--endpoints", one)
        .ended;
      expect([what, exit, named(out.trimEnd().split("\n"))]).toEqual([what, 5, all]);
      expect(err).toContain(`member ${id} at http://127.0.0.1:1 has not said`);
      expect(err).toContain(count);
    }
    const removed = await harmonydb("member", "remove", id as string, "--endpoints", one).ended;
    expect(removed.exit).toBe(0);
    await db.put("a", "1");
    process.kill(pids[0] as number, "SIGKILL");
    await said(first, /n\d ended \(SIGKILL\); it is started again in 0.5 s/);
    const again = (await said(first, /serves on \S+ as process (\d+)/, 4)).map(([, pid]) =>
      Number(pid),
    );

    const second = await start().ended;
    expect(second).toMatchObject({ exit: 1, out: "" });
    expect(second.err).toContain(`a cluster runs on ${dataDir}`);

    const stop = await harmonydb("cluster", "stop", "--data-dir", dataDir).ended;
    expect(stop).toMatchObject({ exit: 0, out: "stopped\n", err: "" });
    expect(await first.ended).toMatchObject({ exit: 0, err: "" });
    expect(again.filter(isAlive)).toEqual([]);
    await db.close();

    const third = start();
    expect(await endpointsOf(third)).toBe(endpoints);
    const later = await connect(endpoints, { connectTimeoutMs: 20_000 });
    expect(new TextDecoder().decode(await later.get("a", { timeoutMs: 20_000 }))).toBe("1");
    await later.close();
    const running = (await said(third, /serves on \S+ as process (\d+)/, 3)).map(([, pid]) =>
      Number(pid),
    );
    expect(await third.kill("SIGINT")).toMatchObject({ exit: 0 });
    expect(running.filter(isAlive)).toEqual([]);
    const nothing = await harmonydb("cluster", "stop", "--data-dir", dataDir).ended;
    expect(nothing).toMatchObject({ exit: 0, out: "nothing ran\n" });
  });

  it("names members that outlived their start, and ends them", async () => {
    const killed = start("--nodes", "1");
    const url = await endpointsOf(killed);
    await said(killed, /serves on \S+ as process (\d+)/);
    await killed.kill("SIGKILL");
    const refused = await start().ended;
    expect([refused.exit, refused.err]).toEqual([
      1,
      `harmonydb: n1 of an earlier start still runs\n  harmonydb cluster stop --data-dir ${dataDir}\n`,
    ]);
    const stop = await harmonydb("cluster", "stop", "--data-dir", dataDir).ended;
    expect(stop.out).toBe("stopped\n");
    expect(await codeOf(() => connect(url, { connectTimeoutMs: 100 }))).toBe("UNREACHABLE");
  });

  it("gives a node up whose start is refused, and refuses what does not fit its directory", async () => {
    const wrong = start("--nodes", "1", "--", "--election-timeout", "1ms");
    await said(wrong, /n1 ended \(exit 1\) and is not started again: see \S+n1\.log/);
    // Nothing would come of waiting.
    const { exit, err } = await wrong.ended;
    expect(exit).toBe(1);
    expect(err).toMatch(
      /^harmonydb: no node can be started\n {2}harmonydb: the configuration is refused\n {2}--election-timeout/,
    );
    const cases: readonly (readonly [readonly string[], string])[] = [
      [["--nodes", "3"], "is a cluster of 1, and --nodes says 3"],
      [["--base-port", "5000"], "and --base-port says 5000"],
      [["--nodes", "0"], "--nodes"],
      [["--nodes", "x"], "--nodes"],
    ];
    for (const [args, text] of cases) {
      const { exit, err } = await start(...args).ended;
      expect([args, exit === 1 || exit === 128, err.includes(text)]).toEqual([args, true, true]);
    }
    writeFileSync(join(dataDir, "cluster.json"), "{}");
    expect((await start().ended).err).toContain("cluster.json is not what it should be");
    const nowhere = await harmonydb("cluster", "stop", "--data-dir", join(root, "no")).ended;
    expect([nowhere.exit, nowhere.err]).toEqual([
      1,
      `harmonydb: ${join(root, "no")} is no local cluster\n  harmonydb cluster start makes one\n`,
    ]);
  });
});
