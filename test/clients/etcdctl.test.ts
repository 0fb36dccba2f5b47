/**
 * etcdctl at work on a served node: what it prints is what its users' scripts read. Needs the Debian package
 * etcd-client (3.4); run by `npm run test:clients`.
 */
import { join } from "node:path";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Bench, type ReadyLine } from "../process/harmonydb.ts";
import { until } from "../cluster/cluster.ts";
import { freePort } from "../../src/platform/index.ts";
import { Etcdctl, lastLine } from "./etcdctl.ts";

let bench: Bench;
let ready: ReadyLine;
let etcdctl: Etcdctl;

/** One node for each group of tests, each of which begins with an empty keyspace. */
function serveNode(): void {
  beforeAll(async () => {
    bench = new Bench();
    ready = await bench.serve("--name", "n1").ready();
    etcdctl = new Etcdctl(ready.client[0] as string);
  });
  afterAll(() => bench.close());
  beforeEach(async () => {
    await etcdctl.run("del", "", "--prefix");
  });
}

const lines = (...expected: readonly string[]): string =>
  expected.map((line) => `${line}\n`).join("");

/** What `-w json` shows of keys and values, as text. */
const decoded = (base64: string): string => Buffer.from(base64, "base64").toString();

interface RangeJson {
  readonly header: { readonly revision: number };
  readonly kvs?: readonly {
    readonly key: string;
    readonly value?: string;
    readonly create_revision: number;
    readonly mod_revision: number;
    readonly version: number;
  }[];
  readonly more?: boolean;
  readonly count?: number;
}

/** The numbers and texts of `-w fields`. */
function fields(output: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    [...output.matchAll(/^"(\w+)" : (.*)$/gm)].map(([, name, value]) => [name, value]),
  );
}

async function revision(): Promise<number> {
  return ((await etcdctl.json("get", "nothing")) as RangeJson).header.revision;
}

