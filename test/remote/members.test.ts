/** `admin.members` of a node in this process and of a connection: one node grows to three, members are exchanged and go. */
import { expect, it, onTestFinished } from "vitest";
import {
  connect,
  type HarmonyDB,
  HarmonyError,
  type Member,
  open,
  serve,
  type ServedDB,
  type ServeOptions,
} from "../../src/index.ts";
import { freePorts } from "../../src/platform/index.ts";
import { codeOf, until } from "../embedded/store.suite.ts";
import { temporaryDirectory } from "../embedded/temporary.ts";

const decoder = new TextDecoder();
const SMALL = { walSegmentBytes: 1024 * 1024 };

async function served(options: ServeOptions): Promise<ServedDB> {
  const db = await serve({
    ...SMALL,
    listenClientUrls: ["http://127.0.0.1:0"],
    shutdownTimeoutMs: 200,
    ...options,
  });
  onTestFinished(() => db.close());
  return db;
}

/** Starts a node that was added, as its operator does. */
async function started(
  name: string,
  added: Member,
  through: HarmonyDB,
  options: Partial<ServeOptions> = {},
): Promise<ServedDB> {
  const members = await through.admin.members.list();
  const { peerUrls } = added;
  return served({
    ...options,
    dataDir: temporaryDirectory(),
    name,
    join: true,
    initialCluster: members.map((one) => (one.id === added.id ? { name, peerUrls } : one)),
    listenPeerUrls: peerUrls,
  });
}

/** Again and again until the learner has caught up, or the other one leads: a busy machine may be late for that. */
async function whenReady(change: () => Promise<void>): Promise<void> {
  await until(async () => {
    const code = await codeOf(change);
    expect(["none", "LEARNER_NOT_READY", "TIMEOUT"]).toContain(code);
    return code === "none";
  });
}

/** Resolves with the code of what ended the node. */
function endOf(db: HarmonyDB): Promise<string> {
  return new Promise((resolve) => db.on("error", ({ code }) => resolve(code)));
}

/** A member says its name soon after its start. */
async function untilMembers(db: HarmonyDB, ...expected: readonly string[]): Promise<void> {
  await until(async () => {
    const members = await db.admin.members.list();
    const names = members.map(({ name, isLearner }) => (isLearner ? `${name} learns` : name));
    return names.toSorted().join() === expected.join();
  });
}

it("a node grows to three on its data, and each member and each connection changes them", async () => {
  const urls = (await freePorts(5)).map((port) => [`http://127.0.0.1:${port}`]);
  const url = (n: number): string[] => urls[n - 1] as string[];
  const dataDir = temporaryDirectory();
  const alone = await open(dataDir, { ...SMALL, name: "n1" });
  await alone.put("before", "yes");
  await alone.close();
  const first = await served({ dataDir, name: "n1", listenPeerUrls: url(1) });
  const { members } = first.admin;

  const learner = await members.addLearner(url(2));
  expect(learner).toMatchObject({ name: "", peerUrls: url(2), isLearner: true, isLeader: false });
  expect(await codeOf(() => members.addLearner(url(2)))).toBe("PEER_URL_EXISTS");
  expect(await codeOf(() => members.addLearner(url(3)))).toBe("TOO_MANY_LEARNERS");
  expect(await codeOf(() => members.promote(learner.id))).toBe("LEARNER_NOT_READY");
  expect(await codeOf(() => members.moveLeader(learner.id))).toBe("BAD_TRANSFEREE");
  const second = await started("n2", learner, first, { autoPromote: true });
  await untilMembers(first, "n1", "n2");

  // Through a member that follows.
  const remote = await connect(second.urls);
  onTestFinished(() => remote.close());
  expect(await remote.admin.members.list()).toEqual(await members.list());
  const added = await remote.admin.members.addLearner(url(3));
  const third = await started("n3", added, remote);
  await untilMembers(second, "n1", "n2", "n3 learns");
  await whenReady(() => remote.admin.members.promote(added.id));
  expect(decoder.decode(await third.get("before"))).toBe("yes");
  await third.put("after", "too");

  await whenReady(() => remote.admin.members.moveLeader(added.id, { timeoutMs: 3_000 }));
  expect(third.role).toBe("leader");
  await whenReady(() => second.admin.members.moveLeader(learner.id, { timeoutMs: 3_000 }));
  expect(second.role).toBe("leader");
  const list = await third.admin.members.list();
  expect(list.find(({ isLeader }) => isLeader)).toMatchObject({
    name: "n2",
    clientUrls: second.urls,
  });

  // One takes the place of another, which hears of it and stops.
  const fresh = await remote.admin.members.addLearner(url(4));
  const fourth = await started("n4", fresh, third);
  const { memberId: firstId } = await first.admin.status();
  const gone = endOf(first);
  await whenReady(() => remote.admin.members.replace(firstId, fresh.id));
  expect(await gone).toBe("MEMBER_REMOVED");
  await untilMembers(remote, "n2", "n3", "n4");
  const left = endOf(fourth);
  await third.admin.members.remove(fresh.id);
  expect(await left).toBe("MEMBER_REMOVED");
  expect(await codeOf(() => remote.admin.members.remove(fresh.id))).toBe("MEMBER_NOT_FOUND");
  expect(decoder.decode(await remote.get("after"))).toBe("too");

  await remote.admin.members.update(added.id, [...url(3), ...url(5)]);
  const moved = (await second.admin.members.list()).find(({ id }) => id === added.id);
  expect(moved).toMatchObject({ name: "n3", peerUrls: [...url(3), ...url(5)] });
}, 90_000);

it("of a node that is told to grow and does not sync before it acknowledges stays as they are", async () => {
  const [port] = await freePorts(1);
  const db = await served({
    dataDir: temporaryDirectory(),
    fsyncIntervalMs: 10,
    listenPeerUrls: [`http://127.0.0.1:${port}`],
  });
  const error: unknown = await db.admin.members
    .add(["http://127.0.0.1:1"])
    .catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(HarmonyError);
  expect(error).toMatchObject({ code: "STAYS_ALONE", maybeApplied: false });
  expect((error as HarmonyError).message).toContain("listenPeerUrls of serve");
  expect(await db.admin.members.list()).toHaveLength(1);
});
