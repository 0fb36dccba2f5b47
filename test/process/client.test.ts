/** The commands of a client as processes: what takes standard input, runs other programs, or ends by a signal. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { freePorts } from "../../src/platform/index.ts";
import { Bench } from "./harmonydb.ts";

const BIN = fileURLToPath(new URL("../../bin/harmonydb", import.meta.url));
const RUN_TIMEOUT_MS = 40_000;

interface Ended {
  readonly exit: number | null;
  readonly out: string;
  readonly err: string;
}

let bench: Bench;
let node: Running;
let endpoint = "";

beforeAll(async () => {
  bench = new Bench();
  node = serve(bench.dataDir);
  endpoint = await urlOf(node);
}, 30_000);
afterAll(async () => {
  node.child.kill("SIGKILL");
  await node.ended;
  await bench.close();
}, 30_000);

/** A node, bounded by the time of the whole file and not by that of one command. */
function serve(dataDir: string): Running {
  const flags = ["--listen-client-urls=http://127.0.0.1:0", "--listen-metrics-urls=none"];
  return start(["serve", "--data-dir", dataDir, ...flags], "", 10 * RUN_TIMEOUT_MS);
}

async function urlOf(served: Running): Promise<string> {
  await served.said('"ready":true');
  return (JSON.parse(served.out) as { client: string[] }).client[0] as string;
}

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** What it has printed so far. */
  readonly out: string;
  /** Resolves when stdout or stderr has this text. */
  said(text: string): Promise<void>;
}

function start(args: readonly string[], input = "", timeoutMs = RUN_TIMEOUT_MS): Running {
  const child = spawn(process.execPath, [BIN, ...args], {
    env: { PATH: process.env["PATH"] ?? "", HARMONYDB_ENDPOINTS: endpoint },
  });
  const deadline = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  // A command that ends before it has read everything closes the pipe.
  child.stdin.on("error", () => undefined).end(input);
  return {
    child,
    get out() {
      return out;
    },
    ended: new Promise((resolve) =>
      child.on("close", (exit) => {
        clearTimeout(deadline);
        resolve({ exit, out, err });
      }),
    ),
    said: (text) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (out.includes(text) || err.includes(text)) resolve();
        };
        child.stdout.on("data", look);
        child.stderr.on("data", look);
        child.on("close", () => reject(new Error(`ended without saying ${text}:\n${out}${err}`)));
        look();
      }),
  };
}

function harmonydb(args: readonly string[], input = ""): Promise<Ended> {
  return start(args, input).ended;
}