describe("put and get", () => {
  serveNode();

  it("put, get, and what get says of a key that is not there", async () => {
    expect(await etcdctl.run("put", "a", "1")).toBe("OK\n");
    expect(await etcdctl.run("get", "a")).toBe(lines("a", "1"));
    expect(await etcdctl.run("get", "b")).toBe("");
    expect(await etcdctl.run("get", "a", "--hex")).toBe(lines("\\x61", "\\x31"));
    expect(await etcdctl.run("get", "a", "--print-value-only")).toBe("1\n");
  });

  it("put --prev-kv, --ignore-value, and a value from standard input", async () => {
    await etcdctl.run("put", "a", "1");
    expect(await etcdctl.run("put", "a", "2", "--prev-kv")).toBe(lines("OK", "a", "1"));
    expect(await etcdctl.run("put", "a", "--ignore-value", "--prev-kv")).toBe(
      lines("OK", "a", "2"),
    );
    expect(await etcdctl.feed("from stdin", "put", "a")).toBe("OK\n");
    expect(await etcdctl.run("get", "a")).toBe(lines("a", "from stdin"));
  });

  it("values and keys of any bytes and of a megabyte", async () => {
    const big = "x".repeat(1024 * 1024);
    await etcdctl.feed(big, "put", "big");
    expect(await etcdctl.run("get", "big", "--print-value-only")).toBe(`${big}\n`);
    await etcdctl.run("put", "naïve\t\u{1f600}", "\u{fffd}");
    expect(await etcdctl.run("get", "naïve\t\u{1f600}", "--print-value-only")).toBe("\u{fffd}\n");
  });

  it("--prefix, --from-key, ranges, --limit, --keys-only", async () => {
    for (const key of ["a", "ab", "abc", "b", "c"]) await etcdctl.run("put", key, `v${key}`);
    expect(await etcdctl.run("get", "a", "--prefix")).toBe(
      lines("a", "va", "ab", "vab", "abc", "vabc"),
    );
    expect(await etcdctl.run("get", "abc", "--from-key")).toBe(
      lines("abc", "vabc", "b", "vb", "c", "vc"),
    );
    expect(await etcdctl.run("get", "ab", "c")).toBe(lines("ab", "vab", "abc", "vabc", "b", "vb"));
    expect(await etcdctl.run("get", "", "--prefix", "--keys-only")).toBe(
      lines("a", "", "ab", "", "abc", "", "b", "", "c", ""),
    );
    const limited = (await etcdctl.json("get", "", "--from-key", "--limit", "2")) as RangeJson;
    expect(limited).toMatchObject({ more: true, count: 5 });
    expect(limited.kvs?.map((kv) => decoded(kv.key))).toEqual(["a", "ab"]);
    expect(
      fields(await etcdctl.run("get", "a", "--prefix", "--limit", "1", "-w", "fields")),
    ).toMatchObject({
      Key: '"a"',
      Value: '"va"',
      More: "true",
      Count: "3",
    });
  });

  it("--order and --sort-by, by every target", async () => {
    // Created x y z; modified y x z; versions z 3, x 2, y 1; values 3 2 1.
    for (const [key, value] of ["x0", "y2", "z0", "x3", "z0", "z1"].map(
      (s) => [s[0], s[1]] as [string, string],
    )) {
      await etcdctl.run("put", key, value);
    }
    const order = async (...options: readonly string[]): Promise<string> =>
      (await etcdctl.run("get", "", "--prefix", "--keys-only", ...options)).replaceAll("\n", "");
    expect(await order("--order", "DESCEND")).toBe("zyx");
    expect(await order("--sort-by", "KEY")).toBe("xyz");
    expect(await order("--sort-by", "CREATE", "--order", "DESCEND")).toBe("zyx");
    expect(await order("--sort-by", "MODIFY")).toBe("yxz");
    expect(await order("--sort-by", "VERSION")).toBe("yxz");
    expect(await order("--sort-by", "VERSION", "--order", "DESCEND")).toBe("zxy");
    expect(await order("--sort-by", "VALUE", "--order", "ASCEND")).toBe("zyx");
  });

  it("--rev reads the past, --consistency s reads locally", async () => {
    await etcdctl.run("put", "a", "old");
    const then = await revision();
    await etcdctl.run("put", "a", "new");
    await etcdctl.run("del", "a");
    expect(await etcdctl.run("get", "a", "--rev", String(then))).toBe(lines("a", "old"));
    expect(await etcdctl.run("get", "a", "--rev", String(then + 1))).toBe(lines("a", "new"));
    expect(await etcdctl.run("get", "a")).toBe("");
    await etcdctl.run("put", "a", "again");
    expect(await etcdctl.run("get", "a", "--consistency", "s")).toBe(lines("a", "again"));
    expect(await etcdctl.run("get", "a", "--consistency", "l")).toBe(lines("a", "again"));
  });

  it("-w json shows revisions and versions", async () => {
    const before = await revision();
    await etcdctl.run("put", "a", "1");
    await etcdctl.run("put", "a", "2");
    const { header, kvs, count } = (await etcdctl.json("get", "a")) as RangeJson;
    expect(header.revision).toBe(before + 2);
    expect(count).toBe(1);
    expect(kvs).toEqual([
      {
        key: "YQ==",
        value: "Mg==",
        create_revision: before + 1,
        mod_revision: before + 2,
        version: 2,
      },
    ]);
  });
});

describe("del", () => {
  serveNode();

  it("one key, --prev-kv, --prefix, --from-key, ranges", async () => {
    for (const key of ["a", "aa", "ab", "b", "c", "d"]) await etcdctl.run("put", key, `v${key}`);
    expect(await etcdctl.run("del", "nope")).toBe("0\n");
    expect(await etcdctl.run("del", "b")).toBe("1\n");
    expect(await etcdctl.run("del", "a", "--prefix", "--prev-kv")).toBe(
      lines("3", "a", "va", "aa", "vaa", "ab", "vab"),
    );
    expect(await etcdctl.run("del", "d", "--from-key")).toBe("1\n");
    expect(await etcdctl.run("del", "a", "z")).toBe("1\n");
    expect(await etcdctl.run("get", "", "--prefix")).toBe("");
  });
});

