/** Watches in process, and what they leave in the node. */
import { expect, it, onTestFinished } from "vitest";
import { EmbeddedDatabase } from "../../src/db/embedded/index.ts";
import { startNode } from "../../src/db/index.ts";
import { open } from "../../src/index.ts";
import { nodeEnv } from "../../src/platform/index.ts";
import { codeOf } from "./store.suite.ts";
import { watchSuite } from "./watch.suite.ts";

watchSuite("in process", async (options = {}) => {
  const db = await open(":memory:", options);
  onTestFinished(() => db.close());
  return db;
});

it("leaves nothing behind in the node, however it ended", async () => {
  const log = (): void => {};
  const env = nodeEnv({ log });
  const node = await startNode(env, { dataDir: ":memory:", persistence: "none" });
  const newAborter = (): AbortController => new AbortController();
  const db = new EmbeddedDatabase(node, {
    env,
    newAborter,
    pinTimeoutMs: 1000,
    pinBytesMax: 2 ** 30,
  });
  onTestFinished(() => db.close());
  const aborter = newAborter();
  const [left, closed] = [db.watch("k"), db.watch("k")];
  const aborted = db.watch("k", { signal: aborter.signal }).next();
  const stays = db.watch({});
  expect(node.database.watchCount).toBe(4);
  await left.return?.();
  await closed.close();
  aborter.abort();
  expect(await codeOf(() => aborted)).toBe("ABORTED");
  expect(node.database.watchCount).toBe(1);
  await db.put("k", "1");
  expect((await stays.next()).value?.rev).toBe(2);
});
