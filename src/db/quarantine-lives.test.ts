/** What a member in quarantine takes for the index that it is to be healed up to, with a replica that only listens. */
import { describe, expect, it } from "vitest";
import type { Io } from "../env/index.ts";
import { runIoNow, SimEnv } from "../env/sim/index.ts";
import type { LogIndex } from "../raft/index.ts";
import { Quarantine, type QuarantineConfig } from "./quarantine.ts";
import { DATA } from "./world.suite.ts";

function lives(): {
  readonly quarantine: Quarantine;
  readonly questions: ((index: LogIndex) => void)[];
  readonly fetched: LogIndex[];
  readonly machine: { appliedIndex: LogIndex };
  readonly pass: (ms: number) => void;
} {
  const machine = new SimEnv({ seed: 1 });
  const env = machine.boot();
  runIoNow(
    machine,
    (function* (): Io<void> {
      for (const path of [DATA, `${DATA}/tmp`]) yield (done) => env.files.mkdir(path, done);
    })(),
  );
  const questions: ((index: LogIndex) => void)[] = [];
  const fetched: LogIndex[] = [];
  let incarnation = 1;
  const replica = {
    group: 0,
    machine: { appliedIndex: 0 },
    raft: { id: 1, leader: 2, commit: 5, leadsForSure: false },
    stopped: null,
    quarantined: null,
    isRestoring: false,
    quarantine: () => {},
    readmit: () => {},
    askReadIndex: (done: (index: LogIndex) => void) => questions.push(done) > 0,
  };
  const config = {
    env,
    dataDir: DATA,
    host: { beginIncarnation: (_: number, done: (of: number) => void) => done(++incarnation) },
    replica,
    database: { quarantine: () => {}, hasAlarm: () => false },
    others: () => [2, 3],
    tell: () => {},
    fetch: (_: number, index: LogIndex) => fetched.push(index),
    begun: null,
    onFatal: (error: Error) => {
      throw error;
    },
  };
  const quarantine = new Quarantine(config as unknown as QuarantineConfig);
  quarantine.start();
  return {
    quarantine,
    questions,
    fetched,
    machine: replica.machine,
    pass: (ms) => machine.scheduler.runUntil(machine.scheduler.nowMs + ms),
  };
}

describe("a member in quarantine", () => {
  it("takes the first answer that will do, to whichever question of this life", () => {
    const { quarantine, questions, fetched, pass } = lives();
    quarantine.enter("damage");
    pass(2_100);
    expect(questions.length).toBeGreaterThan(3);
    // What is not beyond what is committed here no snapshot can cover.
    questions[0]?.(5);
    questions[2]?.(8);
    questions[1]?.(7);
    pass(600);
    expect([...new Set(fetched)]).toEqual([8]);
  });

  it("takes no answer to a question of the life before: it knows nothing of what was acknowledged since", () => {
    const { quarantine, questions, fetched, machine, pass } = lives();
    quarantine.enter("damage");
    pass(2_100);
    const before = [...questions];
    before[0]?.(8);
    machine.appliedIndex = 8;
    pass(1_100);
    expect(quarantine.stats).toEqual({ reason: null, entered: 1, healed: 1 });
    quarantine.enter("damage once more");
    pass(1_100);
    machine.appliedIndex = 0;
    fetched.length = 0;
    for (const answer of before.slice(1)) answer(9);
    pass(1_100);
    expect(fetched).toEqual([]);
    questions.at(-1)?.(12);
    pass(600);
    expect([...new Set(fetched)]).toEqual([12]);
  });
});