describe("txn", () => {
  serveNode();

  it("from standard input: compares, then, else", async () => {
    await etcdctl.run("put", "a", "1");
    await etcdctl.run("put", "b", "x");
    const guarded =
      'value("a") = "1"\nmod("none") = "0"\nversion("b") > "0"\n\nput a 2\nget a\ndel b\n\nget a\n\n';
    expect(await etcdctl.feed(guarded, "txn")).toBe("SUCCESS\n\nOK\n\na\n2\n\n1\n");
    expect(await etcdctl.feed(guarded, "txn")).toBe("FAILURE\n\na\n2\n");
    expect(await etcdctl.run("get", "b")).toBe("");
  });

  it("--interactive prompts for each part", async () => {
    await etcdctl.run("put", "a", "1");
    const answer = await etcdctl.feed(
      'create("a") = "0"\n\nput a 2\n\nget a\n\n',
      "txn",
      "--interactive",
    );
    expect(answer).toBe(
      "compares:\nsuccess requests (get, put, del):\nfailure requests (get, put, del):\nFAILURE\n\na\n1\n",
    );
  });

  it("all of it is one revision", async () => {
    const before = await revision();
    await etcdctl.feed("\nput a 1\nput b 2\ndel c\n\n\n", "txn");
    expect(await revision()).toBe(before + 1);
    const { kvs } = (await etcdctl.json("get", "", "--prefix")) as RangeJson;
    expect(kvs?.map((kv) => kv.mod_revision)).toEqual([before + 1, before + 1]);
  });

  it("a refused transaction writes nothing", async () => {
    const twice = await etcdctl.try(["txn"], "\nput a 1\nput a 2\n\n\n");
    expect(lastLine(twice)).toBe("Error: etcdserver: duplicate key given in txn request");
    const many = Array.from({ length: 129 }, (_, i) => `put k${i} v\n`).join("");
    const tooMany = await etcdctl.try(["txn"], `\n${many}\n\n`);
    expect(lastLine(tooMany)).toBe("Error: etcdserver: too many operations in txn request");
    expect(await etcdctl.run("get", "", "--prefix")).toBe("");
  });
});

