/**
 * What a start must make of a directory that something has happened to: what the log still proves must be there, what
 * it does not prove may be lost when it is damaged itself, and what can be made anew keeps no start from succeeding.
 */
import { type Io, runIo } from "../src/env/index.ts";
import { SimEnv } from "../src/env/sim/index.ts";
import { drive } from "./node-driver.ts";
import type { Done } from "./storage-damage.ts";
import type { Handed, Knowledge } from "./storage-judge.ts";
import { lastIndexOf, type LogState } from "./storage-model.ts";
import { proofOf } from "./storage-proof.ts";
import { fileClassOf } from "./storage-steps.ts";
import { closeStorage, createStorage, type StorageOptions } from "./storage.ts";

const FOREIGN_MEMBER_ID = 43;

/** How far the log was durable when an answer came, and the state then. */
export interface Answered {
  readonly lsn: number;
  readonly state: LogState;
}

export interface Verdict {
  /** To refuse would be a failure. */
  readonly mustOpen: boolean;
  /** What differs from what is known without the damage. */
  readonly known: Partial<Pick<Knowledge, "acknowledged" | "handed">>;
  /** States that lack something acknowledged. */
  readonly unproven: readonly LogState[];
}

/** What was known before the damage. */
export interface Before extends Pick<Knowledge, "acknowledged" | "handed" | "trees"> {
  /** Those of the last life, in their order. */
  readonly answers: readonly Answered[];
}

/**
 * The batch that stands behind the proof may be lost, when it is damaged itself: it looks like a write that was cut
 * short, and then it must not keep a start from succeeding either. That is the residual case of docs/reliability.md.
 */
export function verdictOf(
  damaged: SimEnv,
  { path, places, what, isRot }: Done,
  { acknowledged, handed, trees, answers }: Before,
): Verdict {
  const isBytes = places.length > 0;
  const kind = fileClassOf(path);
  // Both can be made anew from the log and the data files (D21).
  const isSpare = kind === "manifest" || kind === "votes";
  const certain: Verdict = {
    mustOpen: isSpare && (isRot || what.endsWith("is missing")),
    known: {},
    unproven: [],
  };
  const proof = kind === "log" && isBytes ? proofOf(damaged) : null;
  if (proof === null || proof.path !== path) return certain;
  const { firstLsn, provenLsn } = proof;
  if (places.every(([, to]) => firstLsn + to <= provenLsn)) return certain;
  const from = answers.findLastIndex(({ lsn }) => lsn <= provenLsn);
  const open = answers.slice(from + 1);
  const base = answers[from]?.state ?? acknowledged;
  return {
    // A checkpoint proves what it holds.
    mustOpen:
      isRot &&
      places.every(([at]) => firstLsn + at >= provenLsn) &&
      [...trees].every(([group, { begunIndex }]) => begunIndex <= lastIndexOf(base.of(group))),
    known: {
      acknowledged: base,
      handed: [...open.map(({ state }): Handed => ({ batch: [], after: state })), ...handed],
    },
    unproven: open
      .slice(0, -1)
      .map(({ state }) => state)
      .concat(open.length > 0 ? [base] : []),
  };
}

/** The directory of another node, closed in order. */
export function strangerOf(seed: number, storage: StorageOptions): SimEnv {
  const machine = new SimEnv({ seed: seed });
  const env = machine.boot();
  const options = { ...storage, memberId: FOREIGN_MEMBER_ID };
  let isOver = false;
  const steps = function* (): Io<void> {
    yield* closeStorage(yield* createStorage(env, options));
  };
  runIo(steps(), (error) => {
    if (error !== null) throw error as Error;
    isOver = true;
  });
  drive(machine, "another node's start", () => isOver);
  machine.halt();
  return machine;
}
