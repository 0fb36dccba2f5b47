/** The whole API over a connection: the suites of the API in process, on `connect` to a node that `serve` serves. */
import { onTestFinished, vi } from "vitest";
import { connect, serve } from "../../src/index.ts";
import { coordinationSuite } from "../embedded/coordination.suite.ts";
import { type Opening, storeSuite } from "../embedded/store.suite.ts";
import { temporaryDirectory } from "../embedded/temporary.ts";
import { watchSuite } from "../embedded/watch.suite.ts";

// Machines that are busy with other things are slow, not wrong.
vi.setConfig({ testTimeout: 60_000 });

const opening =
  (directory: () => string): Opening =>
  async (options = {}) => {
    const node = await serve({
      walSegmentBytes: 1024 * 1024,
      ...options,
      dataDir: directory(),
      listenClientUrls: ["http://127.0.0.1:0"],
      shutdownTimeoutMs: 0,
    });
    onTestFinished(() => node.close());
    const db = await connect(node.urls);
    onTestFinished(() => db.close());
    return db;
  };

const opened = opening(() => ":memory:");
storeSuite("connected", opened, "elsewhere");
coordinationSuite("connected", opened, "elsewhere");
watchSuite("connected", opened);
storeSuite("connected to a directory", opening(temporaryDirectory), "elsewhere");