describe("compaction and errors", () => {
  serveNode();

  it("compaction takes the past away, up to the revision itself", async () => {
    await etcdctl.run("put", "a", "1");
    const first = await revision();
    await etcdctl.run("put", "a", "2");
    await etcdctl.run("put", "a", "3");
    expect(await etcdctl.run("compaction", String(first + 1))).toBe(
      `compacted revision ${first + 1}\n`,
    );
    expect(await etcdctl.run("get", "a", "--rev", String(first + 1))).toBe(lines("a", "2"));
    const compacted = "Error: etcdserver: mvcc: required revision has been compacted";
    expect(await etcdctl.fail("get", "a", "--rev", String(first))).toBe(compacted);
    expect(await etcdctl.fail("compaction", String(first))).toBe(compacted);
    expect(await etcdctl.run("compaction", String(first + 2), "--physical")).toBe(
      `compacted revision ${first + 2}\n`,
    );
    expect(await etcdctl.run("get", "a")).toBe(lines("a", "3"));
    expect(await etcdctl.fail("compaction", "1000000")).toBe(
      "Error: etcdserver: mvcc: required revision is a future revision",
    );
  });

  it.each([
    ["an empty key", ["put", "", "v"], "Error: etcdserver: key is not provided"],
    [
      "a revision that is not yet",
      ["get", "a", "--rev", "1000000"],
      "Error: etcdserver: mvcc: required revision is a future revision",
    ],
    [
      "a lease that is not",
      ["put", "a", "v", "--lease", "1234"],
      "Error: etcdserver: requested lease not found",
    ],
    [
      "no key to keep the value of",
      ["put", "nope", "--ignore-value"],
      "Error: etcdserver: key not found",
    ],
    [
      "a key of 5000 bytes",
      ["put", "k".repeat(5000), "v"],
      "Error: rpc error: code = InvalidArgument desc = harmonydb: key is too large",
    ],
  ])("%s", async (_what, args, message) => {
    const result = await etcdctl.try(args);
    expect([result.exit, lastLine(result)]).toEqual([1, message]);
  });

  it("a value of 1.5 MiB is too large, by the client's own words from 2 MiB on", async () => {
    const tooLarge = await etcdctl.try(["put", "big"], "x".repeat(1536 * 1024));
    expect(lastLine(tooLarge)).toBe("Error: etcdserver: request is too large");
    const huge = await etcdctl.try(["put", "big"], "x".repeat(3 * 1024 * 1024));
    expect(lastLine(huge)).toContain("larger than max");
    expect(await etcdctl.run("get", "big")).toBe("");
  });

  it("what is not served yet says so", async () => {
    expect(await etcdctl.fail("user", "list")).toContain("code = Unimplemented");
    expect(await etcdctl.fail("defrag")).toContain("code = Unimplemented");
  });
});

