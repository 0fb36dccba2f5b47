/**
 * Members that come and go, as real processes and by the commands that an operator types. Bounded in time; needs the
 * build, which `npm test` makes.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Ended, Run } from "../process/harmonydb.ts";
import { until } from "./cluster.ts";
import { freePort } from "../../src/platform/index.ts";

const PROCESS_MS = 80_000;
let root: string;
let nodes: TestNode[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "harmonydb-members-"));
  nodes = [];
});
afterEach(async () => {
  await Promise.all(nodes.filter(({ isUp }) => isUp).map((node) => node.stop("SIGKILL")));
  rmSync(root, { recursive: true, force: true });
});

class TestNode {
  readonly name: string;
  readonly endpoint: string;
  readonly peerUrl: string;
  run: Run | null = null;

  private constructor(name: string, client: number, peer: number) {
    this.name = name;
    this.endpoint = `127.0.0.1:${client}`;
    this.peerUrl = `http://127.0.0.1:${peer}`;
    nodes.push(this);
  }

  static async of(name: string): Promise<TestNode> {
    return new TestNode(name, await freePort(), await freePort());
  }

  get isUp(): boolean {
    return this.run !== null;
  }

  begin(...args: readonly string[]): Run {
    const url = `http://${this.endpoint}`;
    this.run = new Run(
      [
        "serve",
        `--name=${this.name}`,
        `--data-dir=${join(root, this.name)}`,
        `--listen-client-urls=${url}`,
        "--listen-metrics-urls=none",
        `--listen-peer-urls=${this.peerUrl}`,
        ...args,
      ],
      {},
      PROCESS_MS,
    );
    return this.run;
  }

  async start(...args: readonly string[]): Promise<void> {
    await this.begin(...args).ready();
  }

  /** As one that was added to these, which `existing` names together with it. */
  join(...existing: readonly TestNode[]): readonly string[] {
    const all = [...existing, this].map(({ name, peerUrl }) => `${name}=${peerUrl}`);
    return ["--initial-cluster-state", "existing", "--initial-cluster", all.join(",")];
  }

  stop(signal: "SIGKILL" | "SIGTERM"): Promise<Ended> {
    const { run } = this;
    if (run === null) throw new Error(`${this.name} does not run`);
    this.run = null;
    return run.kill(signal);
  }

  /** A command of a client, sent to this node. */
  command(...args: readonly string[]): Run {
    return new Run([...args, "--endpoints", this.endpoint], {}, PROCESS_MS);
  }

  async ask(...args: readonly string[]): Promise<string> {
    const { exit, out, err } = await this.command(...args).ended;
    if (exit !== 0) throw new Error(`${args.join(" ")} ended with ${exit}: ${err}`);
    return out;
  }

  async refused(...args: readonly string[]): Promise<string> {
    const { exit, err } = await this.command(...args).ended;
    expect([args, exit]).toEqual([args, 1]);
    return err;
  }

  /** Name and whether it is a learner, of each member. */
  async members(): Promise<readonly string[]> {
    const lines = (await this.ask("member", "list")).trim().split("\n");
    return lines.map((line) => {
      const [, , name, , , isLearner] = line.split(", ");
      return isLearner === "true" ? `${name} learns` : (name ?? "");
    });
  }

  untilMembers(...expected: readonly string[]): Promise<true> {
    return until(`${expected.join(", ")} as members`, async () => {
      const members = (await this.members()).toSorted();
      return members.join() === expected.toSorted().join() ? true : null;
    });
  }
}

async function founders(...names: readonly string[]): Promise<TestNode[]> {
  const made = await Promise.all(names.map((name) => TestNode.of(name)));
  const cluster = made.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(",");
  await Promise.all(made.map((node) => node.start("--initial-cluster", cluster)));
  const [first] = made as [TestNode];
  await until("a first write", async () => first.ask("put", "k", "v"));
  return made;
}

