/** `serve`: the object of `open`, to which others can come, alone and as a member of three. */
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { connect, open, serve, type ServedDB, type ServeOptions } from "../../src/index.ts";
import { freePort } from "../../src/platform/index.ts";
import { codeOf, until } from "../embedded/store.suite.ts";
import { temporaryDirectory } from "../embedded/temporary.ts";

const decoder = new TextDecoder();
const ANY = ["http://127.0.0.1:0"];

async function served(options: ServeOptions): Promise<ServedDB> {
  const db = await serve({ listenClientUrls: ANY, shutdownTimeoutMs: 200, ...options });
  onTestFinished(() => db.close());
  return db;
}

describe("serve", () => {
  it("serves a directory that was opened before, to programs in process and elsewhere", async () => {
    const dataDir = temporaryDirectory();
    const before = await open(dataDir, { walSegmentBytes: 1024 * 1024 });
    await before.put("a", "1");
    await before.close();
    const db = await served({ dataDir });
    expect([db.role, db.status, db.peerUrls]).toEqual(["leader", "open", []]);
    expect(db.urls[0]).toMatch(/^http:\/\/127\.0\.0\.1:[1-9]\d*$/);
    const remote = await connect(db.urls);
    onTestFinished(() => remote.close());
    expect(decoder.decode(await remote.get("a"))).toBe("1");
    const watching = db.watch("b");
    await remote.put("b", "2");
    expect((await watching.next()).value?.events).toMatchObject([{ key: "b" }]);
    expect(decoder.decode(db.getSync("b"))).toBe("2");
    // A backup from elsewhere is the one from here.
    const sizes = [];
    for (const from of [db, remote]) {
      await using backup = await from.admin.snapshot();
      let bytes = 0;
      for await (const piece of backup) bytes += piece.length;
      expect([backup.sizeBytes, backup.sha256.length]).toEqual([bytes, 32]);
      sizes.push(bytes);
    }
    expect(sizes[0]).toBe(sizes[1]);
    await db.close();
    expect(await codeOf(() => db.get("a"))).toBe("CLOSED");
    expect(await codeOf(() => remote.get("a", { timeoutMs: 200 }))).toBe("UNREACHABLE");
    await using again = await open(dataDir);
    expect(decoder.decode(await again.get("b"))).toBe("2");
  });

  it("refuses what it cannot do, and leaves directory and ports alone", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void taken.close());
    const port = (taken.address() as AddressInfo).port;
    const dataDir = temporaryDirectory();
    await expect(
      serve({ dataDir, listenClientUrls: [`http://127.0.0.1:${port}`] }),
    ).rejects.toMatchObject({ code: "EADDRINUSE" });
    const wrong: unknown[] = [
      { dataDir: "" },
      { dataDir, port: 5 },
      { dataDir, listenClientUrls: ["nowhere"] },
      { dataDir, listenClientUrls: [] },
      { dataDir, listenClientUrls: ["http://0.0.0.0:0"] },
      { dataDir, shutdownTimeoutMs: -1 },
      { dataDir, pinTimeoutMs: 0 },
      {
        dataDir,
        initialCluster: [
          { name: "a", peerUrls: [] },
          { name: "b", peerUrls: [] },
        ],
      },
      null,
    ];
    for (const options of wrong)
      expect([options, await codeOf(() => serve(options as never))]).toEqual([
        options,
        "INVALID_ARGUMENT",
      ]);
    const first = await served({ dataDir });
    expect(await codeOf(() => served({ dataDir }))).toBe("DIRECTORY_LOCKED");
    await first.put("still", "works");
  });

  it("makes three members of one cluster, each of which takes everything", async () => {
    const ports = await Promise.all([freePort(), freePort(), freePort()]);
    const initialCluster = ports.map((port, i) => ({
      name: `n${i + 1}`,
      peerUrls: [`http://127.0.0.1:${port}`],
    }));
    const nodes = await Promise.all(
      initialCluster.map(({ name, peerUrls }) =>
        served({
          dataDir: temporaryDirectory(),
          name,
          listenPeerUrls: peerUrls,
          initialCluster,
          walSegmentBytes: 1024 * 1024,
        }),
      ),
    );
    for (const [i, node] of nodes.entries()) await node.put(`k${i}`, `v${i}`);
    for (const node of nodes)
      expect((await node.scan().all()).map(({ key }) => key)).toEqual(["k0", "k1", "k2"]);
    expect(nodes.map(({ role }) => role).filter((role) => role === "leader")).toHaveLength(1);
    const db = await connect(nodes.flatMap(({ urls }) => urls));
    onTestFinished(() => db.close());
    const leader = nodes.find(({ role }) => role === "leader");
    await leader?.close();
    await until(async () => (await codeOf(() => db.put("later", "x"))) === "none");
    for (const node of nodes.filter((one) => one !== leader))
      expect(decoder.decode(await node.get("later"))).toBe("x");
  }, 60_000);
});