describe("endpoint and member", () => {
  serveNode();

  it("endpoint health writes a proposal's worth of good news", async () => {
    const { exit, err } = await etcdctl.try(["endpoint", "health"]);
    expect(exit).toBe(0);
    expect(err).toContain(`${etcdctl.endpoint} is healthy: successfully committed proposal`);
    expect(await etcdctl.json("endpoint", "health")).toMatchObject([
      { endpoint: etcdctl.endpoint, health: true },
    ]);
    expect(await etcdctl.run("alarm", "list")).toBe("");
  });

  it("alarm list shows what is raised, and alarm disarm clears it", async () => {
    const client = new Client(
      (ready.client[0] as string).replace("http://", ""),
      credentials.createInsecure(),
    );
    // etcdctl itself raises none: activate (1) for member 7 CORRUPT (2), for member 7 NOSPACE (1).
    for (const kind of [2, 1])
      await new Promise<void>((resolve, reject) => {
        client.makeUnaryRequest(
          "/etcdserverpb.Maintenance/Alarm",
          (bytes: Uint8Array) => Buffer.from(bytes),
          (bytes: Buffer) => bytes,
          Uint8Array.of(0x08, 1, 0x10, 7, 0x18, kind),
          (error: ServiceError | null) => (error === null ? resolve() : reject(error)),
        );
      });
    client.close();
    const raised = "memberID:7 alarm:NOSPACE \nmemberID:7 alarm:CORRUPT \n";
    expect(await etcdctl.run("alarm", "list")).toBe(raised);
    expect(lastLine(await etcdctl.try(["put", "no", "room"]))).toBe(
      "Error: etcdserver: mvcc: database space exceeded",
    );
    expect(await etcdctl.run("alarm", "disarm")).toBe(raised);
    expect(await etcdctl.run("alarm", "list")).toBe("");
    expect(await etcdctl.run("put", "room", "again")).toBe("OK\n");
  });

  it("takes whole URLs as endpoints, which this etcdctl then sends as the authority", async () => {
    const byUrl = new Etcdctl(ready.client[0] as string, "url");
    expect(byUrl.endpoint).toMatch(/^http:\/\//);
    expect(await byUrl.run("endpoint", "status")).toContain(byUrl.endpoint);
    expect((await byUrl.try(["endpoint", "health"])).err).toContain(`${byUrl.endpoint} is healthy`);
    expect(await byUrl.run("put", "by", "url")).toBe("OK\n");
    expect(await byUrl.run("get", "by")).toBe(lines("by", "url"));
  });

  it("endpoint status as json and as a table", async () => {
    const [answer] = (await etcdctl.json("endpoint", "status")) as {
      readonly Endpoint: string;
      readonly Status: Readonly<Record<string, unknown>> & {
        readonly header: Readonly<Record<string, number>>;
      };
    }[];
    expect(answer?.Endpoint).toBe(etcdctl.endpoint);
    const status = answer?.Status;
    expect(status).toMatchObject({ version: expect.stringMatching(/^3\.6\.\d+$/) as string });
    expect(status?.["leader"]).toBe(status?.header["member_id"]);
    for (const field of ["dbSize", "raftIndex", "raftTerm", "raftAppliedIndex"]) {
      expect(status?.[field], field).toBeGreaterThan(0);
    }
    expect(status?.["errors"]).toBeUndefined();
    const table = await etcdctl.run("endpoint", "status", "-w", "table");
    expect(table).toContain("| IS LEADER |");
    expect(table).toMatch(
      new RegExp(
        `\\| ${etcdctl.endpoint} \\| +[0-9a-f]+ \\| +3\\.6\\.\\d+ \\| .* \\| +true \\| +false \\|`,
      ),
    );
  });

  it("member list", async () => {
    const list = await etcdctl.run("member", "list");
    expect(list).toMatch(/^[0-9a-f]+, started, n1, http:\/\/\S+, http:\/\/\S+, false\n$/);
    const { header, members } = (await etcdctl.json("member", "list")) as {
      readonly header: Readonly<Record<string, number>>;
      readonly members: readonly {
        readonly ID: number;
        readonly name: string;
        readonly clientURLs: readonly string[];
      }[];
    };
    expect(members).toHaveLength(1);
    expect(members[0]).toMatchObject({ ID: header["member_id"], name: "n1" });
    expect(await etcdctl.run("member", "list", "-w", "table")).toContain("CLIENT ADDRS");
  });
});

describe("member and move-leader on a node that is alone", () => {
  beforeAll(async () => {
    bench = new Bench();
    ready = await bench.serve("--name", "n1", "--listen-peer-urls", "http://127.0.0.1:0").ready();
    etcdctl = new Etcdctl(ready.client[0] as string);
  });
  afterAll(() => bench.close());

  const last = async (...args: readonly string[]): Promise<string> =>
    (await etcdctl.fail(...args)).replace(/^.*?desc = |^Error: /, "");
  const add = (port: number): readonly string[] => [
    "member",
    "add",
    "n2",
    `--peer-urls=http://127.0.0.1:${port}`,
  ];

  it("says etcd's words for members that are unknown", async () => {
    for (const args of [
      ["member", "remove", "3039"],
      ["member", "update", "3039", "--peer-urls=http://127.0.0.1:9"],
      ["member", "promote", "3039"],
    ])
      expect([args, await last(...args)]).toEqual([args, "etcdserver: member not found"]);
    // This one etcdctl lets through: TLS between members is not available.
    expect(await last("member", "add", "n2", "--peer-urls=https://127.0.0.1:9")).toBe(
      "etcdserver: given member URLs are invalid",
    );
    expect(await last("move-leader", "3039")).toBe("etcdserver: bad leader transferee");
  });

  it("adds a learner, one at a time, and takes it back; what has not started is not promoted", async () => {
    const added = await etcdctl.run(...add(9), "--learner");
    expect(added).toMatch(/^Member +([0-9a-f]+) added to cluster +([0-9a-f]+)\n/);
    expect(added).toContain('ETCD_INITIAL_CLUSTER_STATE="existing"');
    const id = /^Member +([0-9a-f]+)/.exec(added)?.[1] as string;
    const list = await etcdctl.run("member", "list");
    expect(list).toContain(`${id}, unstarted, , http://127.0.0.1:9, , true\n`);
    expect(await last(...add(10), "--learner")).toBe(
      "etcdserver: too many learner members in cluster",
    );
    expect(await last(...add(9))).toBe("etcdserver: Peer URLs already exists");
    expect(await last("member", "promote", id)).toBe(
      "etcdserver: can only promote a learner member which is in sync with leader",
    );
    expect(await etcdctl.run("member", "update", id, "--peer-urls=http://127.0.0.1:11")).toMatch(
      new RegExp(`^Member *${id} updated in cluster`),
    );
    expect(await etcdctl.run("member", "remove", id)).toMatch(
      new RegExp(`^Member *${id} removed from cluster`),
    );
    expect((await etcdctl.run("member", "list")).split("\n").length).toBe(2);
    expect(await last("member", "remove", id)).toBe("etcdserver: member not found");
    // The node serves on.
    expect(await etcdctl.run("put", "k", "v")).toBe("OK\n");
  });

  it("refuses to remove the only member, and to promote one that votes", async () => {
    const list = await etcdctl.run("member", "list");
    expect(list.split("\n").length).toBe(2);
    const [id = ""] = list.split(",");
    expect(await last("member", "remove", id)).toBe(
      "etcdserver: re-configuration failed due to not enough started members",
    );
    expect(await last("member", "promote", id)).toBe(
      "etcdserver: can only promote a learner member",
    );
    expect(await etcdctl.run("move-leader", id)).toContain("Leadership transferred from");
  });
});

describe("member and move-leader with a second node", { timeout: 60_000 }, () => {
  let other: Bench;
  beforeAll(async () => {
    bench = new Bench();
    other = new Bench();
    ready = await bench.serve("--name", "n1", "--listen-peer-urls", "http://127.0.0.1:0").ready();
    etcdctl = new Etcdctl(ready.client[0] as string);
  });
  afterAll(async () => {
    await bench.close();
    await other.close();
  });

  it("a learner joins, is promoted, leads when it is asked to, and goes again", async () => {
    await etcdctl.run("put", "k", "v");
    const port = await freePort();
    const peerUrl = `http://127.0.0.1:${port}`;
    const added = await etcdctl.run("member", "add", "n2", `--peer-urls=${peerUrl}`, "--learner");
    const [, id = ""] = /^Member +([0-9a-f]+) added/.exec(added) ?? [];
    const [, cluster = ""] = /ETCD_INITIAL_CLUSTER="([^"]+)"/.exec(added) ?? [];
    const { client } = await other
      .serve(
        "--name=n2",
        "--initial-cluster-state=existing",
        `--initial-cluster=${cluster}`,
        `--listen-peer-urls=${peerUrl}`,
      )
      .ready();
    const second = new Etcdctl(client[0] as string);
    expect(await second.run("get", "k")).toBe(lines("k", "v"));
    const promoted = await until("a promotion", async () => {
      const { exit, out, err } = await etcdctl.try(["member", "promote", id]);
      if (exit !== 0) throw new Error(err);
      return out;
    });
    expect(promoted).toMatch(new RegExp(`^Member +${id} promoted in cluster`));
    expect(await second.run("member", "list")).toContain(`${id}, started, n2, ${peerUrl}, `);
    expect(await etcdctl.run("move-leader", id)).toMatch(/^Leadership transferred from/);
    // Only who leads hands over, and now that is the other one.
    expect(await etcdctl.fail("move-leader", id)).toContain("no leader endpoint given");
    // It goes although it leads: the first one is alone again, and serves.
    expect(await second.run("member", "remove", id)).toMatch(
      new RegExp(`^Member +${id} removed from cluster`),
    );
    await until("a write of the first one", () => etcdctl.run("put", "k", "w"));
    expect((await etcdctl.run("member", "list")).split("\n").length).toBe(2);
  });
});

