/** A thread of a sweep: runs its share of the seeds and reports. */
import { parentPort, workerData } from "node:worker_threads";
import { sweep, type SweepPlan, type SweepTotals } from "./sweep.ts";

export interface WorkerReport {
  readonly totals: readonly SweepTotals[];
}

const PROGRESS_EVERY_MS = 250;

const port = parentPort;
if (port !== null) {
  const { plan } = workerData as { readonly plan: SweepPlan };
  let reportedMs = 0;
  const totals = sweep(plan, (soFar) => {
    if (performance.now() - reportedMs < PROGRESS_EVERY_MS) return;
    reportedMs = performance.now();
    // Failures are large and come with the last report.
    port.postMessage({ totals: soFar.map(withoutScripts) } satisfies WorkerReport);
  });
  port.postMessage({ totals } satisfies WorkerReport);
}

function withoutScripts(totals: SweepTotals): SweepTotals {
  const failures = totals.failures.map(({ seed, failure }) => ({
    seed,
    failure: { ...failure, options: null, script: null, lines: [] },
  }));
  return { ...totals, failures };
}
