/** What the commands say and understand, without a node. */
import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { etcd } from "../../codec/messages/index.ts";
import { completionScript } from "./completion.ts";
import { endpointsOf, leaseId, leaseText, parseEndpoint } from "./flags.ts";
import { Histogram } from "./histogram.ts";
import { addClientCommands } from "./index.ts";
import { fieldsText, jsonText, table, tableText } from "./output.ts";
import { Progress } from "./progress.ts";
import { prefixEnd, rangeOf } from "./ranges.ts";
import { parseTxn, splitWords } from "./txn.ts";

const RESPONSE: etcd.RangeResponse = {
  header: { cluster_id: 2n ** 64n - 1n, member_id: 7n, revision: 5n, raft_term: 2n },
  kvs: [
    {
      key: Buffer.from("k"),
      create_revision: 2n,
      mod_revision: 5n,
      version: 3n,
      value: Buffer.from("\u001b[2J"),
      lease: 0n,
    },
  ],
  more: false,
  count: 1n,
};

describe("an answer", () => {
  it("is JSON as etcdctl writes it, with numbers of 64 bits whole", () => {
    expect(jsonText(RESPONSE, false)).toBe(
      '{"header":{"cluster_id":18446744073709551615,"member_id":7,"revision":5,"raft_term":2},' +
        '"kvs":[{"key":"aw==","create_revision":2,"mod_revision":5,"version":3,"value":"G1sySg=="}],"count":1}',
    );
    expect(jsonText(RESPONSE, true)).toContain('"value":"1b5b324a"');
  });

  it("never moves the cursor of who reads fields or a table", () => {
    // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
    const control = /[\u0000-\u0009\u000b-\u001f]/;
    expect(fieldsText(RESPONSE, false)).not.toMatch(control);
    expect(tableText(RESPONSE, false)).not.toMatch(control);
    expect(fieldsText(RESPONSE, false)).toContain('"ClusterID" : 18446744073709551615\n');
    expect(fieldsText(RESPONSE, false)).toContain('"CreateRevision" : 2\n');
  });

  it("of an answer without anything but a header is a table of the header", () => {
    const header = { cluster_id: 1n, member_id: 2n, revision: 3n, raft_term: 4n };
    expect(tableText({ header, prev_kv: undefined }, false)).toContain(
      "| CLUSTER ID | MEMBER ID | REVISION | RAFT TERM |\n",
    );
    expect(tableText({ header, deleted: 1n, prev_kvs: [] }, false)).toContain("| DELETED |\n");
  });

  it("is a table whose columns line up", () => {
    expect(
      table(
        ["A", "LONG"],
        [
          ["wide cell", "x"],
          ["", ""],
        ],
      ),
    ).toBe(
      `+-----------+------+
| A         | LONG |
+-----------+------+
| wide cell | x    |
|           |      |
+-----------+------+
`,
    );
  });
});

describe("a range", () => {
  it("of a prefix holds exactly the keys that begin with it", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 4 }),
        fc.uint8Array({ maxLength: 6 }),
        (prefix, key) => {
          const given = Buffer.from(prefix);
          const end = prefixEnd(given);
          expect(given).toEqual(Buffer.from(prefix));
          const isBelow = end.length === 1 && end[0] === 0 ? true : Buffer.compare(key, end) < 0;
          const isIn = Buffer.compare(key, prefix) >= 0 && isBelow;
          expect(isIn).toBe(Buffer.from(key).subarray(0, prefix.length).equals(given));
        },
      ),
    );
  });

  it("is refused where its words were not UTF-8: two keys would become one", () => {
    // What Node.js makes of the argument "a\xff".
    const word = Buffer.from([0x61, 0xff]).toString();
    for (const flags of [{}, { prefix: true }, { fromKey: true }])
      expect(() => rangeOf(word, undefined, flags)).toThrow(/not UTF-8/);
    expect(() => rangeOf("a", word, {})).toThrow(/not UTF-8/);
    expect(() => parseTxn(`\n\nput ${word} 1\n\n\n`)).toThrow(/not UTF-8/);
    expect(Buffer.from(rangeOf("ä\u{1f600}", undefined, {}).key).toString()).toBe("ä\u{1f600}");
  });

  it("of an empty key is every key, where a range is meant", () => {
    const every = { key: Uint8Array.of(0), range_end: Uint8Array.of(0) };
    expect(rangeOf("", undefined, { prefix: true })).toEqual(every);
    expect(rangeOf("", undefined, { fromKey: true })).toEqual(every);
    expect(rangeOf("", undefined, {}).key).toHaveLength(0);
  });
});