describe("lease", () => {
  serveNode();

  it("grant, timetolive, list, keep-alive --once, revoke", async () => {
    const granted = await etcdctl.run("lease", "grant", "100");
    const id = /^lease ([0-9a-f]{16}) granted with TTL\(100s\)\n$/.exec(granted)?.[1] as string;
    expect(id).toBeDefined();
    expect(await etcdctl.run("put", "a", "1", "--lease", id)).toBe("OK\n");
    expect(await etcdctl.run("lease", "list")).toBe(`found 1 leases\n${id}\n`);
    expect(await etcdctl.run("lease", "timetolive", id, "--keys")).toMatch(
      new RegExp(
        `^lease ${id} granted with TTL\\(100s\\), remaining\\((9\\d|100)s\\), attached keys\\(\\[a\\]\\)\n$`,
      ),
    );
    expect(await etcdctl.run("lease", "keep-alive", "--once", id)).toBe(
      `lease ${id} keepalived with TTL(100)\n`,
    );
    expect(await etcdctl.run("lease", "revoke", id)).toBe(`lease ${id} revoked\n`);
    expect(await etcdctl.run("get", "a")).toBe("");
    expect(await etcdctl.run("lease", "timetolive", id)).toBe(`lease ${id} already expired\n`);
    expect(await etcdctl.fail("lease", "keep-alive", "--once", id)).toBe(
      "Error: etcdserver: requested lease not found",
    );
    expect(await etcdctl.fail("lease", "revoke", id)).toBe(
      "Error: failed to revoke lease (etcdserver: requested lease not found)",
    );
  });
});

