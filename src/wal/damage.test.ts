/**
 * One flipped bit anywhere: refused with file and offset, or a torn tail beyond the proof, or harmless; never a state
 * that the model does not know, and never a lost acknowledged append except in the window that
 * docs/internals/wal.md names.
 */
import { describe, expect, it } from "vitest";
import { CorruptionError, HarmonyError, setVerifying } from "../base/index.ts";
import type { SimEnv } from "../env/sim/index.ts";
import { inspectWal, VoteFile, Wal, type WalItem } from "./index.ts";
import { batch, IDENTITY, Lab, matchingState } from "./testing/lab.ts";

setVerifying(true);

const STEP = Number(process.env["WAL_DAMAGE_STEP"] ?? 19);

/** Several groups, overwrites, several segments, a checkpoint, votes; then stopped in one of three ways. */
function stoppedLog(end: "close" | "idle" | "kill"): Lab {
  const lab = new Lab(1);
  const wal = lab.create();
  lab.run(
    VoteFile.create(
      lab.env,
      { directory: "data" },
      IDENTITY,
      new Map([[0, { term: 3, vote: 2, incarnation: 1 }]]),
    ),
  );
  lab.append(wal, [{ group: 4, entries: [], hardState: { term: 5, vote: 1, commit: 0 } }]);
  for (let i = 1; i <= 9; i++) {
    lab.append(wal, [
      batch(0, 1, i, i, { term: 1, vote: 7, commit: i - 1 }, 200),
      batch(2, i > 6 ? 2 : 1, i * 2 - 1, i * 2, null, 40),
    ]);
    if (i === 4) lab.release(wal, 0, 3);
    if (i === 6) lab.append(wal, [batch(2, 2, 10, 12)]);
  }
  if (end === "close") lab.run(wal.close());
  if (end === "idle") lab.idle(1200);
  lab.machine.kill();
  return lab;
}

function lookAt(machine: SimEnv, lab: Lab): WalItem[] {
  const items: WalItem[] = [];
  const env = machine.boot();
  lab.runOn(
    machine,
    inspectWal(env.files, "data", (item) => items.push(item)),
  );
  machine.kill();
  return items;
}

type Outcome = "refused" | "all there" | "last append lost";

function openDamaged(lab: Lab, machine: SimEnv, file: string): Outcome {
  const env = machine.boot();
  try {
    const { wal } = lab.runOn(machine, Wal.open(env, lab.options, IDENTITY, lab.starts));
    const shown = matchingState(wal, lab.states, lab.acknowledged - 1, lab.starts);
    return shown === lab.acknowledged ? "all there" : "last append lost";
  } catch (error) {
    if (!(error instanceof HarmonyError)) throw error;
    expect(["CORRUPT", "WRONG_CLUSTER"]).toContain(error.code);
    expect(error.message).toContain("data/wal/");
    if (error instanceof CorruptionError && error.damage.file === file)
      expect(error.damage.offset).toBeGreaterThanOrEqual(0);
    return "refused";
  }
}

describe("one flipped bit", { timeout: 30_000 }, () => {
  for (const end of ["close", "idle", "kill"] as const) {
    it(`in any segment of a log that ended by ${end}`, () => {
      const lab = stoppedLog(end);
      const frames = lookAt(lab.machine.fork(), lab).filter((item) => item.kind === "frame");
      const last = frames[frames.length - 1];
      const counts: Record<Outcome, number> = { refused: 0, "all there": 0, "last append lost": 0 };
      const paths = lab.machine.disk.paths().filter((path) => path.startsWith("data/wal/"));
      expect(paths.length).toBeGreaterThan(2);
      for (const [number, path] of paths.entries()) {
        const size = lab.machine.disk.contents(path).length;
        for (let offset = number % STEP; offset < size; offset += STEP) {
          const machine = lab.machine.fork();
          machine.disk.flipBit(path, offset, offset % 8);
          const outcome = openDamaged(lab, machine, path);
          counts[outcome]++;
          if (outcome !== "last append lost") continue;
          // The residual window: the very last frame of a log that had no second to prove it.
          expect(end, `${path} at ${offset}`).toBe("kill");
          expect(
            last?.kind === "frame" && last.file === path && offset >= last.offset,
            `${path} at ${offset}`,
          ).toBe(true);
        }
      }
      expect(counts.refused).toBeGreaterThan(30);
      expect(counts["all there"]).toBeGreaterThan(30);
      if (end === "kill") expect(counts["last append lost"]).toBeGreaterThan(0);
    });
  }

  it("in any frame with entries that a later one proves is refused, wherever in the frame it is", () => {
    const lab = stoppedLog("idle");
    const frames = lookAt(lab.machine.fork(), lab).filter((item) => item.kind === "frame");
    const data = frames.filter(
      (frame) =>
        frame.kind === "frame" && frame.records.some((record) => record.type === "entries"),
    );
    expect(data.length).toBeGreaterThan(5);
    for (const frame of data) {
      if (frame.kind !== "frame") continue;
      for (let at = 0; at < frame.frameBytes; at += 2 * STEP) {
        const machine = lab.machine.fork();
        machine.disk.flipBit(frame.file, frame.offset + at, at % 8);
        expect(openDamaged(lab, machine, frame.file), `${frame.file} at ${frame.offset + at}`).toBe(
          "refused",
        );
      }
    }
  });

  it("in the vote file leaves every group's vote readable, or says that it is lost", () => {
    const lab = stoppedLog("close");
    const size = lab.machine.disk.contents("data/VOTE").length;
    let lost = 0;
    for (let offset = 0; offset < size; offset += STEP) {
      const machine = lab.machine.fork();
      machine.disk.flipBit("data/VOTE", offset, offset % 8);
      const env = machine.boot();
      const votes = lab.runOn(machine, VoteFile.open(env, { directory: "data" }, IDENTITY));
      if (votes.lost) lost++;
      else expect(votes.read(0)).toEqual({ term: 3, vote: 2, incarnation: 1 });
    }
    expect(lost).toBeGreaterThan(5);
    expect(lost).toBeLessThan(60);
  });
});
