/** A database in a node elsewhere, for the test that runs. */
import { onTestFinished } from "vitest";
import { connect, type HarmonyDB, serve, type ServeOptions } from "../../src/index.ts";

export async function connected(options: Partial<ServeOptions> = {}): Promise<HarmonyDB> {
  const node = await serve({
    dataDir: ":memory:",
    ...options,
    listenClientUrls: ["http://127.0.0.1:0"],
    shutdownTimeoutMs: 0,
  });
  onTestFinished(() => node.close());
  const db = await connect(node.urls);
  onTestFinished(() => db.close());
  return db;
}