describe("an endpoint", () => {
  it("comes from the flag, the environment, or is the port of etcd on this machine", () => {
    const texts = (flag: string | undefined, environment: Record<string, string>): string[] =>
      endpointsOf(flag, environment).map(({ text }) => text);
    const both = { HARMONYDB_ENDPOINTS: "a:1, http://b:2/", ETCDCTL_ENDPOINTS: "c:3" };
    expect(texts("x:9", both)).toEqual(["x:9"]);
    expect(texts(undefined, both)).toEqual(["a:1", "b:2"]);
    expect(texts(undefined, { ETCDCTL_ENDPOINTS: "c:3" })).toEqual(["c:3"]);
    expect(texts(undefined, { HARMONYDB_ENDPOINTS: "" })).toEqual(["127.0.0.1:2379"]);
    expect(parseEndpoint("[::1]:5")).toEqual({ text: "[::1]:5", host: "::1", port: 5 });
  });

  it.each(["a", "a:", "a:0", "a:70000", "http://", "a:1/path", "a b:1"])(
    "is refused: %s",
    (text) => {
      expect(() => parseEndpoint(text)).toThrow(/is no endpoint/);
    },
  );
});

it("a lease is the same in both directions, above 63 bits too", () => {
  for (const id of [1n, 2n ** 63n - 1n, -1n, -(2n ** 63n)])
    expect(leaseId("lease", leaseText(id))).toBe(id);
});

describe("the language of a transaction", () => {
  it("has compares, operations for success and for failure", () => {
    const { request, flags } = parseTxn(
      `mod("a b") > "3"
value(k) != "x\\ty"
lease(k) = "1f"

put k "a \\"value\\"" --prev-kv
get k --prefix --keys-only

del 'k 1'

`,
    );
    expect(request).toMatchObject({
      compare: [
        {
          result: etcd.Compare_CompareResult.GREATER,
          target: etcd.Compare_CompareTarget.MOD,
          key: Buffer.from("a b"),
          mod_revision: 3n,
        },
        { result: etcd.Compare_CompareResult.NOT_EQUAL, value: Buffer.from("x\ty") },
        { target: etcd.Compare_CompareTarget.LEASE, lease: 31n },
      ],
      success: [
        { request_put: { key: Buffer.from("k"), value: Buffer.from('a "value"'), prev_kv: true } },
        {
          request_range: { key: Buffer.from("k"), range_end: Uint8Array.of(0x6c), keys_only: true },
        },
      ],
      failure: [{ request_delete_range: { key: Buffer.from("k 1") } }],
    });
    expect(flags.success[1]).toMatchObject({ keysOnly: true });
  });

  it("may leave parts empty", () => {
    expect(parseTxn("").request).toEqual({ compare: [], success: [], failure: [] });
    expect(parseTxn("\nput a b\n").request.success).toHaveLength(1);
  });

  it.each([
    ["mod a = 1", /line 1 .*is no compare/],
    ["size(a) = 1", /line 1 .*none of mod, create/],
    ["mod(a) = x", /line 1 .*"x" is not a number/],
    ["mod(a) = 1 2", /line 1 .*one word/],
    ["\nput a", /line 2 .*needs a value/],
    ["\nput", /line 2 .*missing required argument 'key'/],
    ["\nput a b c", /line 2 .*too many arguments/],
    ["\nget a --nope", /line 2 .*unknown option '--nope'/],
    ["\nmove a b", /line 2 .*none of put, get, del/],
    ['\nput a "b', /line 2 .*not closed/],
    ["\n\n\n\nput a b", /line 5 .*behind its end/],
  ])("names the line that is wrong: %j", (text, why) => {
    expect(() => parseTxn(text)).toThrow(why);
    expect(() => parseTxn(text)).toThrow(expect.objectContaining({ exit: 3 }) as Error);
  });

  it("splits words as a shell does", () => {
    expect(splitWords(`a  "b \\" c"'d e'\t"" `)).toEqual(["a", `b " cd e`, ""]);
  });
});

