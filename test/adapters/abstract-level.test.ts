/** The public suite of abstract-level, on a directory, in memory, and in a part of a database that is shared. */
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { HarmonyLevel, type HarmonyLevelOptions } from "../../src/adapters/abstract-level.ts";
import { open } from "../../src/index.ts";
import { Assertions } from "./tape.ts";

type Level = HarmonyLevel<unknown, unknown>;
type Options = HarmonyLevelOptions<unknown, unknown>;

const suite = createRequire(import.meta.url)("abstract-level/test") as (options: {
  readonly test: (name: string, body: (t: Assertions) => unknown) => void;
  readonly factory: (options?: Options) => Level;
}) => void;

/** Machines that are busy with other things are slow, not wrong. */
const TIMEOUT_MS = 60_000;

function conforms(factory: (options?: Options) => Level): void {
  const strays: string[] = [];
  const made: Level[] = [];
  let count = 0;
  suite({
    factory: (options) => {
      const level = factory(options);
      made.push(level);
      return level;
    },
    test: (name, body) => {
      count++;
      it(name, () => new Assertions(strays).run(body), TIMEOUT_MS);
    },
  });
  // The suite asks the first database what it can do, and leaves out the tests of what it cannot.
  it("was asked everything, and nothing was asserted too late", () => {
    expect(count).toBeGreaterThan(1000);
    expect(strays).toEqual([]);
  });
  // Of some the suite has locked the status: they never close.
  afterAll(() => Promise.allSettled(made.map((level) => level.close())), TIMEOUT_MS);
}

describe("abstract-level's own suite, in memory", () => {
  conforms((options) => new HarmonyLevel<unknown, unknown>(":memory:", options));
});

describe("abstract-level's own suite, on a directory", () => {
  const root = mkdtempSync(join(tmpdir(), "harmonydb-level-"));
  // What is registered first is done last: after the levels are closed.
  afterAll(() => rm(root, { recursive: true, force: true, maxRetries: 10 }), TIMEOUT_MS);
  let number = 0;
  conforms((options) => {
    const directory = join(root, String(++number));
    return new HarmonyLevel<unknown, unknown>(directory, {
      ...options,
      open: { walSegmentBytes: 64 * 1024 },
    });
  });
});

// The suite makes its first database before any test runs.
const shared = await open(":memory:");

describe("abstract-level's own suite, in a part of a shared database", () => {
  afterAll(() => shared.close());
  let number = 0;
  conforms(
    (options) => new HarmonyLevel<unknown, unknown>(shared, { ...options, prefix: `${++number}/` }),
  );
});
