/** The whole API of a database in process, on the disk and in memory. */
import { onTestFinished, vi } from "vitest";
import { open } from "../../src/index.ts";
import { coordinationSuite } from "./coordination.suite.ts";
import { type Opening, storeSuite } from "./store.suite.ts";
import { temporaryDirectory } from "./temporary.ts";

// Machines that are busy with other things are slow, not wrong.
vi.setConfig({ testTimeout: 60_000 });

const opening =
  (directory: () => string): Opening =>
  async (options = {}) => {
    const db = await open(directory(), { walSegmentBytes: 1024 * 1024, ...options });
    onTestFinished(() => db.close());
    return db;
  };

const places: readonly (readonly [string, () => string])[] = [
  ["a directory", temporaryDirectory],
  [":memory:", () => ":memory:"],
];

for (const [name, directory] of places) {
  storeSuite(name, opening(directory));
  coordinationSuite(name, opening(directory));
}
