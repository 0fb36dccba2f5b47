/** A command on its way through the group's log. */
import { type ErrorCode, ERRORS, HarmonyError } from "../base/index.ts";
import type { ProposeRefusal } from "../raft/index.ts";

export type ProposeReply<Result> = (error: HarmonyError | null, result: Result | undefined) => void;

/** A command on its way. */
export class Proposal<Result> {
  readonly command: Uint8Array;
  /** May use the room that is kept for deletes, compaction and the like when the disk is full. */
  readonly reserve: boolean;
  /** The command is an encoded change of the configuration, and gets an entry of its own. */
  readonly isConfChange: boolean;
  reply: ProposeReply<Result> | null;
  /** It may be in somebody's log. */
  isProposed = false;
  /** Which of all that came to this replica. */
  number = 0;

  constructor(
    command: Uint8Array,
    reserve: boolean,
    reply: ProposeReply<Result>,
    isConfChange: boolean = false,
  ) {
    this.command = command;
    this.reserve = reserve;
    this.reply = reply;
    this.isConfChange = isConfChange;
  }

  /**
   * Nobody waits for the answer any more. True: it was not proposed yet and never will be. False: it may still be
   * applied.
   */
  cancel(): boolean {
    this.reply = null;
    return !this.isProposed;
  }

  settle(error: HarmonyError | null, result: Result | undefined): void {
    const reply = this.reply;
    this.reply = null;
    reply?.(error, result);
  }
}

/**
 * Those that wait, and among them those that wait again. A leader may give back one by one what it was handed in one
 * message: each takes the place that it had among all, or they would be proposed in the reversed order.
 */
export function withThoseAgain<Result>(
  waiting: readonly Proposal<Result>[],
  again: readonly Proposal<Result>[],
): Proposal<Result>[] {
  const first = again[0]?.number ?? 0;
  const at = waiting.findIndex(({ number }) => number > first);
  if (at < 0) return waiting.concat(again);
  return waiting.slice(0, at).concat(again, waiting.slice(at));
}

/** What a leader refuses for good. After everything else that it may say the command is handed over once more. */
export const FINAL_DECLINES: ReadonlyMap<string, ErrorCode> = new Map(
  (
    [
      "DISK_FULL",
      "TOO_MANY_REQUESTS",
      "INVALID_ARGUMENT",
      "MEMBER_NOT_FOUND",
      "MEMBER_EXISTS",
      "PEER_URL_EXISTS",
      "MEMBER_NOT_LEARNER",
      "TOO_MANY_LEARNERS",
      "LEARNER_NOT_READY",
      "MEMBERS_NOT_STARTED",
      "CLUSTER_UNHEALTHY",
      "STAYS_ALONE",
    ] as const
  ).map((code) => [code, code]),
);

/** A change of the configuration that Raft refuses so can be proposed in a moment. */
export const PASSING_REFUSALS: ReadonlySet<ProposeRefusal> = new Set<ProposeRefusal>([
  "no-leader",
  "not-leader",
  "uncommitted-full",
  "transferring",
  "conf-change-pending",
  "already-joint",
]);

/** The same error, saying of the write that it may have happened, or that it certainly has not. */
export function withDoubt(error: HarmonyError, maybeApplied: boolean): HarmonyError {
  if (error.maybeApplied === maybeApplied) return error;
  const { code, message } = error;
  const { summary } = ERRORS[code];
  const detail = message.startsWith(`${summary}: `) ? message.slice(summary.length + 2) : undefined;
  return new HarmonyError(code, detail, { maybeApplied, cause: error.cause ?? error });
}
