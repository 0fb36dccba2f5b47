import { describe, expect, it } from "vitest";
import type { WatchEvent } from "../src/db/index.ts";
import { KvModel, keyBytes } from "./model.ts";
import { Witness } from "./witness.ts";

/** A key was written in each of these revisions, two of them in the last one. */
function changes(): readonly WatchEvent[] {
  const model = new KvModel(2, true);
  for (const keys of [["a"], ["b"], ["c", "d"]])
    model.inOneRevision((revision) => {
      for (const key of keys) model.write(key, keyBytes("value"), 0n, revision);
    });
  return model.eventsOf(2, 4);
}

describe("the witness", () => {
  it("knows the changes of each revision that it heard of, in their order", () => {
    const witness = new Witness();
    witness.restart(2);
    witness.heard(changes(), 4);
    expect(witness.at(2)?.map(({ kv }) => kv.key)).toEqual([keyBytes("a")]);
    expect(witness.at(4)?.map(({ kv }) => kv.key)).toEqual([keyBytes("c"), keyBytes("d")]);
  });

  it("tells a revision without changes from one that it never heard of", () => {
    const witness = new Witness();
    expect(witness.at(1)).toBeNull();
    witness.restart(2);
    witness.heard(changes(), 4);
    witness.heard([], 5);
    expect(witness.at(5)).toEqual([]);
    expect(witness.at(6)).toBeNull();
    expect(witness.at(1)).toBeNull();
  });

  it("forgets what it heard when it begins again", () => {
    const witness = new Witness();
    witness.restart(2);
    witness.heard(changes(), 4);
    witness.restart(4);
    expect([2, 3, 4].map((revision) => witness.at(revision))).toEqual([null, null, null]);
  });

  it("hears nothing of what its copy hears", () => {
    const witness = new Witness();
    witness.restart(2);
    const events = changes();
    witness.heard(events.slice(0, 1), 2);
    const copy = witness.copy();
    copy.heard(events.slice(1), 4);
    expect(copy.at(4)).toHaveLength(2);
    expect(witness.at(4)).toBeNull();
    // The end of a revision that had begun: each has its own.
    copy.heard(events.slice(0, 1), 4);
    expect(witness.at(2)).toHaveLength(1);
  });
});