describe("harmonydb as a client", { timeout: 60_000 }, () => {
  it("puts what stands on standard input, and reads it back byte for byte", async () => {
    expect(await harmonydb(["put", "picture"], "two\nlines\n")).toEqual({
      exit: 0,
      out: "OK\n",
      err: "",
    });
    expect((await harmonydb(["get", "picture", "--print-value-only"])).out).toBe("two\nlines\n\n");
  });

  it("runs a transaction, and tells a malformed one with its line", async () => {
    const text = 'create("txn") = "0"\n\nput txn first\nget txn --print-value-only\n\nget txn\n\n';
    expect((await harmonydb(["txn"], text)).out).toBe("SUCCESS\n\nOK\n\nfirst\n");
    expect((await harmonydb(["txn"], text)).out).toBe("FAILURE\n\ntxn\nfirst\n");
    expect(await harmonydb(["txn"], 'create("txn") = "0"\nput txn\n')).toMatchObject({
      exit: 3,
      out: "",
    });
  });

  it("loads from a pipe and dumps into one", async () => {
    const lines = '{"key":"pipe/1","value":"a"}\n{"key":"pipe/2","valueBase64":"/w=="}\n';
    expect((await harmonydb(["load", "-"], lines)).exit).toBe(0);
    expect(await harmonydb(["dump", "--prefix", "pipe/"])).toEqual({
      exit: 0,
      out: lines,
      err: "",
    });
    const bad = await harmonydb(["load", "-"], `${lines}{"key":`);
    expect(bad.exit).toBe(3);
    expect(bad.err).toMatch(
      /line 3 of standard input.*\n.*\n {2}2 keys were loaded; go on with --from-line 3\n$/,
    );
  });

  it("says so when its output cannot be written, wherever it goes", async () => {
    await harmonydb(["put", "full", "x"]);
    for (const args of [["dump"], ["get", "full"], ["version"], ["--help"]]) {
      const full = openSync("/dev/full", "w");
      const child = spawn(process.execPath, [BIN, ...args], {
        stdio: ["ignore", full, "pipe"],
        env: { PATH: process.env["PATH"] ?? "", HARMONYDB_ENDPOINTS: endpoint },
      });
      closeSync(full);
      let err = "";
      child.stderr?.setEncoding("utf8").on("data", (text: string) => (err += text));
      const [exit] = (await once(child, "close")) as [number];
      expect([args, exit, err]).toEqual([
        args,
        6,
        "harmonydb: standard output: the disk is full\n  what was written is not the whole\n",
      ]);
    }
  });

  it("runs a command under a lock, hands its exit code on, and gives the lock back", async () => {
    const script = 'echo "$HARMONYDB_LOCK_KEY $HARMONYDB_LOCK_FENCE"; exit 7';
    const first = await harmonydb(["lock", "job", "--", "sh", "-c", script]);
    expect(first).toMatchObject({ exit: 7, err: "" });
    const second = await harmonydb(["lock", "job", "--wait", "0", "--", "sh", "-c", script]);
    const fence = ({ out }: Ended): number => Number(/^job (\d+)\n$/.exec(out)?.[1]);
    expect(fence(second)).toBeGreaterThan(fence(first));
  });

  it("holds a lock until it is told to end; another waits, or is told who holds it", async () => {
    const holder = start(["lock", "held"]);
    await holder.said("held\n");
    const refused = await harmonydb(["lock", "held", "--wait", "0"]);
    expect(refused.exit).toBe(1);
    expect(refused.err).toMatch(
      /^harmonydb: held is locked by another \(fence \d+\) for \d+ ms more\n/,
    );
    const impatient = start(["lock", "held", "--", "echo", "never"]);
    await impatient.said("waiting for held");
    impatient.child.kill("SIGINT");
    expect(await impatient.ended).toEqual({
      exit: 1,
      out: "",
      err: expect.stringMatching(
        /\nharmonydb: stopped while waiting for the lock held\n$/,
      ) as string,
    });
    const waiting = start(["lock", "held", "--", "echo", "mine"]);
    await waiting.said("waiting for held");
    holder.child.kill("SIGTERM");
    expect((await holder.ended).exit).toBe(0);
    expect(await waiting.ended).toMatchObject({ exit: 0, out: "mine\n" });
  });

  it("gives the lock of a holder that was killed to who waits, once its time is over", async () => {
    const holder = start(["lock", "left", "--ttl", "3"]);
    await holder.said("left\n");
    const waiting = start(["lock", "left", "--", "sh", "-c", "echo $HARMONYDB_LOCK_FENCE"]);
    await waiting.said("waiting for left");
    holder.child.kill("SIGKILL");
    const { out } = await holder.ended;
    const next = await waiting.ended;
    expect(next.exit).toBe(0);
    expect(Number(next.out)).toBeGreaterThan(Number(out.split("\n")[1]));
  });

  it("tells of transactions, changes and locks as JSON, too, and as tables", async () => {
    const text = "\nput form/1 one\nget form/1\n\n\n";
    const json = await harmonydb(["txn", "-w", "json"], text);
    expect(JSON.parse(json.out)).toMatchObject({ succeeded: true, responses: [{}, {}] });
    const { revision } = (JSON.parse(json.out) as { header: { revision: number } }).header;
    const table = await harmonydb(["txn", "-w", "table"], text);
    expect([table.exit, table.out]).toEqual([
      0,
      expect.stringMatching(
        /^\+-.*\n\| SUCCEEDED \| REVISION \|\n(.*\n)*\| form\/1 .* one .*\|\n\+-.*\n$/,
      ),
    ]);
    const watching = start(["watch", "--prefix", "form/", "--rev", `${revision}`, "-w", "json"]);
    await watching.said("\n");
    watching.child.kill("SIGTERM");
    const [line = ""] = (await watching.ended).out.split("\n");
    expect(JSON.parse(line)).toMatchObject({
      events: [{ kv: { key: Buffer.from("form/1").toString("base64") } }, {}],
    });
    const holder = start(["lock", "form", "-w", "json"]);
    await holder.said("\n");
    holder.child.kill("SIGTERM");
    expect(JSON.parse((await holder.ended).out)).toEqual({
      key: "form",
      fence: expect.any(Number) as number,
    });
  });

  it("extends a lock for as long as the command runs", async () => {
    // Nobody extends: it would be believed in for 2.7 seconds, and the command killed.
    const ended = await harmonydb([
      "lock",
      "long",
      "--ttl",
      "3",
      "--",
      "sh",
      "-c",
      "sleep 4; echo done",
    ]);
    expect(ended).toEqual({ exit: 0, out: "done\n", err: "" });
  });

  it("kills the command when the lock is lost", async () => {
    const marker = join(bench.root, "finished");
    const running = start([
      "lock",
      "lost",
      "--ttl",
      "6",
      "--",
      "sh",
      "-c",
      `echo begun; sleep 30 && touch ${marker}`,
    ]);
    await running.said("begun\n");
    // What deletes the key takes the lock away.
    expect((await harmonydb(["del", "lost"])).out).toBe("1\n");
    const ended = await running.ended;
    expect(ended.exit).toBe(1);
    expect(ended.err).toMatch(
      /^harmonydb: the lock lost was lost: another holds it, or it was deleted\n/,
    );
    expect(existsSync(marker)).toBe(false);
  });

  it("stops a load on a signal, and has a place to go on from", async () => {
    const path = join(bench.root, "large.jsonl");
    const lines = Array.from(
      { length: 100_000 },
      (_, i) => `{"key":"large/${i}","value":"${"x".repeat(50)}"}\n`,
    );
    writeFileSync(path, lines.join(""));
    const loading = start(["load", path]);
    while (!existsSync(`${path}.load-state`) && loading.child.exitCode === null)
      await new Promise((resolve) => setTimeout(resolve, 20));
    loading.child.kill("SIGINT");
    const stopped = await loading.ended;
    expect(stopped.exit).toBe(1);
    expect(stopped.err).toMatch(
      /^harmonydb: stopped\n {2}\d+ keys were loaded; go on with --resume/,
    );
    const { line } = JSON.parse(readFileSync(`${path}.load-state`, "utf8")) as { line: number };
    const count = await harmonydb(["get", "--prefix", "large/", "--count-only"]);
    expect(count.out).toBe(`${line - 1}\n`);
    writeFileSync(path, lines.slice(0, line + 1000).join(""));
    const resumed = await harmonydb(["load", path, "--resume"]);
    expect(resumed.out).toMatch(/^loaded 1001 keys/);
  });

  it("says that there is no leader, and how each endpoint stands", async () => {
    const [peer] = await freePorts(1);
    const peerUrl = `http://127.0.0.1:${peer}`;
    const first = start(
      [
        "serve",
        "--name=n1",
        `--data-dir=${join(bench.root, "n1")}`,
        "--listen-client-urls=http://127.0.0.1:0",
        "--listen-metrics-urls=none",
        `--listen-peer-urls=${peerUrl}`,
        `--initial-cluster=n1=${peerUrl},n2=http://127.0.0.1:1,n3=http://127.0.0.1:2`,
      ],
      "",
      2 * RUN_TIMEOUT_MS,
    );
    try {
      const [, alone = ""] = (await urlOf(first)).split("//");
      const asked = ["--endpoints", `${alone},127.0.0.1:1`, "--command-timeout", "500ms"];
      expect(await harmonydb(["put", "a", "b", ...asked])).toEqual({
        exit: 1,
        out: "",
        err: expect.stringMatching(
          new RegExp(
            `^harmonydb: no leader: no answer from ${alone} within 500 ms
  ${alone} knows no leader in term \\d+
  127.0.0.1:1 cannot be reached
  a write may have been applied;`,
          ),
        ) as string,
      });
      const health = await harmonydb(["endpoint", "health", ...asked]);
      expect([health.exit, health.out]).toEqual([
        5,
        expect.stringMatching(new RegExp(`^${alone} is unhealthy: no leader: no answer`)),
      ]);
    } finally {
      first.child.kill("SIGKILL");
      await first.ended;
    }
  });

  it("says where a connection was lost, and believes in no lock beyond its time", async () => {
    const other = serve(join(bench.root, "other"));
    const url = await urlOf(other);
    const watching = start(["watch", "a", "--rev", "1", "--endpoints", url]);
    expect((await harmonydb(["put", "a", "1", "--endpoints", url])).exit).toBe(0);
    await watching.said("PUT\na\n1\n");
    const script = "echo begun; sleep 10";
    const locked = start(["lock", "l", "--ttl", "4", "--endpoints", url, "--", "sh", "-c", script]);
    await locked.said("begun\n");
    other.child.kill("SIGKILL");
    await other.ended;
    const lost = await locked.ended;
    expect(lost.exit).toBe(1);
    expect(lost.err).toMatch(/^harmonydb: the lock l was lost: /);
    const ended = await watching.ended;
    expect(ended.exit).toBe(2);
    expect(ended.err).toMatch(/^harmonydb: the connection to 127\.0\.0\.1:\d+ was lost/);
    expect(ended.err).toMatch(/nothing is missed when it goes on with --rev 3\n$/);
  });
});
