import { describe, expect, it } from "vitest";
import { SimEnv } from "../env/sim/index.ts";
import { HarmonyError } from "../base/index.ts";
import { Calls } from "./calls.ts";

function world(timeoutMs: number) {
  const machine = new SimEnv({ seed: 1 });
  const calls = new Calls(machine.boot(), timeoutMs);
  const answers: string[] = [];
  const reply = (error: HarmonyError | null, value: string): void => {
    answers.push(
      error === null
        ? value
        : `${error.code} maybe=${error.maybeApplied} at ${machine.scheduler.nowMs}`,
    );
  };
  const run = (): void => {
    while (machine.scheduler.step());
  };
  return { calls, answers, reply, run };
}

describe("calls that wait", () => {
  it("are answered once, by what comes first", () => {
    const { calls, answers, reply, run } = world(1000);
    const call = calls.open({}, reply);
    call.settle(null, "first");
    call.settle(null, "second");
    run();
    expect(answers).toEqual(["first"]);
  });

  it("time out within a tenth of a second after their time, and say whether the write may still happen", () => {
    const { calls, answers, reply, run } = world(1000);
    calls.open({}, reply).withdraw = () => true;
    calls.open({}, reply).withdraw = () => false;
    run();
    expect(answers).toEqual(["TIMEOUT maybe=false at 1000", "TIMEOUT maybe=true at 1000"]);
  });

  it("may have a time of their own, shorter or longer", () => {
    const { calls, answers, reply, run } = world(1000);
    calls.open({ timeoutMs: 5000 }, reply);
    calls.open({ timeoutMs: 10 }, reply);
    run();
    expect(answers).toEqual(["TIMEOUT maybe=false at 10", "TIMEOUT maybe=false at 5000"]);
  });

  it("end at once when the caller aborts, before and after they began", () => {
    const { calls, answers, reply, run } = world(1000);
    const late = new AbortController();
    calls.open({ signal: late.signal }, reply);
    late.abort();
    calls.open({ signal: AbortSignal.abort() }, reply);
    run();
    expect(answers).toEqual(["ABORTED maybe=false at 0", "ABORTED maybe=false at 0"]);
  });

  it("leave no timer behind when all are answered", () => {
    const { calls, reply, run, answers } = world(1000);
    for (let i = 0; i < 1000; i++) calls.open({}, reply).settle(null, "ok");
    run();
    expect(answers.length).toBe(1000);
  });
});