describe("watch", () => {
  serveNode();

  it("tells puts and deletes of a key, with what was there before, as text and as json", async () => {
    const from = (await revision()) + 1;
    const plain = etcdctl.start("watch", "a", `--rev=${from}`);
    const prev = etcdctl.start("watch", "a", `--rev=${from}`, "--prev-kv");
    const json = etcdctl.start("watch", "a", `--rev=${from}`, "-w", "json");
    await etcdctl.run("put", "a", "1");
    await etcdctl.run("put", "b", "other");
    await etcdctl.run("put", "a", "2");
    await etcdctl.run("del", "a");
    expect(await plain.lines(9)).toBe(lines("PUT", "a", "1", "PUT", "a", "2", "DELETE", "a", ""));
    expect(await prev.lines(13)).toBe(
      lines("PUT", "a", "1", "PUT", "a", "1", "a", "2", "DELETE", "a", "2", "a", ""),
    );
    await json.lines(1);
    const first = JSON.parse(json.out.split("\n")[0] as string) as {
      readonly Events: readonly { readonly kv: { readonly mod_revision: number } }[];
    };
    expect(first.Events[0]?.kv.mod_revision).toBe(from);
    await Promise.all([plain.stop(), prev.stop(), json.stop()]);
  });

  it("of a prefix and of a range, from the past on, and a transaction as a whole", async () => {
    const from = (await revision()) + 1;
    await etcdctl.feed('\nput p/1 "x"\nput q "y"\nput p/2 "z"\n\n\n', "txn");
    const prefix = etcdctl.start("watch", "p/", "--prefix", `--rev=${from}`);
    const range = etcdctl.start("watch", "p/2", "r", `--rev=${from}`);
    await etcdctl.run("del", "p/", "--prefix");
    expect(await prefix.lines(12)).toBe(
      lines("PUT", "p/1", "x", "PUT", "p/2", "z", "DELETE", "p/1", "", "DELETE", "p/2", ""),
    );
    expect(await range.lines(9)).toBe(
      lines("PUT", "q", "y", "PUT", "p/2", "z", "DELETE", "p/2", ""),
    );
    await Promise.all([prefix.stop(), range.stop()]);
  });

  it("--interactive: several watches on one stream, and progress", async () => {
    const from = (await revision()) + 1;
    const watch = etcdctl.start("watch", "--interactive");
    watch.write(`watch i --rev=${from}`);
    watch.write(`watch j --rev=${from}`);
    await etcdctl.run("put", "i", "1");
    await watch.lines(3);
    await etcdctl.run("put", "j", "2");
    expect(await watch.lines(6)).toBe(lines("PUT", "i", "1", "PUT", "j", "2"));
    watch.write("progress");
    await watch.lines(7);
    expect(watch.out).toContain(`progress notify: ${from + 1}`);
    await watch.stop();
  });

  it("sees the end of a lease as the delete of its keys", async () => {
    const from = (await revision()) + 1;
    const watch = etcdctl.start("watch", "l", "--prefix", `--rev=${from}`);
    const granted = await etcdctl.run("lease", "grant", "2");
    const id = /lease (\w+) granted/.exec(granted)?.[1] as string;
    await etcdctl.run("put", "l/1", "x", `--lease=${id}`);
    await etcdctl.run("put", "l/2", "y", `--lease=${id}`);
    expect(await watch.lines(12)).toBe(
      lines("PUT", "l/1", "x", "PUT", "l/2", "y", "DELETE", "l/1", "", "DELETE", "l/2", ""),
    );
    await watch.stop();
  });

  it("of what has been compacted ends with etcd's words", async () => {
    for (const value of ["1", "2", "3"]) await etcdctl.run("put", "c", value);
    const now = await revision();
    await etcdctl.run("compaction", `${now}`);
    const { exit, err } = await etcdctl.start("watch", "c", `--rev=${now - 1}`).end();
    expect(err).toContain(
      "watch was canceled (etcdserver: mvcc: required revision has been compacted)",
    );
    expect(exit).not.toBe(0);
    const at = etcdctl.start("watch", "c", `--rev=${now}`);
    expect(await at.lines(3)).toBe(lines("PUT", "c", "3"));
    await at.stop();
  });
});

