/**
 * The life of a serving process: start, ready line, signals, end. It knows nothing of what is served, so each way to
 * end can be tested without a database.
 *
 *     starting ──ready──▶ serving ──signal──▶ stopping ──▶ exit 0
 *        │                   │                   └ second signal: exit 130 or 143 at once
 *        └ refused: 1, 70, 74└ fatal: 70, 74, 134
 */
import type { LogSink } from "../env/index.ts";
import { type Ending, endingOf, Exit, runningEndingOf } from "./exit.ts";

/** What a start found, as the ready line says it (requirements S4-50). */
export interface RecoveryLine {
  readonly snapshotLoaded: boolean;
  readonly snapshotEntries: number;
  readonly walEntriesReplayed: number;
  readonly corruptedEntries: number;
  readonly durationMs: number;
}

export interface RunningNode {
  readonly recovery: RecoveryLine;
  onFatal(listener: (error: unknown) => void): void;
  close(): Promise<void>;
}

export interface RunningServer {
  /** What it listens on, with real ports. */
  readonly addresses: readonly string[];
  /** Where other members are listened for; absent or empty: nowhere. */
  readonly peers?: readonly string[];
  /** Where health and metrics are told; absent or empty: nowhere. */
  readonly metrics?: readonly string[];
  /** Takes no more connections, lets requests finish for `graceMs`, then ends them. */
  close(graceMs: number): Promise<void>;
}

export type StopSignal = "SIGINT" | "SIGTERM";

/** The process as the lifecycle sees it. */
export interface Host {
  readonly log: LogSink;
  readyLine(line: string): void;
  onSignal(listener: (signal: StopSignal) => void): void;
  onUncaught(listener: (error: unknown) => void): void;
  after(delayMs: number, fire: () => void): void;
  /** Ends the process. Called once or more; the first call counts. */
  exit(code: number): void;
}

export interface LifecycleOptions {
  readonly name: string;
  readonly dataDir: string;
  /** For requests that are under way. */
  readonly shutdownTimeoutMs: number;
  readonly warnings: readonly string[];
}

export interface Parts<N extends RunningNode> {
  startNode(): Promise<N>;
  serve(node: N): Promise<RunningServer>;
}

/** Beyond the grace for requests, what the last sync may take before the process ends without it. */
const CLOSE_TIMEOUT_MS = 1_500;

const SIGNAL_EXIT: Readonly<Record<StopSignal, number>> = { SIGINT: 130, SIGTERM: 143 };

/** Starts everything and returns once the process serves or has been told to exit. */
export async function runServer<N extends RunningNode>(
  options: LifecycleOptions,
  parts: Parts<N>,
  host: Host,
): Promise<void> {
  const { log } = host;
  let stage: "starting" | "serving" | "stopping" | "ended" = "starting";
  let node: N | null = null;
  let server: RunningServer | null = null;

  const end = (ending: Ending): void => {
    if (stage === "ended") return;
    stage = "ended";
    log("error", "serve", ending.message, { exitCode: ending.exit, advice: ending.advice });
    host.exit(ending.exit);
  };

  const stop = async (signal: StopSignal): Promise<void> => {
    stage = "stopping";
    log("info", "serve", "stopping", { signal, graceMs: options.shutdownTimeoutMs });
    host.after(options.shutdownTimeoutMs + CLOSE_TIMEOUT_MS, () => {
      end({
        exit: Exit.disk,
        message: "the node did not close in time",
        advice: "what was acknowledged is durable; look whether the disk answers, and start again",
      });
    });
    try {
      await server?.close(options.shutdownTimeoutMs);
      await node?.close();
    } catch (error) {
      end(runningEndingOf(error, options.dataDir));
    }
    if (stage !== "stopping") return;
    stage = "ended";
    log("info", "serve", "stopped");
    host.exit(Exit.ok);
  };

  host.onSignal((signal) => {
    if (stage === "serving") void stop(signal);
    else if (stage === "starting") {
      // A crash at any point of a recovery is survived, so there is nothing to wait for and nobody to answer.
      stage = "ended";
      log("info", "serve", "stopped before the start was complete", { signal });
      host.exit(Exit.ok);
    } else if (stage === "stopping") {
      stage = "ended";
      log("warn", "serve", "stopped at once by a second signal", { signal });
      host.exit(SIGNAL_EXIT[signal]);
    }
  });
  host.onUncaught((error) => end(defectEnding(error, options.dataDir)));

  for (const warning of options.warnings) log("warn", "config", warning);
  try {
    node = await parts.startNode();
    node.onFatal((error) => end(runningEndingOf(error, options.dataDir)));
    server = await parts.serve(node);
  } catch (error) {
    const failed = endingOf(error, options.dataDir);
    await node
      ?.close()
      .catch((closeError: unknown) =>
        log("warn", "serve", "closing failed", { error: closeError }),
      );
    end(failed);
    return;
  }
  // A signal or a fatal error may have come while it started: then nobody is told that it is ready.
  if (currentStage() !== "starting") return;
  stage = "serving";
  const { recovery } = node;
  host.readyLine(
    JSON.stringify({
      ready: true,
      name: options.name,
      client: server.addresses,
      recovery: {
        snapshotLoaded: recovery.snapshotLoaded,
        snapshotEntries: recovery.snapshotEntries,
        walEntriesReplayed: recovery.walEntriesReplayed,
        corruptedEntries: recovery.corruptedEntries,
        durationMs: recovery.durationMs,
      },
      ...(isSome(server.peers) ? { peer: server.peers } : {}),
      ...(isSome(server.metrics) ? { metrics: server.metrics } : {}),
    }),
  );
  log("info", "serve", "ready", { name: options.name, client: server.addresses });

  function currentStage(): string {
    return stage;
  }
}

function isSome(list: readonly string[] | undefined): boolean {
  return list !== undefined && list.length > 0;
}

/** Whatever was thrown where nobody caught it: the state of the process is unknown, so it is never "refused". */
function defectEnding(error: unknown, dataDir: string): Ending {
  const ending = runningEndingOf(error, dataDir);
  return ending.exit === Exit.refused ? { ...ending, exit: Exit.defect } : ending;
}
