import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseConfig } from "./config-file.ts";
import { advertisedUrls, resolveConfig, type ResolvedConfig, retentionOf } from "./config.ts";
import { CommandError } from "./exit.ts";
import { initialMembers } from "./initial-cluster.ts";
import { environmentName, OPTION_NAMES, type OptionName, OPTIONS } from "./options.ts";

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "harmonydb-config-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function resolve(
  flags: Partial<Record<OptionName, string>> = {},
  environment: Record<string, string> = {},
): ResolvedConfig {
  return resolveConfig(new Map(Object.entries(flags) as [OptionName, string][]), environment);
}

function file(name: string, text: string | Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

/** The lines that a refused start prints below its first one. */
function problemsOf(action: () => unknown): readonly string[] {
  try {
    action();
  } catch (error) {
    if (error instanceof CommandError)
      return error.lines.length > 0 ? error.lines : [error.message];
    throw error;
  }
  return [];
}

describe("configuration", () => {
  it("has a default for every option that its own reader accepts", () => {
    const { config, origins } = resolve();
    expect(config.dataDir).toBe("./data");
    expect(config.listenClientUrls).toEqual(["http://127.0.0.1:2379"]);
    expect(config.walSegmentBytes).toBe(64 * 1024 * 1024);
    expect(config.checkpointIntervalMs).toBe(300_000);
    expect(config.checkpointOperations).toBe(100_000);
    expect(config.fsyncIntervalMs).toBe(0);
    expect(config.maxRequestBytes).toBe(1_572_864);
    expect(new Set(Object.values(origins))).toEqual(new Set(["default"]));
  });

  it("lets a flag win over the environment, that over the file, that over the default", () => {
    const configFile = file(
      "order.yaml",
      "name: from-file\nmax-txn-ops: 7\nlog-level: debug\ndata-dir: /file\n",
    );
    const environment = { HARMONYDB_NAME: "from-env", HARMONYDB_MAX_TXN_OPS: "8" };
    const { config, origins } = resolve({ configFile, name: "from-flag" }, environment);
    expect([config.name, origins.name]).toEqual(["from-flag", "flag"]);
    expect([config.maxTxnOps, origins.maxTxnOps]).toEqual([8, "environment"]);
    expect([config.logLevel, origins.logLevel]).toEqual(["debug", "file"]);
    expect([config.logFormat, origins.logFormat]).toEqual(["json", "default"]);
  });

  it("reads every option alike from flag, environment and file", () => {
    const samples: Partial<Record<OptionName, string>> = {
      initialCluster: "default=http://localhost:2380",
      insecure: "true",
    };
    for (const name of OPTION_NAMES) {
      if (name === "configFile") continue;
      const { flag, fallback } = OPTIONS[name];
      const text = samples[name] ?? fallback;
      const expected = resolve({ [name]: text }).config[name];
      const configFile = file("alike.yaml", `${flag}: ${JSON.stringify(text)}\n`);
      expect(resolve({}, { [environmentName(flag)]: text }).config[name], flag).toEqual(expected);
      expect(resolve({ configFile }).config[name], flag).toEqual(expected);
    }
  });

  it("finds the file through the environment too", () => {
    const path = file("by-env.yaml", "name: here\n");
    expect(resolve({}, { HARMONYDB_CONFIG_FILE: path }).config.name).toBe("here");
  });

  it("treats an empty variable as absent", () => {
    expect(resolve({}, { HARMONYDB_NAME: "" }).origins.name).toBe("default");
  });

  it("takes numbers, sizes, durations, lists and switches in the file", () => {
    const found = parseConfig(
      "checkpoint-interval: 10s\nmax-txn-ops: 0o17\nquota-backend-bytes: 8GiB\ninsecure: true\nlisten-client-urls:\n  - http://a:1\n  - http://b:2\n",
      "f.yaml",
    );
    expect(found.get("checkpointIntervalMs")?.text).toBe("10s");
    expect(found.get("quotaBackendBytes")?.text).toBe("8GiB");
    expect(found.get("insecure")?.text).toBe("true");
    expect(found.get("listenClientUrls")?.text).toBe("http://a:1,http://b:2");
    expect(found.get("listenClientUrls")?.where).toBe("f.yaml:5");
  });

  it("accepts an empty file", () => {
    expect(parseConfig("# nothing here\n", "f.yaml").size).toBe(0);
  });

  it("refuses an unknown key with file, line and the likely word", () => {
    expect(problemsOf(() => parseConfig("name: a\n\ndata-dri: /x\n", "f.yaml"))).toEqual([
      'f.yaml:3: unknown option "data-dri"; did you mean "data-dir"?',
    ]);
  });

  it("refuses a known option of later versions in file, environment and nowhere in silence", () => {
    expect(problemsOf(() => parseConfig("cert-file: c.pem\n", "f.yaml"))).toEqual([
      "f.yaml:1: cert-file is not available in this version",
    ]);
    expect(problemsOf(() => resolve({}, { HARMONYDB_PEER_CERT_FILE: "c.pem" }))).toEqual([
      "environment HARMONYDB_PEER_CERT_FILE: this option is not available in this version",
    ]);
  });

  it.each([
    ["a key twice", "name: a\nname: b\n", "f.yaml:2: Map keys must be unique"],
    ["a list at the top", "- name\n", "f.yaml:1: the file must be a mapping"],
    ["a mapping as a value", "name:\n  first: a\n", "f.yaml:1: name: must be one value"],
    ["broken YAML", "name: [a\n", "f.yaml:"],
    ["tabs as indentation", "name:\n\t- a\n", "f.yaml:2"],
    ["__proto__ as a key", "__proto__: {a: 1}\n", 'f.yaml:1: unknown option "__proto__"'],
  ])("refuses %s with file and line", (_what, source, start) => {
    expect(problemsOf(() => parseConfig(source, "f.yaml"))[0]).toContain(start);
  });

  it("names the place of a wrong value, wherever it stands", () => {
    const configFile = file("wrong.yaml", "\nmax-txn-ops: many\n");
    expect(
      problemsOf(() =>
        resolve({ configFile, checkpointIntervalMs: "soon" }, { HARMONYDB_INSECURE: "maybe" }),
      ),
    ).toEqual([
      'environment HARMONYDB_INSECURE: insecure: "maybe" is neither true nor false',
      '--checkpoint-interval: "soon" is not a duration: write a whole number of milliseconds, or a form like 100ms, 5s, 5m, 1h30m',
      `${configFile}:2: max-txn-ops: "many" is not a whole number`,
    ]);
  });

  it("says path and reason when the file cannot be read", () => {
    expect(problemsOf(() => resolve({ configFile: join(directory, "missing.yaml") }))[0]).toMatch(
      /missing\.yaml cannot be read: ENOENT/,
    );
    expect(problemsOf(() => resolve({ configFile: directory }))[0]).toMatch(/it is not a file/);
    const binary = file("binary.yaml", new Uint8Array([0xff, 0xfe, 0x00]));
    expect(problemsOf(() => resolve({ configFile: binary }))[0]).toMatch(/it is not UTF-8 text/);
    const endless = file("endless.yaml", "#".repeat(1024 * 1024 + 1));
    expect(problemsOf(() => resolve({ configFile: endless }))[0]).toMatch(
      /more than a configuration has/,
    );
  });

  it("warns of unknown variables with our prefix and leaves others alone", () => {
    const { warnings } = resolve(
      {},
      { HARMONYDB_DATA_DRI: "x", HARMONYDB_ENDPOINTS: "y", PATH: "z" },
    );
    expect(warnings).toEqual([
      "unknown environment variable HARMONYDB_DATA_DRI is ignored; did you mean HARMONYDB_DATA_DIR?",
    ]);
  });

  it("listens only on this machine unless --insecure is said", () => {
    expect(
      problemsOf(() => resolve({ listenClientUrls: "http://127.0.0.1:1,http://0.0.0.0:2379" })),
    ).toEqual([
      expect.stringMatching(
        /^--listen-client-urls http:\/\/0\.0\.0\.0:2379: others than this machine could reach it.*--insecure/,
      ),
    ]);
    expect(problemsOf(() => resolve({ listenClientUrls: "http://[::]:2379" }))).toHaveLength(1);
    expect(
      problemsOf(() => resolve({ listenClientUrls: "http://db.example.com:2379" })),
    ).toHaveLength(1);
    expect(
      resolve({ listenClientUrls: "http://0.0.0.0:2379", insecure: "true" }).config.insecure,
    ).toBe(true);
    expect(
      problemsOf(() => resolve({ listenClientUrls: "http://[::1]:1,http://localhost:1" })),
    ).toEqual([]);
  });

  it("refuses an election timeout below five heartbeats", () => {
    expect(problemsOf(() => resolve({ heartbeatIntervalMs: "300" }))).toEqual([
      "--election-timeout 1000ms must be at least five times --heartbeat-interval 300ms",
    ]);
  });

  it("refuses a segment that is not made of whole sectors", () => {
    expect(problemsOf(() => resolve({ walSegmentBytes: "1048577" }))).toEqual([
      "--wal-segment-bytes 1048577 must be a multiple of 512",
    ]);
  });

  it("takes a mode of durability from flag, environment and file, within its bounds, and one at a time", () => {
    const configFile = file("modes.yaml", "fsync-interval-ms: 100\n");
    const modes = ({ config }: ResolvedConfig): unknown => [
      config.fsyncIntervalMs,
      config.disablePersistence,
    ];
    expect(modes(resolve())).toEqual([0, false]);
    expect(modes(resolve({ configFile }))).toEqual([100, false]);
    expect(modes(resolve({ configFile }, { HARMONYDB_FSYNC_INTERVAL_MS: "1000" }))).toEqual([
      1000,
      false,
    ]);
    expect(modes(resolve({}, { HARMONYDB_DISABLE_PERSISTENCE: "true" }))).toEqual([0, true]);
    expect(problemsOf(() => resolve({ fsyncIntervalMs: "1001" }))[0]).toContain(
      "--fsync-interval-ms",
    );
    expect(problemsOf(() => resolve({ configFile, disablePersistence: "true" }))[0]).toContain(
      "leave one of them out",
    );
  });

  it("takes a cluster of this member alone, and refuses one that is not its own", () => {
    const peers = "http://localhost:2380";
    expect(problemsOf(() => resolve({ name: "n1", initialCluster: `n1=${peers}` }))).toEqual([]);
    expect(problemsOf(() => resolve({ name: "n1", initialCluster: `n2=${peers}` }))[0]).toMatch(
      /names "n2" but --name is "n1"/,
    );
    expect(problemsOf(() => resolve({ initialCluster: "default=http://other:1" }))[0]).toMatch(
      /--initial-advertise-peer-urls gives/,
    );
    expect(problemsOf(() => resolve({ initialCluster: "nonsense" }))[0]).toMatch(
      /is not of the form/,
    );
    expect(problemsOf(() => resolve({ initialClusterState: "existing" }))[0]).toMatch(
      /--initial-cluster names the members that there are/,
    );
  });

  describe("the first members of a cluster", () => {
    const good = {
      name: "n1",
      initialAdvertisePeerUrls: "http://a:2380",
      initialCluster: "n1=http://a:2380,n2=http://b:2380,n3=http://c:2380",
    };

    it("are taken as etcd writes them", () => {
      const { config } = resolve(good);
      expect(initialMembers(config)).toEqual([
        { name: "n1", peerUrls: ["http://a:2380"] },
        { name: "n2", peerUrls: ["http://b:2380"] },
        { name: "n3", peerUrls: ["http://c:2380"] },
      ]);
      const alone = resolve({ initialCluster: "default=http://localhost:2380" }).config;
      expect(initialMembers(alone)).toEqual([]);
    });

    const with_ = (cluster: string): Partial<typeof good> => ({ initialCluster: cluster });
    it.each([
      ["a name twice", with_(`${good.initialCluster},n2=http://d:2380`), /names n2 2 times/],
      ["a URL twice", with_("n1=http://a:2380,n2=http://a:2380"), /to n1 and to n2: each/],
      ["this member missing", { name: "n9" }, /none of them is --name "n9"/],
      [
        "other URLs than this member has",
        { initialAdvertisePeerUrls: "http://x:1" },
        /gives n1 the URLs http:\/\/a:2380/,
      ],
      ["a part without a name", with_("n1=http://a:2380,http://b:2380"), /is not of the form/],
      ["a URL that is none", with_("n1=http://a:2380,n2=b"), /"b" is not a URL/],
      ["a port that is none", with_("n1=http://a:2380,n2=http://b:0"), /need the real port/],
      ["TLS", with_("n1=http://a:2380,n2=https://b:2380"), /TLS is not available/],
      ["acknowledgements before the sync", { fsyncIntervalMs: "10" }, /--fsync-interval-ms 10 is/],
      ["nothing on disk", { disablePersistence: "true" }, /--disable-persistence is for a lone/],
      [
        "everybody listened to",
        { listenPeerUrls: "http://0.0.0.0:2380" },
        /--listen-peer-urls http:\/\/0.0.0.0:2380: others than this machine/,
      ],
    ])("are refused with %s", (_what, change, text) => {
      expect(problemsOf(() => resolve({ ...good, ...change })).join("\n")).toMatch(text);
    });

    it("are not listened for everywhere either when the directory is to tell who they are", () => {
      expect(problemsOf(() => resolve({ listenPeerUrls: "http://0.0.0.0:2380" }))[0]).toMatch(
        /--listen-peer-urls http:\/\/0.0.0.0:2380: others than this machine/,
      );
    });

    it("may be listened for everywhere where the network is one's own", () => {
      const open = { listenPeerUrls: "http://0.0.0.0:2380", insecure: "true" };
      expect(problemsOf(() => resolve({ ...good, ...open }))).toEqual([]);
    });
  });

  it("reads the retention by its mode, hours for bare numbers as etcd does", () => {
    const of = (mode: "periodic" | "revision", text: string): unknown =>
      retentionOf({ autoCompactionMode: mode, autoCompactionRetention: text });
    expect(of("periodic", "5m")).toEqual({ mode: "periodic", ms: 300_000 });
    expect(of("periodic", "2")).toEqual({ mode: "periodic", ms: 7_200_000 });
    expect(of("periodic", "0")).toBeNull();
    expect(of("revision", "1000")).toEqual({ mode: "revision", revisions: 1000 });
    expect(of("revision", "0")).toBeNull();
    expect(problemsOf(() => resolve({ autoCompactionMode: "revision" }))[0]).toMatch(
      /auto-compaction-retention: "5m" is not a whole number/,
    );
  });

  it("advertises the listen URLs unless others are given", () => {
    expect(advertisedUrls(resolve().config)).toEqual(["http://127.0.0.1:2379"]);
    expect(advertisedUrls(resolve({ advertiseClientUrls: "http://db:1" }).config)).toEqual([
      "http://db:1",
    ]);
  });
});
