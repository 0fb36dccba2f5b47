/** The whole API over a connection: the suites of the API in process, on `connect` to a node that `serve` serves. */
import { vi } from "vitest";
import { coordinationSuite } from "../embedded/coordination.suite.ts";
import { type Opening, storeSuite } from "../embedded/store.suite.ts";
import { temporaryDirectory } from "../embedded/temporary.ts";
import { watchSuite } from "../embedded/watch.suite.ts";
import { connected } from "./connected.ts";

// Machines that are busy with other things are slow, not wrong.
vi.setConfig({ testTimeout: 60_000 });

const opening =
  (directory: () => string): Opening =>
  (options = {}) =>
    connected({ walSegmentBytes: 1024 * 1024, ...options, dataDir: directory() });

const opened = opening(() => ":memory:");
storeSuite("connected", opened, "elsewhere");
coordinationSuite("connected", opened, "elsewhere");
watchSuite("connected", opened);
storeSuite("connected to a directory", opening(temporaryDirectory), "elsewhere");
