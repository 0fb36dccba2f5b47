import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { decodeFixture, encodeFixture, readFixtures } from "./fixture.ts";
import { MUTANTS, REVERTED } from "./mutants.ts";
import { plant, projectPath } from "./plant.ts";
import { playScript } from "./play.ts";
import { WORLDS } from "./profiles.ts";

const DIRECTORY = projectPath("sim", "fixtures");
const FIXTURES = readFixtures(DIRECTORY);

describe("runs that once failed", () => {
  for (const { name, fixture } of FIXTURES) {
    it(`does not come back: ${fixture.found}`, () => {
      const world = WORLDS.get(fixture.world);
      if (world === undefined) throw new Error(`${name}: there is no world ${fixture.world}`);
      expect(playScript(world, fixture).failure).toBeNull();
    });

    const mutant = [...MUTANTS, ...REVERTED].find(
      ({ name: planted }) => planted === fixture.mutant,
    );
    if (fixture.mutant !== undefined)
      it(`would fail again with the bug ${fixture.mutant}: ${name}`, () => {
        if (mutant === undefined) throw new Error(`there is no planted bug ${fixture.mutant}`);
        const planted = plant(mutant, `fixture-${name}`);
        try {
          const path = `${DIRECTORY}/${name}.json`;
          const { status, stdout } = spawnSync(process.execPath, [planted.main, "--play", path], {
            encoding: "utf8",
            timeout: 60_000,
          });
          expect(stdout).toContain("FAILED");
          expect(status).toBe(1);
        } finally {
          planted.remove();
        }
      }, 60_000);
  }

  it("are kept as they are, bytes and large integers included", () => {
    const fixture = {
      found: "nothing",
      check: "none",
      world: "node",
      seed: 7,
      options: { bytes: Uint8Array.of(0, 255), text: Uint8Array.of(104, 105), never: Infinity },
      steps: [{ do: "a", id: 1n << 63n, list: [1, null, "x", true] }, { do: "b" }],
    };
    expect(decodeFixture(encodeFixture(fixture))).toEqual(fixture);
  });

  it.each([
    ["{}", "names its world"],
    ['{"world":"node","seed":1,"options":{},"steps":[]}', "says what was found"],
    ["[", "JSON"],
  ])("a file that is none is refused: %s", (text, message) => {
    expect(() => decodeFixture(text)).toThrow(message);
  });
});
