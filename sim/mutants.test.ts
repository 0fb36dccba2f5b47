import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Mutant } from "./mutant.ts";
import { MUTANTS, REVERTED } from "./mutants.ts";
import { plant } from "./plant.ts";

/** `npm test` builds first, so this is the code that `npm run sim:mutations` changes. */
const BUILT = new URL("../dist/src/", import.meta.url);

describe("planted bugs", () => {
  it("change a place of the built code that is there exactly once", () => {
    const places = [...MUTANTS, ...REVERTED].map(({ name, file, find }) => {
      const count = readFileSync(new URL(file, BUILT), "utf8").split(find).length - 1;
      return { name, count };
    });
    expect(places.filter(({ count }) => count !== 1)).toEqual([]);
  });

  it("leave a copy that starts: one that does not would count as found", () => {
    const planted = plant(MUTANTS[0] as Mutant, "does-it-start");
    const args = [planted.main, "--profile", "storage", "--seeds", "0"];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    planted.remove();
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  }, 60_000);

  it("have names of their own and really change something", () => {
    expect(new Set(MUTANTS.map(({ name }) => name)).size).toBe(MUTANTS.length);
    expect(MUTANTS.filter(({ find, replace }) => find === replace)).toEqual([]);
  });

  it("are at least three in every layer", () => {
    for (const layer of ["env", "raft", "wal", "btree", "mvcc", "replica", "db"])
      expect(MUTANTS.filter((mutant) => mutant.layer === layer).length, layer).toBeGreaterThan(2);
    expect(MUTANTS.length).toBeGreaterThanOrEqual(24);
  });
});
