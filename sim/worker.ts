/** A thread of a sweep: runs its share of the seeds and reports. */
import { parentPort, workerData } from "node:worker_threads";
import { sweep, type SweepPlan, type SweepTotals } from "./sweep.ts";

export type WorkerReport =
  | { readonly kind: "progress"; readonly totals: SweepTotals }
  | { readonly kind: "done"; readonly totals: SweepTotals };

const PROGRESS_EVERY_MS = 250;

const port = parentPort;
if (port !== null) {
  // Each thread has a clock of its own, so the plan says how long, not until when.
  const { plan, forMs } = workerData as { readonly plan: SweepPlan; readonly forMs: number };
  let reportedMs = 0;
  const totals = sweep({ ...plan, untilMs: performance.now() + forMs }, (soFar) => {
    if (performance.now() - reportedMs < PROGRESS_EVERY_MS) return;
    reportedMs = performance.now();
    port.postMessage({ kind: "progress", totals: soFar } satisfies WorkerReport);
  });
  port.postMessage({ kind: "done", totals } satisfies WorkerReport);
}
