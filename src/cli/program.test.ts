import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "./program.ts";

interface Said {
  readonly exit: number | null;
  readonly out: string;
  readonly err: string;
}

async function harmonydb(line: string, environment: Record<string, string> = {}): Promise<Said> {
  let out = "";
  let err = "";
  const exit = await run(line === "" ? [] : line.split(" "), {
    out: (text) => (out += text),
    err: (text) => (err += text),
    drained: () => Promise.resolve(),
    onServe: () => undefined,
    environment,
  });
  return { exit, out, err };
}

describe("the command line", () => {
  it.each([
    ["help of the program", "--help"],
    ["help of serve", "serve --help"],
    ["help of wal dump", "wal dump --help"],
    ["help of get", "get --help"],
    ["help of lock", "lock --help"],
    ["help of load", "load --help"],
  ])("teaches: %s", async (file, line) => {
    const said = await harmonydb(line);
    expect(said.exit).toBe(0);
    expect(said.err).toBe("");
    await expect(said.out).toMatchFileSnapshot(`testdata/${file}.txt`);
  });

  it("prints its version for people and for programs", async () => {
    expect((await harmonydb("version")).out).toMatch(/^harmonydb \d+\.\d+\.\d+\nNode\.js v\d+/);
    expect(JSON.parse((await harmonydb("version -w json")).out)).toMatchObject({
      node: process.version,
    });
    expect((await harmonydb("--version")).exit).toBe(0);
  });

  it.each([
    ["serve --data-dri x", /unknown option '--data-dri'\n\(Did you mean --data-dir\?\)/],
    ["--data-dri x", /unknown option '--data-dri'/],
    ["serve --data-dir", /option '--data-dir <dir>' argument missing/],
    ["serve now", /too many arguments/],
    ["serve --max-txn-ops many", /--max-txn-ops: "many" is not a whole number/],
    ["serve --insecure=perhaps", /--insecure: "perhaps" is neither true nor false/],
    ["serve --cert-file c.pem", /option --cert-file is not available in this version/],
    ["serve --peer-key-file=k.pem", /option --peer-key-file is not available in this version/],
    [
      "serve --listen-resp-urls redis://localhost:1",
      /option --listen-resp-urls is not available in this version/,
    ],
    ["wal repair", /unknown command 'repair'/],
    ["wal dump -w table", /argument 'table' is invalid/],
    ["version extra words here", /too many arguments/],
  ])("refuses `%s` with exit code 1 and a sentence", async (line, sentence) => {
    const said = await harmonydb(line);
    expect(said.exit).toBe(1);
    expect(said.err).toMatch(/^harmonydb: /);
    expect(said.err).toMatch(sentence);
    expect(said.out).toBe("");
  });

  it.each([
    ["serv", /unknown command "serv"; did you mean "serve"\?/],
    ["nosuch", /unknown command "nosuch"\n {2}harmonydb --help lists the commands/],
    ["user list", /user is not among the commands.*\n.*etcdctl user list/],
    ["get", /missing required argument 'key'/],
    ["get a b c", /too many arguments/],
    ["get a --prefix --from-key", /cannot be given together/],
    ["get a b --prefix", /cannot stand beside --prefix/],
    ["get a --limit -1", /--limit: "-1" is negative/],
    ["get a --limit many", /--limit: "many" is not a whole number/],
    ["get a --sort-by size", /--sort-by: "SIZE" is none of CREATE, KEY/],
    ["get a -w xml", /argument 'xml' is invalid/],
    ["get a --endpoints https://h:1", /TLS is not available/],
    ["get a --endpoints h", /"h" is no endpoint/],
    ["get a --command-timeout soon", /--command-timeout: "soon" is not a duration/],
    ["put a b --lease xyz", /--lease: "xyz" is not the hexadecimal id/],
    ["put a b --ignore-value", /a value cannot stand beside/],
    ["mset a", /the last key has no value/],
    ["incr a 1 --by 2", /a number cannot stand beside --by/],
    ["incr a many", /number: "many" is not a whole number/],
    ["incr a --by 9223372036854775808", /not a whole number of 64 bits/],
    ["lock a --ttl 0", /--ttl: 0 is out of range/],
    ["bench sleep", /"sleep" is none of put, get, mixed/],
    ["load - --resume", /standard input cannot be read again/],
    ["completion tcsh", /"tcsh" is none of bash, zsh, fish/],
  ])(
    "refuses `%s` of a client, or of nobody, with exit code 128 and a sentence",
    async (line, sentence) => {
      const said = await harmonydb(line);
      expect(said.err).toMatch(sentence);
      expect(said.err).toMatch(/^harmonydb: /);
      expect(said.exit).toBe(128);
      expect(said.out).toBe("");
    },
  );

  it("says that no node is there, where, and what to do", async () => {
    const said = await harmonydb("get a", { HARMONYDB_ENDPOINTS: "127.0.0.1:1" });
    expect(said).toEqual({
      exit: 2,
      out: "",
      err: "harmonydb: no node can be reached: 127.0.0.1:1: connection refused\n  start one with `harmonydb serve`, or name another with --endpoints\n",
    });
  });

  it("names every problem of a configuration at once", async () => {
    const said = await harmonydb("serve --max-txn-ops 0 --listen-client-urls ftp://x:1", {
      HARMONYDB_WAL_SEGMENT_BYTES: "1",
    });
    expect(said.err.split("\n").filter((line) => line.startsWith("  "))).toHaveLength(3);
  });
});

describe("harmonydb config", () => {
  let directory = "";
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "harmonydb-program-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it("prints a file that gives the same configuration again", async () => {
    const first = await harmonydb("config print --name n1 --max-txn-ops 5 --insecure");
    const file = join(directory, "printed.yaml");
    writeFileSync(file, first.out);
    const again = await harmonydb(`config print -w json --config-file ${file}`);
    const rows = JSON.parse(again.out) as Record<string, { value: string; origin: string }>;
    expect(rows["name"]).toEqual({ value: "n1", origin: "file" });
    expect(rows["max-txn-ops"]).toEqual({ value: "5", origin: "file" });
    expect(rows["insecure"]).toEqual({ value: "true", origin: "file" });
  });

  it("shows where each value comes from", async () => {
    const said = await harmonydb("config print --name n1", { HARMONYDB_LOG_LEVEL: "warn" });
    expect(said.out).toMatch(/^name: "n1"\s+# flag$/m);
    expect(said.out).toMatch(/^log-level: "warn"\s+# environment$/m);
    expect(said.out).toMatch(/^data-dir: ".\/data"\s+# default$/m);
  });

  it("validates, and warns of variables that mean nothing", async () => {
    const good = await harmonydb("config validate", { HARMONYDB_NAMEN: "x" });
    expect([good.exit, good.out]).toEqual([0, "the configuration is valid\n"]);
    expect(good.err).toMatch(
      /unknown environment variable HARMONYDB_NAMEN is ignored; did you mean HARMONYDB_NAME\?/,
    );
    expect((await harmonydb("config validate --election-timeout 100")).exit).toBe(1);
  });
});
