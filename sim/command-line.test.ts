import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { projectPath } from "./plant.ts";

interface Ended {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a built script of this folder to its end. */
function run(script: string, ...args: readonly string[]): Ended {
  try {
    const path = projectPath("dist", "sim", script);
    const out = execFileSync(process.execPath, [path, ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
    return { exit: 0, out, err: "" };
  } catch (error) {
    const { status, stdout, stderr } = error as {
      readonly status: number;
      readonly stdout: string;
      readonly stderr: string;
    };
    return { exit: status, out: stdout, err: stderr };
  }
}

describe("a wrong command line of the simulator", { timeout: 60_000 }, () => {
  let directory = "";
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "harmonydb-sim-"));
    writeFileSync(join(directory, "text.json"), "no fixture\n");
    writeFileSync(join(directory, "null.json"), "null");
    writeFileSync(join(directory, "world.json"), '{"world":"node","seed":1}');
    writeFileSync(
      join(directory, "nowhere.json"),
      '{"world":"moon","seed":1,"options":{},"steps":[],"found":"f","check":"c"}',
    );
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it.each([
    ["--play none.json", /none\.json is no kept run: ENOENT/],
    ["--play text.json", /text\.json is no kept run: Unexpected token/],
    ["--play null.json", /null\.json is no kept run: a fixture is an object/],
    ["--play world.json", /world\.json is no kept run: a fixture names its world/],
    ["--play nowhere.json", /there is no world moon/],
    ["--nosuch", /Unknown option '--nosuch'/],
    ["--seeds many", /--seeds is a whole number, not many/],
  ])("is told in one line with exit code 2: %s", (line, sentence) => {
    const args = line.split(" ").map((arg) => arg.replace(/^(\w+\.json)$/, join(directory, "$1")));
    const said = run("main.js", ...args);
    expect(said).toEqual({ exit: 2, out: "", err: expect.stringMatching(/^[^\n]+\n$/) });
    expect(said.err).toMatch(sentence);
  });

  it.each([
    ["--only nosuch", /there is no planted bug nosuch/],
    ["--layer nosuch", /there is no planted bug in a layer nosuch/],
    ["--tries many", /--tries is a whole number, not many/],
    ["--workers 0", /--workers is at least 1/],
    ["--nosuch", /Unknown option '--nosuch'/],
  ])("that plants bugs is told in one line with exit code 2: %s", (line, sentence) => {
    const said = run("mutations.js", ...line.split(" "));
    expect(said).toEqual({ exit: 2, out: "", err: expect.stringMatching(/^[^\n]+\n$/) });
    expect(said.err).toMatch(sentence);
  });
});
