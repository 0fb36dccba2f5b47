/**
 * The whole enumeration: every scenario, every file operation, every legal outcome. The scenarios are given out one
 * after another to as many threads as are wanted.
 */
import { SCENARIOS } from "./enumerate.ts";
import type { RunResult } from "./result.ts";
import { startThread } from "./threads.ts";

/** What a thread is asked: the number of a scenario. Undefined: there is nothing more to do. */
export type ScenarioNumber = number | undefined;

/** `report` hears of each scenario when it is done. */
export async function runExhaustive(
  workers: number,
  report: (result: RunResult, name: string) => void,
): Promise<void> {
  const numbers = SCENARIOS.keys();
  await Promise.all(
    Array.from(
      { length: Math.min(workers, SCENARIOS.length) },
      () =>
        new Promise<void>((resolve, reject) => {
          const thread = startThread(new URL("./exhaustive-worker.js", import.meta.url), null);
          const giveNext = (): void => thread.postMessage(numbers.next().value as ScenarioNumber);
          thread.on("message", (result: RunResult) => {
            report(result, SCENARIOS[result.seed]?.name ?? "");
            giveNext();
          });
          thread.on("error", reject);
          thread.on("exit", () => resolve());
          giveNext();
        }),
    ),
  );
}
