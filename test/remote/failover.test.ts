/** What is asked again of another member and what is not, with members that answer what the test says. */
import { createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { connect, type ConnectOptions, type HarmonyDB, HarmonyError } from "../../src/index.ts";
import { codeOf, until } from "../embedded/store.suite.ts";
import { failure, FakeMember, put, putEvent } from "../../src/server/grpc/fake-member.suite.ts";

async function connected(
  members: readonly FakeMember[],
  options: ConnectOptions = {},
): Promise<HarmonyDB> {
  const db = await connect(
    members.map(({ url }) => url),
    options,
  );
  onTestFinished(() => db.close());
  return db;
}

async function errorOf(work: Promise<unknown>): Promise<{ code: string; maybeApplied: boolean }> {
  const error: unknown = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(HarmonyError);
  return error as HarmonyError;
}

/** A port on which something else speaks. */
async function strange(talk: (socket: Socket) => void): Promise<string> {
  const sockets: Socket[] = [];
  const server: Server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    talk(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("connect", () => {
  it("refuses endpoints and options that are none", async () => {
    const wrong: [unknown, unknown?][] = [
      [""],
      [[]],
      ["nowhere"],
      ["127.0.0.1:0"],
      ["127.0.0.1:70000"],
      ["https://127.0.0.1:2379"],
      [[5]],
      [null],
      ["127.0.0.1:1", { timeout: 5 }],
      ["127.0.0.1:1", { connectTimeoutMs: 0 }],
      ["127.0.0.1:1", { requestTimeoutMs: "5" }],
      ["127.0.0.1:1", { log: 5 }],
      ["127.0.0.1:1", null],
    ];
    for (const [endpoints, options] of wrong)
      expect([
        endpoints,
        options,
        await codeOf(() =>
          options === undefined
            ? connect(endpoints as never)
            : connect(endpoints as never, options as never),
        ),
      ]).toEqual([endpoints, options, "INVALID_ARGUMENT"]);
  });

  it("names each endpoint that does not answer, and why", async () => {
    const closed = await strange(() => {});
    const http1 = await strange((socket) =>
      socket.on("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")),
    );
    const gone = await strange((socket) => socket.destroy());
    const error = await errorOf(
      connect(["127.0.0.1:1", http1, gone, closed], { connectTimeoutMs: 4_000 }),
    );
    expect(error).toMatchObject({ code: "UNREACHABLE", maybeApplied: false });
    const { message } = error as unknown as Error;
    expect(message).toContain("127.0.0.1:1: connection refused");
    expect(message).toMatch(new RegExp(`${http1}: it does not speak HTTP/2`));
    expect(message).toContain(`${gone}: `);
    expect(message).toMatch(new RegExp(`${closed}: no connection within`));
  }, 30_000);

  it("does not use a member of another cluster", async () => {
    const [one, other] = [await FakeMember.start(), await FakeMember.start()];
    other.clusterId = 2n;
    const db = await connected([one, other], { requestTimeoutMs: 500 });
    await one.close();
    const { code, message } = (await errorOf(db.put("a", "1"))) as HarmonyError;
    expect([code, other.writes.length]).toEqual(["UNREACHABLE", 0]);
    expect(message).toMatch(/it is of cluster 2, the others of 1|connection refused/);
  });
});

describe("a write", () => {
  it("goes to another member when it certainly was not done", async () => {
    const [one, other] = [await FakeMember.start(), await FakeMember.start()];
    const db = await connected([one, other]);
    for (const code of ["NO_LEADER", "TIMEOUT", "CLOSED", "STOPPED", "MEMBER_FULL"]) {
      let refused = false;
      for (const member of [one, other])
        member.onWrite = (reply) => {
          reply(refused ? put(7) : failure(code));
          refused = true;
        };
      expect(await db.put("a", "1")).toEqual({ rev: 7, ok: true });
    }
    expect(one.writes.length + other.writes.length).toBe(10);
    expect(Math.abs(one.writes.length - other.writes.length)).toBeLessThanOrEqual(1);
  });

  it("is not sent again when it may have been done, and says so", async () => {
    const [one, other] = [await FakeMember.start(), await FakeMember.start()];
    const db = await connected([one, other]);
    for (const member of [one, other]) member.onWrite = (reply) => reply(failure("TIMEOUT", true));
    expect(await errorOf(db.put("a", "1"))).toMatchObject({ code: "TIMEOUT", maybeApplied: true });
    expect(one.writes.length + other.writes.length).toBe(1);
    // The connection breaks while it is under way.
    for (const member of [one, other]) member.onWrite = () => void member.close();
    const lost = await errorOf(db.incr("n"));
    expect(lost).toMatchObject({ code: "UNREACHABLE", maybeApplied: true });
    expect(one.writes.length + other.writes.length).toBe(2);
  });

  it("with the number of a session is asked until there is an answer", async () => {
    const [one, other] = [await FakeMember.start(), await FakeMember.start()];
    const db = await connected([one, other]);
    let isFirst = true;
    for (const member of [one, other])
      member.onWrite = (reply) => {
        if (isFirst) void member.close();
        else reply(put(3));
        isFirst = false;
      };
    expect(await db.put("a", "1", { requestId: "5/1" })).toMatchObject({ rev: 3 });
    const all = [...one.writes, ...other.writes];
    expect(all.map(({ session, number }) => [session, number])).toEqual([
      [5n, 1n],
      [5n, 1n],
    ]);
  });

  it("ends with its signal and with its time, however silent the member is, and frees the call there", async () => {
    const one = await FakeMember.start();
    const db = await connected([one]);
    one.onWrite = () => {};
    const aborter = new AbortController();
    const aborted = errorOf(db.put("a", "1", { signal: aborter.signal }));
    await until(() => one.writes.length === 1);
    aborter.abort();
    expect(await aborted).toMatchObject({ code: "ABORTED", maybeApplied: true });
    expect(await errorOf(db.put("a", "1", { timeoutMs: 30 }))).toMatchObject({
      code: "TIMEOUT",
      maybeApplied: true,
    });
    expect(await errorOf(db.put("a", "1", { signal: AbortSignal.abort() }))).toMatchObject({
      code: "ABORTED",
      maybeApplied: false,
    });
    expect(one.writes.length).toBe(2);
    one.onRead = () => {};
    expect(await errorOf(db.get("a", { timeoutMs: 30 }))).toMatchObject({
      code: "TIMEOUT",
      maybeApplied: false,
    });
    const waiting = errorOf(db.put("a", "1"));
    await until(() => one.writes.length === 3);
    await db.close();
    expect(await waiting).toMatchObject({ code: "CLOSED", maybeApplied: true });
  });

  it("answers that are none end the call that got them, and nothing else", async () => {
    const one = await FakeMember.start();
    const db = await connected([one]);
    one.onWrite = (reply) => reply({ outcome: Uint8Array.of(1, 99, 99) });
    expect(await errorOf(db.put("a", "1"))).toMatchObject({
      code: "UNREACHABLE",
      maybeApplied: true,
    });
    one.onWrite = (reply) => reply({});
    expect((await errorOf(db.put("a", "1"))).maybeApplied).toBe(true);
    one.onWrite = (reply) => reply(put(2));
    expect(await db.put("a", "1")).toMatchObject({ rev: 2 });
  });
});

describe("a read", () => {
  it("is asked of another member when one is silent, cut off or gone", async () => {
    const [one, other] = [await FakeMember.start(), await FakeMember.start()];
    const db = await connected([one, other], { requestTimeoutMs: 2_000 });
    let silent = 0;
    for (const member of [one, other])
      member.onRead = (reply) => {
        if (silent++ > 0) reply({ revision: 1n, count: 0n });
      };
    expect(await db.get("a")).toBeUndefined();
    await one.close();
    expect(await db.get("a")).toBeUndefined();
  });
});

describe("a watch", () => {
  it("goes on at another member behind the last revision, and tells nothing twice", async () => {
    const [one, other] = [await FakeMember.start(), await FakeMember.start()];
    const db = await connected([one, other]);
    const watching = db.watch({});
    await until(() => one.watches.length + other.watches.length === 1);
    const [at, next] = one.watches.length === 1 ? [one, other] : [other, one];
    expect(at.watches[0]?.request.start_revision).toBe(0n);
    at.tell({ revision: 4n });
    at.tell({ revision: 6n, events: [putEvent("a", 5), putEvent("b", 6)] });
    expect((await watching.next()).value).toMatchObject({
      rev: 6,
      events: [{ rev: 5 }, { rev: 6 }],
    });
    await at.close();
    await until(() => next.watches.length === 1);
    expect(next.watches[0]?.request.start_revision).toBe(7n);
    next.tell({ revision: 6n });
    next.tell({ revision: 8n, events: [putEvent("c", 8)] });
    expect((await watching.next()).value).toMatchObject({ rev: 8, events: [{ key: "c" }] });
    next.tell({ compact_revision: 20n });
    await expect(watching.next()).rejects.toMatchObject({ code: "COMPACTED", compactRev: 20 });
  });

  it("that had begun nowhere begins behind what was seen before it was asked for", async () => {
    const [one, other] = [await FakeMember.start(), await FakeMember.start()];
    const db = await connected([one, other]);
    for (const member of [one, other]) member.onWrite = (reply) => reply(put(9));
    await db.put("a", "1");
    const watching = db.watch("k");
    await until(() => one.watches.length + other.watches.length === 1);
    const [at, next] = one.watches.length === 1 ? [one, other] : [other, one];
    await at.close();
    await until(() => next.watches.length === 1);
    expect(next.watches[0]?.request.start_revision).toBe(10n);
    await watching.close();
  });

  it("whose reader takes nothing holds the member, not the memory of the program", async () => {
    const one = await FakeMember.start();
    const db = await connected([one]);
    const watching = db.watch({});
    await until(() => one.watches.length === 1);
    one.tell({ revision: 1n });
    const event = putEvent("k".repeat(4000), 2);
    let sent = 0;
    const call = one.watches[0]?.call;
    // As the member does: it sends while it may.
    for (let turns = 0; turns < 2_000; turns++) {
      if (call?.isWritable === true) {
        one.tell({ revision: BigInt(2 + sent), events: Array.from({ length: 16 }, () => event) });
        sent++;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    // Some megabytes: what waits here, the window, and what the system keeps.
    expect(sent).toBeLessThan(300);
    expect((await watching.next()).value?.rev).toBe(2);
    await watching.close();
  });
});
