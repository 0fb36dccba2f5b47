/** The commands against a node in this process, through the same gRPC as everywhere. */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Node, startNode, stopNode } from "../../db/index.ts";
import { nodeEnv } from "../../platform/index.ts";
import { type EtcdServer, serveEtcd } from "../../server/index.ts";
import { run } from "../program.ts";
import { formatLine } from "./records.ts";

interface Said {
  readonly exit: number | null;
  readonly out: string;
  readonly err: string;
}

let node: Node;
let server: EtcdServer;
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "harmonydb-commands-"));
  const log = (): void => undefined;
  node = await startNode(nodeEnv({ log }), { dataDir: ":memory:", persistence: "none" });
  server = await serveEtcd({
    database: node.database,
    urls: ["http://127.0.0.1:0"],
    log,
    native: {
      checkpoint: (done) => node.checkpoint(done),
      clockMs: () => node.database.clockMs,
    },
  });
}, 30_000);

afterAll(async () => {
  await server.close(0);
  await stopNode(node);
  rmSync(directory, { recursive: true, force: true });
});

/** What is printed may end in the middle of a character, so it is kept as bytes. */
async function harmonydb(...args: readonly string[]): Promise<Said> {
  const out: Uint8Array[] = [];
  let err = "";
  const exit = await run(args, {
    out: (text) => void out.push(Buffer.from(text as string)),
    err: (text) => (err += text),
    drained: () => Promise.resolve(),
    onServe: () => undefined,
    environment: { HARMONYDB_ENDPOINTS: server.addresses[0] },
  });
  return { exit, out: Buffer.concat(out).toString("utf8"), err };
}

async function ok(...args: readonly string[]): Promise<string> {
  const { exit, out, err } = await harmonydb(...args);
  expect({ exit, err }).toEqual({ exit: 0, err: "" });
  return out;
}

beforeEach(async () => {
  await ok("del", "--prefix", "");
}, 30_000);

/** What differs from run to run. */
function masked(text: string): string {
  return text
    .replaceAll(/"(ClusterID|MemberID)" : \d+/g, '"$1" : ID')
    .replaceAll(/127\.0\.0\.1:\d+/g, "NODE")
    .replaceAll(/\b[\da-f]{16}\b/g, "LEASE")
    .replaceAll(/remaining\(\d+s\)/g, "remaining(Ns)")
    .replaceAll(/took = [\d.]+ms/g, "took = TIME");
}

const TABLE = /^(\+-[-+]*\+\n\|.*\|\n)(\+-[-+]*\+\n)(\|.*\|\n)*\2$/;

