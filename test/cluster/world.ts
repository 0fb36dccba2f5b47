/**
 * A cluster under load to which something happens, and what must hold afterwards: the histories of all clients have an
 * order, every acknowledged write is there through every member, and all members hold the same.
 */
import { writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { Random } from "../../src/base/index.ts";
import { formatHistory } from "../../sim/linearizability/history.ts";
import { type TestCluster, until } from "./cluster.ts";
import { Load, type LoadOptions } from "./load.ts";
import type { Member } from "./member.ts";
import { Recorder } from "./recorder.ts";

/** A member that follows gets there in a moment, one that was far behind in a while. */
const SAME_MS = 60_000;

export class World {
  readonly cluster: TestCluster;
  readonly random: Random;
  /** Of the cluster's whole life, since revisions are. */
  readonly recorder = new Recorder();
  readonly #loads: Load[] = [];
  #scenarios = 0;

  constructor(cluster: TestCluster, random: Random) {
    this.cluster = cluster;
    this.random = random;
  }

  /** Clients through all members, or through some of them. */
  load(
    options: Omit<LoadOptions, "prefix"> = {},
    members: readonly Member[] = this.cluster.members,
  ): Load {
    const prefix = `s${this.#scenarios++}/`;
    const load = new Load(this.recorder, this.random, members, { prefix, ...options });
    this.#loads.push(load);
    return load;
  }

  /** So many more operations are answered through each of these members. */
  async progress(load: Load, members: readonly Member[], count = 10): Promise<void> {
    const goals = members.map((member) => load.answeredBy(member) + count);
    await until("answers to clients", async () =>
      members.every((member, i) => load.answeredBy(member) >= (goals[i] as number)) ? true : null,
    );
  }

  /** Time goes by, under load. */
  async pass(ms: number): Promise<void> {
    await delay(ms);
  }

  /**
   * The trouble is over: the load ends and everything is compared. Throws what is wrong, and leaves the history of the
   * store in a file.
   */
  async judge(load: Load): Promise<void> {
    await load.stop();
    const { members } = this.cluster;
    for (const member of members) {
      await until(`answer through ${member.name}`, () => member.all("none"));
      await load.readAll(member);
    }
    for (const member of members) {
      const found = await member.all(load.prefix);
      const lost = load.inserted.find((key) => !found.has(key));
      if (lost !== undefined)
        throw new Error(`${member.name} does not have ${lost}, which was acknowledged`);
    }
    await sameState(members);
    const fault = this.recorder.fault();
    if (fault === null) return;
    const file = `${this.cluster.root}-history.jsonl`;
    writeFileSync(file, formatHistory(this.recorder.kv.operations()));
    throw new Error(`${fault}\nThe history of the store: ${file}`);
  }
}

/** All members hold the same keys with the same revisions, at the newest revision that any of them has. */
export async function sameState(members: readonly Member[]): Promise<void> {
  const statuses = await Promise.all(members.map((member) => member.status()));
  const revision = statuses.reduce(
    (highest, { header }) =>
      header !== undefined && header.revision > highest ? header.revision : highest,
    0n,
  );
  const states: string[] = [];
  for (const member of members) {
    const { kvs } = await until(
      `revision ${revision} at ${member.name}`,
      () => member.range("", { serializable: true, revision }),
      SAME_MS,
    );
    states.push(
      kvs
        .map((kv) =>
          [kv.key, kv.value]
            .map((bytes) => Buffer.from(bytes).toString())
            .concat(
              String(kv.create_revision),
              String(kv.mod_revision),
              String(kv.version),
              String(kv.lease),
            )
            .join(" "),
        )
        .join("\n"),
    );
  }
  for (const [i, state] of states.entries())
    if (state !== states[0])
      throw new Error(
        `${members[0]?.name} and ${members[i]?.name} differ at revision ${revision}: ${firstDifference(states[0] as string, state)}`,
      );
}

function firstDifference(one: string, other: string): string {
  const [lines, others] = [one.split("\n"), other.split("\n")];
  const at = lines.findIndex((line, i) => line !== others[i]);
  return `${lines[at] ?? "nothing"} and ${others[at] ?? "nothing"}`;
}
