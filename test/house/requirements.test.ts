import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  type Evidence,
  judgeList,
  judgeProofs,
  parseProofs,
  parseRequirements,
  requirementIds,
} from "../../scripts/requirements.ts";
import { ROOT } from "./planted.ts";

const PAGE = readFileSync(join(ROOT, "docs/requirements.md"), "utf8");

/** The page with one row replaced. */
function pageWith(id: string, row: string): ReturnType<typeof parseRequirements> {
  return parseRequirements(PAGE.replace(new RegExp(`^\\| ${id} \\|.*$`, "m"), row));
}

const EVIDENCE: Evidence = {
  root: "/r",
  fileExists: (path) => path !== "src/gone.test.ts",
  scripts: { sim: "node dist/sim/main.js" },
  report: {
    testResults: [
      {
        name: "/r/src/wal/wal.test.ts",
        assertionResults: [
          { fullName: "WAL recovery: single node", status: "passed" },
          { fullName: "WAL recovery: damage", status: "failed" },
        ],
      },
    ],
  },
  clientsReport: null,
};

function complaintAbout(proof: string): string | undefined {
  return judgeProofs(pageWith("S1-28", `| S1-28 | recovery | done | ${proof} |`), EVIDENCE).find(
    (line) => line.includes("S1-28"),
  );
}

describe("docs/requirements.md", () => {
  it("has every row once, each with a state and what the state asks for", () => {
    expect(requirementIds()).toHaveLength(356);
    expect(judgeList(parseRequirements(PAGE))).toEqual([]);
  });
});

describe("the judge of the requirements", () => {
  it.each([
    ["a missing row", "S1-28", "", /S1-28 is missing/],
    ["a row twice", "S1-28", "| S1-27 | x | open: later | |", /S1-27: stands there twice/],
    ["a row that nobody knows", "S1-28", "| S1-99 | x | open: later | |", /S1-99: no such row/],
    ["a state of one's own", "S1-28", "| S1-28 | x | nearly | |", /state "nearly" is none of/],
    ["a part that is none", "S1-28", "| S1-28 | x | open: someday | |", /state "open: someday"/],
    ["done without a proof", "S1-28", "| S1-28 | x | done | |", /its proof is not of the form/],
    [
      "done by assertion",
      "S1-28",
      "| S1-28 | x | done | it works |",
      /its proof is not of the form/,
    ],
    ["not built without a reason", "S1-28", "| S1-28 | x | by design | |", /gives no reason/],
    ["an empty statement", "S1-28", "| S1-28 | | open: later | |", /says nothing/],
  ])("finds %s", (_what, id, row, complaint) => {
    expect(judgeList(pageWith(id, row)).join("\n")).toMatch(complaint);
  });

  it("takes a test that ran and passed, and a command that exists", () => {
    expect(
      complaintAbout('`src/wal/wal.test.ts` "recovery: single"; `npm run sim -- storage`'),
    ).toBeUndefined();
  });

  it.each([
    ["a file that is gone", '`src/gone.test.ts` "x"', /does not exist/],
    ["a file that did not run", '`src/raft/raft.test.ts` "x"', /did not run/],
    ["a name that no test has", '`src/wal/wal.test.ts` "many nodes"', /has no test "many nodes"/],
    ["a test that failed", '`src/wal/wal.test.ts` "damage"', /"WAL recovery: damage" failed/],
    ["a group of tests of which one failed", '`src/wal/wal.test.ts` "WAL recovery"', /failed/],
    ["a command that is gone", "`npm run fuzz`", /no script "fuzz"/],
  ])("refuses %s as a proof", (_what, proof, complaint) => {
    expect(complaintAbout(proof)).toMatch(complaint);
  });

  it("reads several proofs, and nothing that only looks like one", () => {
    expect(parseProofs('`a.test.ts` "one"; `npm test`')).toEqual([
      { kind: "test", file: "a.test.ts", name: "one" },
      { kind: "command", script: "test" },
    ]);
    expect(parseProofs("`npm run test:kill9 -- --cycles 5`")).toEqual([
      { kind: "command", script: "test:kill9" },
    ]);
    expect(parseProofs('`a.test.ts` "one" and more')).toBeNull();
    expect(parseProofs("a.test.ts one")).toBeNull();
  });
});