describe("the histogram of a load", () => {
  it("is less than one percent off", () => {
    const histogram = new Histogram();
    for (let i = 1; i <= 10_000; i++) histogram.add(i);
    for (const q of [0.5, 0.9, 0.99, 0.999]) {
      const off = histogram.quantileUs(q) / (q * 10_000) - 1;
      expect(off).toBeGreaterThanOrEqual(-0.0001);
      expect(off).toBeLessThan(0.01);
    }
    expect(histogram.quantileUs(1)).toBe(10_000);
    expect(histogram.meanUs).toBeCloseTo(5000.5);
  });

  it("keeps what is shorter or longer than it tells apart", () => {
    const histogram = new Histogram();
    histogram.add(0);
    histogram.add(1e12);
    expect(histogram.count).toBe(2);
    expect(histogram.maxUs).toBe(1e12);
    expect(new Histogram().quantileUs(0.5)).toBe(0);
  });
});

describe("progress", () => {
  const drawn = (isTTY: boolean, environment: Record<string, string>): string => {
    let text = "";
    const progress = new Progress({ isTTY, write: (more) => (text += more) }, environment, 100);
    progress.show(50, 10);
    progress.end();
    return text.replaceAll("\u001b", "ESC");
  };

  it("is drawn on a terminal and taken away, with colours unless somebody wants none", () => {
    expect(drawn(true, {})).toMatch(
      /^\r\[ESC\[32m#{12}ESC\[0m\.{12}\] 50% 10 keys, \d+\/sESC\[K\rESC\[K$/,
    );
    expect(drawn(true, { NO_COLOR: "1" })).toContain("[############............] 50%");
  });

  it("is silent where nobody looks", () => {
    expect(drawn(false, {})).toBe("");
  });
});

describe("completion", { timeout: 30_000 }, () => {
  const program = new Command("harmonydb").exitOverride();
  const streams = {
    out: () => undefined,
    err: () => undefined,
    drained: () => Promise.resolve(),
    onServe: () => undefined,
    environment: {},
  };
  addClientCommands(program, streams, () => undefined);

  it("offers commands and flags in bash", () => {
    const offered = (line: string): string[] => {
      const words = line.split(" ");
      const script = `${completionScript(program, "bash")}
COMP_WORDS=(${words.map((word) => `"${word}"`).join(" ")}); COMP_CWORD=${words.length - 1}; _harmonydb; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return execFileSync("bash", ["-c", script], { encoding: "utf8" }).trim().split("\n");
    };
    expect(offered("harmonydb lea")).toEqual(["lease"]);
    expect(offered("harmonydb lease gr")).toEqual(["grant"]);
    expect(offered("harmonydb get key --pre")).toEqual(["--prefix"]);
  });

  it("knows every command in each shell", () => {
    for (const shell of ["bash", "zsh", "fish"] as const) {
      const script = completionScript(program, shell);
      for (const { name } of program.commands.map((command) => ({ name: command.name() })))
        expect(script).toContain(name);
    }
  });
});
