/** What can happen to a node, as plain data (play.ts): who plays a list of these plays the run. */
import type { RangeRequest, RequestId, TxnRequest, WatchRequest } from "../src/db/index.ts";
import type { CrashMode } from "../src/env/sim/index.ts";
import type { ModelRequest } from "./model.ts";

/** The process ends right before or after its n-th file operation from now, counted among those on `files`. */
export interface Halt {
  readonly after: number;
  readonly moment: "before" | "after";
  readonly files: FileClass;
}

/** "state": everything that must hold what was acknowledged: log, votes, data file. */
export type FileClass = "any" | "data" | "state";

/**
 * What the power leaves. "ragged": of each file the first changes and a part of the next one, of any length down to a
 * few bytes, so that headers and metas are torn as often as the pages behind them.
 */
export type PowerLoss = CrashMode | "ragged";

export type NodeStep =
  /** A process starts and opens the directory; what it finds is compared with the oracle. */
  | { readonly do: "open"; readonly halt: Halt | null }
  /** `prove`: when it is acknowledged, what is durable at that moment must hold it. `timeoutMs` null: the node's own. */
  | {
      readonly do: "write";
      readonly request: ModelRequest;
      /** It happens once for its id. Null: it has none. */
      readonly id?: RequestId | null;
      readonly timeoutMs: number | null;
      readonly prove: boolean;
    }
  | { readonly do: "read"; readonly request: RangeRequest | TxnRequest }
  /** How long has this lease to live? */
  | { readonly do: "lease"; readonly id: bigint }
  /** Somebody begins to watch; `startRevision` below 0: goes on where the watcher of this number was. */
  | { readonly do: "watch"; readonly watcher: number; readonly request: WatchRequest }
  | { readonly do: "take"; readonly watcher: number; readonly maxBytes: number }
  | { readonly do: "unwatch"; readonly watcher: number }
  /** Everything is read, and nothing is there that was due long ago. */
  | { readonly do: "overdue" }
  /** Time passes until at most so many calls wait for their answer. */
  | { readonly do: "await"; readonly atMost: number }
  | { readonly do: "pass"; readonly forMs: number }
  /** The machine stands still; then everything that became due comes at once. */
  | { readonly do: "pause"; readonly forMs: number }
  /** Somebody sets the wall clock: so far from the true time. */
  | { readonly do: "skew"; readonly wallMs: number }
  | { readonly do: "checkpoint" }
  | { readonly do: "halt"; readonly halt: Halt | null }
  /** After `skip` others an operation on the state fails. */
  | {
      readonly do: "fail";
      readonly operation: "write" | "sync";
      readonly files: FileClass;
      readonly error: string;
      readonly skip: number;
    }
  /** After `skip` others so many writes and syncs take longer; `delayMs` null: they are stuck until the machine dies. */
  | {
      readonly do: "slow";
      readonly skip: number;
      readonly times: number;
      readonly delayMs: number | null;
    }
  /** Failing, slow and stuck operations end. */
  | { readonly do: "heal" }
  | { readonly do: "full"; readonly spareBytes: number }
  | { readonly do: "room" }
  /** The process dies, or the power fails; what survives of the latter follows from `seed`. */
  | { readonly do: "crash"; readonly how: "kill" | PowerLoss; readonly seed: number }
  | { readonly do: "close"; readonly halt: Halt | null }
  /** A bit changes in a copy of a directory that was closed: refused, or without effect. Numbers are taken modulo. */
  | {
      readonly do: "rot";
      readonly file: number;
      readonly place: number;
      readonly bit: number;
    };

/** Steps that say less, for the shrinking of a failure. */
export function simplerNodeSteps(step: NodeStep): NodeStep[] {
  switch (step.do) {
    case "open":
    case "close":
      return step.halt === null ? [] : [{ ...step, halt: null }];
    case "write": {
      const out: NodeStep[] = [];
      if (step.prove) out.push({ ...step, prove: false });
      if ((step.id ?? null) !== null) out.push({ ...step, id: null });
      if (step.timeoutMs !== null) out.push({ ...step, timeoutMs: null });
      if (step.request.kind === "txn")
        for (const op of [...step.request.success, ...step.request.failure])
          if (op.kind === "put" || op.kind === "deleteRange") out.push({ ...step, request: op });
      return out;
    }
    case "pass":
    case "pause":
      return step.forMs <= 1 ? [] : [{ ...step, forMs: Math.floor(step.forMs / 2) }];
    case "crash":
      return step.how === "kill" || step.how === "lose-all" ? [] : [{ ...step, how: "lose-all" }];
    case "await":
    case "checkpoint":
    case "fail":
    case "full":
    case "halt":
    case "heal":
    case "lease":
    case "overdue":
    case "read":
    case "room":
    case "rot":
    case "skew":
    case "slow":
    case "take":
    case "unwatch":
    case "watch":
      return [];
  }
}