describe("members that come and go", { timeout: 90_000 }, () => {
  it("make three of one node, on the data that it has", async () => {
    const first = await TestNode.of("n1");
    await first.start();
    await first.ask("put", "before", "yes");
    const others: TestNode[] = [first];
    for (const name of ["n2", "n3"]) {
      const next = await TestNode.of(name);
      const said = await first.ask("member", "add", name, "--learner", "--peer-urls", next.peerUrl);
      expect(said).toMatch(/^Learner [0-9a-f]+ added to cluster [0-9a-f]+\n/);
      // What it says to type is what is typed here.
      expect(said).toContain(`--initial-cluster ${next.join(...others).at(-1)}`);
      await next.start(...next.join(...others), "--auto-promote");
      others.push(next);
      await first.untilMembers(...others.map((node) => node.name));
    }
    const [, second, third] = others as [TestNode, TestNode, TestNode];
    expect(await third.ask("get", "before", "--print-value-only")).toBe("yes\n");
    await first.stop("SIGKILL");
    await until("a write without the first", () => second.ask("put", "after", "too"));
    expect(await third.ask("get", "after", "--print-value-only")).toBe("too\n");
    await first.start();
    expect(await first.ask("get", "after", "--print-value-only")).toBe("too\n");
  });

  it("exchange one that is gone, in one command; it is told when it comes back", async () => {
    const [first, second, gone] = (await founders("n1", "n2", "n3")) as [
      TestNode,
      TestNode,
      TestNode,
    ];
    await gone.stop("SIGKILL");
    const fresh = await TestNode.of("n4");
    const replacing = second.command(
      "member",
      "replace",
      "n3",
      "n4",
      `--peer-urls=${fresh.peerUrl}`,
      "--wait=60s",
    );
    await until("the new one as a learner", async () =>
      (await first.members()).some((member) => member.endsWith("learns")) ? true : null,
    );
    await fresh.start(...fresh.join(first, second, gone));
    const { exit, out, err } = await replacing.ended;
    expect([exit, err]).toEqual([0, expect.stringContaining("harmonydb serve --name n4")]);
    expect(out).toMatch(/^Member [0-9a-f]+ replaced by [0-9a-f]+ in cluster [0-9a-f]+\n$/);
    await first.untilMembers("n1", "n2", "n4");
    // The new one counts: with it, two of three are enough.
    await second.stop("SIGKILL");
    await until("a write of the first and the new one", () => fresh.ask("put", "k", "w"));
    const cluster = [first, second, gone].map(({ name, peerUrl }) => `${name}=${peerUrl}`);
    const ended = await gone.begin("--initial-cluster", cluster.join(",")).ended;
    gone.run = null;
    expect(ended.exit).toBe(1);
    expect(ended.err).toContain("this member was removed from the cluster");
    expect(ended.err).toContain("harmonydb member add");
  });

  it("go although they lead, and hand the lead over where they are asked to", async () => {
    const all = await founders("n1", "n2", "n3");
    const [first] = all as [TestNode];
    const leaderOf = async (): Promise<TestNode> => {
      for (const node of all) {
        if (!node.isUp) continue;
        const status = (await node.ask("endpoint", "status")).split(", ");
        if (status[6] === "true") return node;
      }
      throw new Error("nobody leads");
    };
    const before = await until("a leader", leaderOf);
    const [target] = all.filter((node) => node !== before) as [TestNode];
    // Whoever is asked finds the leader.
    expect(await target.ask("move-leader", target.name)).toMatch(
      /^Leadership transferred from [0-9a-f]+ to [0-9a-f]+\n$/,
    );
    expect(await until("the new leader", leaderOf)).toBe(target);
    expect(await first.refused("move-leader", "n9")).toContain('no member has the id or name "n9"');

    expect(await target.ask("member", "remove", target.name)).toMatch(/^Member [0-9a-f]+ removed/);
    const ended = await (target.run as Run).ended;
    target.run = null;
    expect([ended.exit, ended.err]).toEqual([
      1,
      expect.stringContaining("this member was removed from the cluster"),
    ]);
    const rest = all.filter((node) => node !== target) as [TestNode, TestNode];
    await until("a write of the others", () => rest[0].ask("put", "k", "w"));
    expect(await rest[1].ask("get", "k", "--print-value-only")).toBe("w\n");
    await rest[0].untilMembers(...rest.map(({ name }) => name));
    // Its directory is of no use, whoever runs.
    const again = await target.begin().ended;
    target.run = null;
    expect([again.exit, again.err]).toEqual([1, expect.stringContaining("new member")]);
  });

  it("are refused by name where they do not fit", async () => {
    const [first, second, third] = (await founders("n1", "n2", "n3")) as [
      TestNode,
      TestNode,
      TestNode,
    ];
    const fresh = await TestNode.of("n4");
    const ends = async (...args: readonly string[]): Promise<string> => {
      const { exit, err } = await fresh.begin(...args).ended;
      fresh.run = null;
      expect(exit).toBe(1);
      return err;
    };
    const joining = fresh.join(first, second, third);
    expect(await ends(...joining)).toContain("add this one first, with `harmonydb member add n4");
    expect(await ends("--initial-cluster-state", "existing")).toContain("--initial-cluster names");
    const urls = ["--peer-urls", fresh.peerUrl];
    const { exit } = await first.command("member", "add", "n4", "--learner").ended;
    expect(exit).toBe(128);
    expect(await first.refused("member", "add", "n2", ...urls)).toContain("is called n2 already");
    await first.ask("member", "add", "n4", "--learner", ...urls);
    expect(await ends(...joining, "--initial-cluster-token", "other")).toContain("another token");
    expect(await ends(...fresh.join(first, second))).toContain("does not name the member n3");
    expect(await first.refused("member", "add", "n5", ...urls)).toContain(
      "Peer URLs already exists",
    );
    expect(await first.refused("member", "promote", "n1")).toContain("only promote a learner");
    // A learner that nobody has started is no reason to stop writing, and neither is one that is cut short.
    await second.ask("put", "k", "w");
    const run = fresh.begin(...joining);
    await until("a join under way", async () => (run.err.length > 0 ? true : null));
    await fresh.stop("SIGKILL");
    await fresh.start(...joining);
    expect(await fresh.ask("get", "k", "--print-value-only")).toBe("w\n");
    // What would cost the majority is not done.
    await third.stop("SIGKILL");
    await until("a refusal for want of a majority", async () => {
      const { err } = await first.command("member", "remove", "n2").ended;
      return err.includes("unhealthy cluster") ? true : null;
    });
    await first.ask("member", "remove", "n3");
    expect((await first.members()).toSorted()).toEqual(["n1", "n2", "n4 learns"]);
  });
});