describe("a session", { timeout: 30_000 }, () => {
  const SESSION: readonly (readonly string[])[] = [
    ["put", "greeting", "hello"],
    ["get", "greeting"],
    ["put", "greeting", "hello again", "--prev-kv"],
    ["get", "greeting", "--print-value-only", "--hex"],
    ["mset", "users/1", "ann", "users/2", "bob", "users/3", "cy"],
    ["mset", "--if-absent", "users/3", "x", "users/4", "y"],
    ["get", "--prefix", "users/", "--order", "descend", "--limit", "2"],
    ["get", "users/1", "users/3", "--keys-only"],
    ["get", "--prefix", "users/", "--count-only"],
    ["get", "--from-key", "users/2", "-w", "table"],
    ["get", "greeting", "-w", "fields"],
    ["del", "--prefix", "users/", "--prev-kv"],
    ["incr", "hits", "--by", "41"],
    ["incr", "hits"],
    ["incr", "hits", "8"],
    ["decr", "hits", "8"],
    ["incr", "hits", "-2"],
    ["incr", "hits", "2"],
    ["decr", "hits", "--by", "50", "--min", "0"],
    ["decr", "hits", "--by", "50", "--min", "0", "--saturate"],
    ["incr", "hits", "--min", "2", "--max", "1"],
    ["incr", "greeting"],
    ["incr", "hits", "--by", "0", "-w", "json"],
    ["get", "no such key"],
    ["get", "greeting", "--rev", "1000000"],
    ["put", "a", "b", "--lease", "1234"],
    ["lease", "revoke", "1234"],
    ["endpoint", "health"],
    ["checkpoint"],
  ];

  it("reads as it is written down", async () => {
    // Revisions and versions of the transcript are counted from the first command.
    const first = Number(
      (JSON.parse(await ok("get", "greeting", "-w", "json")) as { header: { revision: number } })
        .header.revision,
    );
    let transcript = "";
    for (const args of SESSION) {
      const { exit, out, err } = await harmonydb(...args);
      const line = args.map((arg) => (/^[\w./-]+$/.test(arg) ? arg : `'${arg}'`)).join(" ");
      transcript += `$ harmonydb ${line}\n${masked(out)}${masked(err)}${exit === 0 ? "" : `[exit ${exit}]\n`}`;
    }
    transcript = transcript
      .replaceAll(
        /(Revision" : )(\d+)/g,
        (_, name: string, revision: string) => `${name}+${Number(revision) - first}`,
      )
      .replaceAll(
        /("revision":|at revision )(\d+)/g,
        (_, name: string, revision: string) => `${name}+${Number(revision) - first}`,
      )
      .replaceAll(
        /\| (\d+) +\| (\d+) +\|/g,
        (_, made: string, changed: string) =>
          `| +${Number(made) - first} | +${Number(changed) - first} |`,
      );
    await expect(transcript).toMatchFileSnapshot("../testdata/a session with a node.txt");
  });

  it("answers every command as JSON, as fields and as a table, too", async () => {
    const commands: readonly (readonly string[])[] = [
      ["put", "form", "1"],
      ["put", "form", "1", "--prev-kv"],
      ["get", "form"],
      ["get", "no such key"],
      ["get", "--prefix", "", "--count-only"],
      ["incr", "hits"],
      ["decr", "hits", "--by", "5"],
      ["mset", "a", "1", "b", "2"],
      ["mset", "--if-absent", "a", "1"],
      ["del", "form", "--prev-kv"],
      ["lease", "grant", "60", "--id", "77"],
      ["lease", "list"],
      ["lease", "timetolive", "77", "--keys"],
      ["lease", "keep-alive", "--once", "77"],
      ["lease", "revoke", "77"],
      ["status"],
      ["endpoint", "health"],
      ["endpoint", "hashkv"],
      ["member", "list"],
      ["checkpoint"],
      ["version"],
    ];
    for (const args of commands) {
      const isRefused = args.includes("--if-absent");
      const forms = args[0] === "version" ? ["json"] : ["json", "fields", "table"];
      for (const form of forms) {
        const { exit, out, err } = await harmonydb(...args, "-w", form);
        expect([args, form, exit, err]).toEqual([args, form, isRefused ? 1 : 0, ""]);
        if (form === "json") expect([args, JSON.parse(out)]).toEqual([args, expect.anything()]);
        if (form === "table") expect([args, out]).toEqual([args, expect.stringMatching(TABLE)]);
        if (form === "fields") expect([args, out]).toEqual([args, expect.stringMatching(/^"/)]);
        // One lease of that id at a time.
        if (args[1] === "grant" && form !== "table") await ok("lease", "revoke", "77");
        if (args[1] === "revoke" && form !== "table")
          await ok("lease", "grant", "60", "--id", "77");
      }
    }
  });

  it("makes, renews and ends leases", async () => {
    const id = /lease ([\da-f]{16}) granted with TTL\(60s\)/.exec(
      await ok("lease", "grant", "60"),
    )?.[1] as string;
    await ok("put", "--lease", id, "session", "alive");
    expect(await ok("lease", "list")).toBe(`found 1 leases\n${id}\n`);
    expect(masked(await ok("lease", "timetolive", id, "--keys"))).toBe(
      "lease LEASE granted with TTL(60s), remaining(Ns), attached keys([session])\n",
    );
    expect(await ok("lease", "keep-alive", "--once", id)).toBe(
      `lease ${id} keepalived with TTL(60)\n`,
    );
    await ok("lease", "revoke", id);
    expect(await ok("get", "session")).toBe("");
    expect(await ok("lease", "timetolive", id)).toBe(`lease ${id} already expired\n`);
    expect(await harmonydb("lease", "keep-alive", id)).toMatchObject({
      exit: 1,
      err: `harmonydb: lease ${id} expired or revoked\n`,
    });
  });

  it("tells the state of each endpoint, and which one does not answer", async () => {
    const both = `${server.addresses[0]},127.0.0.1:1`;
    const status = await harmonydb("endpoint", "status", "--endpoints", both, "-w", "json");
    expect(status.exit).toBe(2);
    expect(JSON.parse(status.out)).toMatchObject([
      { Status: { version: "3.6.11", raftTerm: expect.any(Number) as number } },
    ]);
    expect(status.err).toContain("127.0.0.1:1: connection refused");
    const health = await harmonydb("endpoint", "health", "--endpoints", both, "-w", "json");
    expect(health.exit).toBe(5);
    expect(JSON.parse(health.out)).toMatchObject([{ health: true }, { health: false }]);
    const hash = await harmonydb("endpoint", "hashkv", "--endpoints", both, "-w", "json");
    expect([hash.exit, (JSON.parse(hash.out) as unknown[]).length]).toEqual([2, 1]);
    expect(hash.err).toContain("127.0.0.1:1: connection refused");
    expect(hash.err).toContain("1 of 2 endpoints answered");
  });

  it("says who leads and who is a learner", async () => {
    const table = (await ok("endpoint", "status", "-w", "table")).split("\n");
    const cells = (line = ""): string[] => line.split("|").map((cell) => cell.trim());
    const of = (name: string): string | undefined => cells(table[3])[cells(table[1]).indexOf(name)];
    expect([of("IS LEADER"), of("IS LEARNER"), of("RAFT TERM")]).toEqual(["true", "false", "1"]);
  });

  it("says after how a call ended whether anything may have changed", async () => {
    const silent = createServer().listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    const there = ["--endpoints", `127.0.0.1:${port}`, "--command-timeout", "200ms"];
    try {
      for (const [args, says] of [
        [["get", "a"], "nothing was changed"],
        [["endpoint", "status"], "0 of 1 endpoints answered"],
        [["put", "a", "b"], "a write may have been applied"],
      ] as const) {
        const { exit, err } = await harmonydb(...args, ...there);
        expect([args, exit, err.includes(says)]).toEqual([args, 1, true]);
        expect([args, err.includes("write may")]).toEqual([args, args[0] === "put"]);
      }
    } finally {
      silent.close();
    }
  });

  it("goes to the next endpoint when the first cannot be reached", async () => {
    await ok("put", "a", "b", "--endpoints", `127.0.0.1:1,${server.addresses[0]}`);
    expect(await ok("get", "a", "--print-value-only")).toBe("b\n");
  });

  it("prints changes until it is told to end", async () => {
    const { revision } = (
      JSON.parse(await ok("get", "x", "-w", "json")) as { header: { revision: number } }
    ).header;
    await ok("put", "w/1", "one");
    const seen: string[] = [];
    let told: () => void = () => undefined;
    const both = new Promise<void>((resolve) => (told = resolve));
    const watching = run(["watch", "--prefix", "w/", "--rev", String(revision + 1), "--prev-kv"], {
      out: (text) => {
        seen.push(Buffer.from(text as string).toString());
        if (seen.join("").includes("DELETE\nw/1\ntwo\nw/1\n\n")) told();
      },
      err: () => undefined,
      drained: () => Promise.resolve(),
      onServe: () => undefined,
      environment: { HARMONYDB_ENDPOINTS: server.addresses[0] },
    });
    await ok("put", "w/1", "two");
    await ok("put", "other", "x");
    await ok("del", "w/1");
    await both;
    process.emit("SIGINT");
    expect(await watching).toBe(0);
    expect(seen.join("")).toBe("PUT\nw/1\none\nPUT\nw/1\none\nw/1\ntwo\nDELETE\nw/1\ntwo\nw/1\n\n");
  });

  it("says that the history of a watch or a read is gone", async () => {
    await ok("put", "a", "1");
    const { revision } = (
      JSON.parse(await ok("get", "a", "-w", "json")) as { header: { revision: number } }
    ).header;
    await ok("compact", String(revision));
    const watch = await harmonydb("watch", "a", "--rev", "1");
    expect(watch).toMatchObject({ exit: 1, out: "" });
    expect(watch.err).toMatch(
      /^harmonydb: the watch was canceled: the history before revision \d+ is gone\n/,
    );
    const dump = await harmonydb("dump", "--rev", "1");
    expect(dump).toMatchObject({ exit: 1, out: "" });
    expect(dump.err).toMatch(/^harmonydb: revision 1 was compacted while it was dumped\n/);
  });
});

describe("dump and load", { timeout: 30_000 }, () => {
  const file = (name: string): string => join(directory, name);

  it("bring back every key and value, whatever their bytes", async () => {
    const bytes = (minLength: number): fc.Arbitrary<Uint8Array> =>
      fc.oneof(
        fc.uint8Array({ minLength, maxLength: 30 }),
        fc
          .string({ unit: "binary", minLength: Math.max(1, minLength), maxLength: 10 })
          .map((text) => Uint8Array.from(Buffer.from(text))),
      );
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.tuple(bytes(1), bytes(0)), {
          selector: ([key]) => Buffer.from(key).toString("hex"),
          maxLength: 30,
        }),
        fc.constantFrom("json" as const, "tsv" as const),
        async (pairs, format) => {
          const sorted = pairs.toSorted(([a], [b]) => Buffer.compare(a, b));
          const line = ([key, value]: readonly [Uint8Array, Uint8Array]): string =>
            formatLine({ key, value, lease: null, ttlMs: null }, format);
          await ok("del", "--prefix", "");
          writeFileSync(file("in"), pairs.map(line).join(""));
          expect(await ok("load", file("in"), "--format", format)).toMatch(
            new RegExp(`^loaded ${pairs.length} keys in`),
          );
          await ok("dump", file("out"), "--format", format);
          expect(readFileSync(file("out"), "utf8")).toBe(sorted.map(line).join(""));
          expect(await ok("get", "--prefix", "", "--count-only")).toBe(`${pairs.length}\n`);
        },
      ),
      { numRuns: 10 },
    );
  });

  it("go through many pages and batches at one revision, and keep what a TTL has left", async () => {
    const lines = Array.from(
      { length: 2500 },
      (_, i) => `{"key":"k${String(i).padStart(5, "0")}","value":"v${i}"}\n`,
    );
    const timed = '{"key":"timed","value":"x","ttlMs":3600000}\n';
    writeFileSync(file("many"), lines.toSpliced(250, 0, timed).join(""));
    const { revision: before } = (
      JSON.parse(await ok("get", "x", "-w", "json")) as { header: { revision: number } }
    ).header;
    await ok("load", file("many"));
    const { revision: after } = (
      JSON.parse(await ok("get", "x", "-w", "json")) as { header: { revision: number } }
    ).header;
    // 250 before the one that has another TTL, that one, and 2250 behind it, 500 in a batch.
    expect(after - before).toBe(7);
    const dumped = (await ok("dump")).trim().split("\n");
    expect(`${dumped.slice(0, 2500).join("\n")}\n`).toBe(lines.join(""));
    const { ttlMs } = JSON.parse(dumped[2500] as string) as { ttlMs: number };
    expect(ttlMs).toBeGreaterThan(3_000_000);
    expect(ttlMs).toBeLessThanOrEqual(3_600_000);
    expect((await ok("dump", "--prefix", "k000", "--rev", String(after))).split("\n")).toHaveLength(
      101,
    );
  });

  it("hold to one revision while others write", async () => {
    const lines = Array.from(
      { length: 2500 },
      (_, i) => `{"key":"k${String(i).padStart(5, "0")}","value":"v"}\n`,
    );
    writeFileSync(file("many"), lines.join(""));
    await ok("load", file("many"));
    let out = "";
    let pages = 0;
    const exit = await run(["dump"], {
      out: (text) => void (out += text as string),
      err: () => undefined,
      drained: async () => {
        if (pages++ > 0) return;
        await ok("del", "k01500");
        await ok("mset", "k01600", "changed", "k01600x", "new", "z", "new");
      },
      onServe: () => undefined,
      environment: { HARMONYDB_ENDPOINTS: server.addresses[0] },
    });
    expect(exit).toBe(0);
    expect(pages).toBe(3);
    expect(out).toBe(lines.join(""));
  });

  it("stop at a line that is wrong, say where, and go on when it is mended", async () => {
    const lines = Array.from({ length: 1200 }, (_, i) => `{"key":"k${i}","value":"v${i}"}\n`);
    const path = file("broken");
    writeFileSync(path, lines.with(800, '{"key":"k800","va\n').join(""));
    const stopped = await harmonydb("load", path);
    expect(stopped.exit).toBe(3);
    expect(stopped.err).toBe(
      `harmonydb: line 801 of ${path}: it is not JSON; was the file cut, or is it --format tsv?\n` +
        "  mend the line and go on with --resume, or pass over lines like it with --skip-bad-lines\n" +
        "  800 keys were loaded; go on with --resume, or with --from-line 801\n",
    );
    expect(await ok("get", "--prefix", "k", "--count-only")).toBe("800\n");
    writeFileSync(path, lines.with(800, '{"key":"mended","value":"1"}\n').join(""));
    const resumed = await harmonydb("load", path, "--resume");
    expect(resumed).toMatchObject({
      exit: 0,
      err: `harmonydb: went on from line 801 of ${path}\n`,
    });
    expect(resumed.out).toMatch(/^loaded 400 keys/);
    expect(existsSync(`${path}.load-state`)).toBe(false);
    expect(await ok("get", "--prefix", "", "--count-only")).toBe("1200\n");
  });

  it("load all the same where no state can be written, and say that there is none to go on from", async () => {
    const path = file("stateless");
    mkdirSync(`${path}.load-state.next`);
    writeFileSync(path, '{"key":"a","value":"1"}\nbroken\n');
    const said = await harmonydb("load", path);
    expect(said.exit).toBe(3);
    expect(said.err).toMatch(/^harmonydb: --resume will not be possible: EISDIR/);
    expect(said.err).toMatch(/1 keys were loaded; go on with --from-line 2\n$/);
    expect(await ok("get", "a", "--print-value-only")).toBe("1\n");
  });

  it("refuse to go on in another file than the one that was begun", async () => {
    const path = file("replaced");
    writeFileSync(path, '{"key":"a","value":"1"}\nbroken\n');
    await harmonydb("load", path);
    writeFileSync(path, '{"key":"b","value":"2"}\n{"key":"c","value":"3"}\n');
    const resumed = await harmonydb("load", path, "--resume");
    expect(resumed.exit).toBe(3);
    expect(resumed.err).toContain("the file is not the one that the load began with");
    writeFileSync(`${path}.load-state`, '{"line":-1}');
    expect((await harmonydb("load", path, "--resume")).err).toContain("it is no state of a load");
  });

  it("pass over lines that are wrong, cut, too long, or refused by the node, and name them", async () => {
    await ok("put", "held", "x");
    await ok("del", "held");
    const longKey = "k".repeat(5000);
    writeFileSync(
      file("bad"),
      `{"key":"a","value":"1"}\nnonsense\n{"key":"${longKey}","value":"1"}\n{"key":"b","value":"${"x".repeat(9000)}"}\n{"key":"c","value":"3"}\n{"key":"cut","val`,
    );
    const said = await harmonydb(
      "load",
      file("bad"),
      "--skip-bad-lines",
      "--max-line-bytes",
      "8000",
    );
    expect(said.exit).toBe(0);
    expect(said.out).toMatch(/^loaded 2 keys in .*, skipped 4 lines\n$/);
    expect(said.err).toMatch(/skipped line 2: it is not JSON/);
    expect(said.err).toMatch(/skipped line 3: .*key is too large/);
    expect(said.err).toMatch(/skipped line 4: it is longer than 8000 bytes/);
    expect(said.err).toMatch(/skipped line 6: it is not JSON; was the file cut/);
    expect(await ok("get", "--prefix", "", "--keys-only")).toBe("a\nc\n");
    const strict = await harmonydb("load", file("bad"), "--from-line", "3");
    expect(strict.exit).toBe(3);
    expect(strict.err).toMatch(/^harmonydb: line 3 of .*key is too large/);
  });

  it("pass over a line that is too large for any message, and load those beside it", async () => {
    const huge = "x".repeat(3 * 1024 * 1024);
    writeFileSync(
      file("huge"),
      `{"key":"a","value":"1"}\n{"key":"b","value":"${huge}"}\n{"key":"c","value":"3"}\n`,
    );
    const strict = await harmonydb("load", file("huge"));
    expect(strict.exit).toBe(3);
    expect(strict.err).toMatch(/^harmonydb: line 2 of .*larger than max/);
    const said = await harmonydb("load", file("huge"), "--skip-bad-lines");
    expect([said.exit, said.err]).toEqual([0, expect.stringMatching(/skipped line 2: .*larger/)]);
    expect(await ok("get", "--prefix", "", "--keys-only")).toBe("a\nc\n");
  });

  it("end, and skip nothing, when the database is full", async () => {
    const log = (): void => undefined;
    const full = await startNode(nodeEnv({ log }), {
      dataDir: ":memory:",
      persistence: "none",
      quotaBytes: 1,
    });
    const door = await serveEtcd({ database: full.database, urls: ["http://127.0.0.1:0"], log });
    try {
      writeFileSync(file("full"), '{"key":"a","value":"1"}\n{"key":"b","value":"2"}\n');
      const address = door.addresses[0] as string;
      const said = await harmonydb(
        "load",
        file("full"),
        "--skip-bad-lines",
        "--endpoints",
        address,
      );
      expect(said).toMatchObject({ exit: 1, out: "" });
      expect(said.err).toMatch(
        /^harmonydb: .*database space exceeded\n {2}0 keys were loaded; go on/,
      );
    } finally {
      await door.close(0);
      await stopNode(full);
    }
  });

  it("attach keys to their leases, unless told not to", async () => {
    writeFileSync(file("leased"), '{"key":"a","value":"1","lease":"77"}\n');
    expect((await harmonydb("load", file("leased"))).err).toContain("requested lease not found");
    await ok("load", file("leased"), "--no-leases");
    await ok("lease", "grant", "60", "--id", "77");
    await ok("load", file("leased"));
    expect(await ok("dump")).toBe('{"key":"a","value":"1","lease":"77"}\n');
    expect((await harmonydb("dump", "--format", "tsv")).err).toContain(
      "1 keys have a lease or a TTL",
    );
    await ok("lease", "revoke", "77");
  });

  it("read from a pipe that has a name, write to one, and take the place of no device", async () => {
    const lines = Array.from(
      { length: 3_000 },
      (_, i) => `{"key":"k${String(i).padStart(5, "0")}","value":"${"v".repeat(50)}"}\n`,
    ).join("");
    const pipe = file("pipe");
    execFileSync("mkfifo", [pipe]);
    const [loaded] = await Promise.all([harmonydb("load", pipe), writeFile(pipe, lines)]);
    expect(loaded).toMatchObject({ exit: 0, err: "" });
    expect(loaded.out).toMatch(/^loaded 3000 keys/);
    expect(existsSync(`${pipe}.load-state`)).toBe(false);
    const [broken] = await Promise.all([
      harmonydb("load", pipe),
      writeFile(pipe, '{"key":"a","value":"1"}\n{"key":\n'),
    ]);
    expect(broken.exit).toBe(3);
    expect(broken.err).toMatch(
      /line 2 of .*pipe: it is not JSON(.*\n)* {2}1 keys were loaded; go on with --from-line 2\n$/,
    );
    expect((await harmonydb("load", pipe, "--resume")).exit).toBe(128);
    await ok("del", "a");
    const [dumped, read] = await Promise.all([harmonydb("dump", pipe), readFile(pipe, "utf8")]);
    expect([dumped.exit, dumped.err, read === lines]).toEqual([0, "", true]);
    expect(statSync(pipe).isFIFO()).toBe(true);
    for (const command of [["dump"], ["snapshot", "save"]]) {
      const { exit, err } = await harmonydb(...command, directory);
      expect([command, exit, err]).toEqual([
        command,
        6,
        `harmonydb: ${directory}: that is a directory\n`,
      ]);
    }
    const saved = await harmonydb("snapshot", "save", pipe);
    expect([saved.exit, saved.err]).toEqual([6, expect.stringContaining("is no file")]);
    expect(statSync(pipe).isFIFO()).toBe(true);
  });

  it("draw how far they are where somebody looks", async () => {
    writeFileSync(
      file("seen"),
      Array.from({ length: 2_000 }, (_, i) => `{"key":"k${i}","value":"v"}\n`).join(""),
    );
    const { isTTY } = process.stderr;
    try {
      process.stderr.isTTY = true;
      const bar = /^\r\[.*\] +\d+% \d+ keys, \d+\/s/;
      expect((await harmonydb("load", file("seen"))).err).toMatch(bar);
      expect((await harmonydb("dump", file("out"))).err).toMatch(bar);
      process.stderr.isTTY = false;
      expect((await harmonydb("dump", file("out"))).err).toBe("");
    } finally {
      process.stderr.isTTY = isTTY;
    }
  });

  it("leave no half of a file behind, and name the file that cannot be written", async () => {
    const missing = file("no-such-directory/out");
    const said = await harmonydb("dump", missing);
    expect(said).toEqual({
      exit: 6,
      out: "",
      err: `harmonydb: ${missing}.partial: there is no such file or directory\n`,
    });
    await harmonydb("dump", file("gone"), "--rev", "1000000000");
    expect(existsSync(file("gone"))).toBe(false);
    expect(existsSync(`${file("gone")}.partial`)).toBe(false);
    expect((await harmonydb("load", file("none"))).exit).toBe(6);
  });
});

/** Gives way until the node has come so far, or `running` is over. */
async function untilRevision(
  { database }: Node,
  revision: number,
  running: Promise<unknown>,
): Promise<void> {
  let isOver = false;
  const over = (): void => {
    isOver = true;
  };
  running.then(over, over);
  while (!isOver && database.header.revision < revision)
    await new Promise((next) => setImmediate(next));
}

describe("bench", { timeout: 60_000 }, () => {
  it("prints what it measured, for people and for programs", async () => {
    const args = [
      "bench",
      "mixed",
      "--count",
      "60",
      "--clients",
      "2",
      "--pipeline",
      "3",
      "--keys",
      "5",
      "--value-size",
      "10",
    ];
    const report = JSON.parse(await ok(...args, "-w", "json")) as Record<
      string,
      { count: number; latencyUs: Record<string, number> }
    >;
    expect(report).toMatchObject({
      work: "mixed",
      door: "grpc",
      clients: 2,
      pipeline: 3,
      valueSizeBytes: 10,
    });
    const { get, put } = report;
    expect((get?.count ?? 0) + (put?.count ?? 0)).toBe(60);
    const { p50 = 0, p90 = 0, p99 = 0, p999 = 0, max = 0 } = put?.latencyUs ?? {};
    expect([p50, p90, p99, p999, max]).toEqual(
      [p50, p90, p99, p999, max].toSorted((a, b) => a - b),
    );
    expect(await ok("get", "--prefix", "bench/", "--count-only")).toMatch(/^[1-5]\n$/);
    expect(await ok(...args)).toMatch(
      /^put: \d+ in [\d.]+ s, \d+\/s; mean .*, p50 .*, p99\.9 .*, max .*\nget: /,
    );
  });

  it("goes on through another endpoint when one is lost, and counts what failed", async () => {
    const log = (): void => undefined;
    const lost = await startNode(nodeEnv({ log }), { dataDir: ":memory:", persistence: "none" });
    const door = await serveEtcd({ database: lost.database, urls: ["http://127.0.0.1:0"], log });
    const both = `${door.addresses[0]},${server.addresses[0]}`;
    const args = ["--count", "800", "--clients", "3", "--pipeline", "2", "--endpoints", both];
    const running = ok("bench", "put", ...args, "-w", "json");
    await untilRevision(lost, 50, running);
    await door.close(0);
    await stopNode(lost);
    const report = JSON.parse(await running) as { errors: number; put: { count: number } };
    expect(report.errors).toBeGreaterThan(0);
    expect(report.put.count + report.errors).toBe(800);
    expect(await ok("get", "--prefix", "bench/", "--count-only")).not.toBe("0\n");
  });

  it("ends when nobody answers any more, and tells what was measured until then", async () => {
    const log = (): void => undefined;
    const lost = await startNode(nodeEnv({ log }), { dataDir: ":memory:", persistence: "none" });
    const door = await serveEtcd({ database: lost.database, urls: ["http://127.0.0.1:0"], log });
    const [endpoint = ""] = door.addresses;
    const args = ["--count", "1000000", "--clients", "2", "--endpoints", endpoint];
    const running = harmonydb("bench", "put", ...args, "--command-timeout", "1s");
    await untilRevision(lost, 50, running);
    await door.close(0);
    await stopNode(lost);
    const { exit, out, err } = await running;
    expect(exit).toBe(2);
    expect(out).toMatch(/^put: \d+ in .*\nerrors: \d+, the last: /);
    expect(err).toContain(`${endpoint.replace("http://", "")}: connection refused`);
  });

  it("measures a database in this process", async () => {
    const dataDir = join(directory, "embedded");
    const out = await ok(
      "bench",
      "put",
      "--door",
      "embedded",
      "--count",
      "20",
      "--clients",
      "4",
      "--data-dir",
      dataDir,
    );
    expect(out).toMatch(/^put: 20 in /);
    expect(existsSync(join(dataDir, "VERSION"))).toBe(true);
  });
});