describe("kill -9", () => {
  it(
    "ten thousand keys, written in transactions of a hundred, are there afterwards",
    { timeout: 60_000 },
    async () => {
      const own = new Bench();
      try {
        const first = own.serve();
        const before = new Etcdctl((await first.ready()).client[0] as string);
        const transactions = Array.from({ length: 100 }, (_, t) => t);
        // Some at a time: what is measured is not etcdctl's start.
        const next = async (): Promise<void> => {
          for (let t = transactions.pop(); t !== undefined; t = transactions.pop()) {
            const puts = Array.from(
              { length: 100 },
              (_, i) => `put key-${t}-${i} value-${t}-${i}\n`,
            ).join("");
            expect(await before.feed(`\n${puts}\n\n`, "txn")).toMatch(/^SUCCESS\n/);
          }
        };
        await Promise.all([next(), next(), next(), next()]);
        await first.kill("SIGKILL");
        const after = new Etcdctl((await own.serve().ready()).client[0] as string);
        const { count, header } = (await after.json(
          "get",
          "key-",
          "--prefix",
          "--limit",
          "1",
        )) as RangeJson;
        expect(count).toBe(10_000);
        expect(header.revision).toBe(101);
        expect(await after.run("get", "key-37-59")).toBe(lines("key-37-59", "value-37-59"));
        const all = await after.run("get", "key-", "--prefix");
        for (let t = 0; t < 100; t++) expect(all).toContain(`key-${t}-99\nvalue-${t}-99\n`);
      } finally {
        await own.close();
      }
    },
  );
});

describe("snapshot save", () => {
  serveNode();

  it("writes a file that harmonydb restores", async () => {
    for (let i = 0; i < 50; i++) await etcdctl.run("put", `s${i}`, `${i}`);
    const file = join(bench.root, "by-etcdctl.snap");
    await etcdctl.run("snapshot", "save", file);
    const { exit, out } = await bench.run("snapshot", "status", file, "-w", "json").ended;
    expect(exit).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ keys: 50 });
  });
});
