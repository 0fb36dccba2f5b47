import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { projectPath } from "./plant.ts";

interface Report {
  readonly ok: boolean;
  readonly profiles: readonly { readonly profile: string; readonly hash: number }[];
}

/** The running hash over all events of a few seeds of each profile, as a process of its own finds it. */
function hashes(...options: readonly string[]): Report {
  const main = projectPath("dist", "sim", "main.js");
  const args = [...options, main, "--seeds", "3", "--first", "501", "--json"];
  const { stdout } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 120_000 });
  return JSON.parse(stdout) as Report;
}

describe("a seed", () => {
  it("gives the same events in every process, also when the engine optimizes nothing", () => {
    const first = hashes();
    expect(first.ok).toBe(true);
    expect(first.profiles.length).toBeGreaterThan(2);
    const second = hashes("--max-lazy", "--stack-size=2000", "--no-opt");
    const pairs = (report: Report): unknown =>
      report.profiles.map(({ profile, hash }) => [profile, hash]);
    expect(pairs(second)).toEqual(pairs(first));
  }, 240_000);
});
