/** A command on its way through the group's log. */
import type { HarmonyError } from "../base/index.ts";

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
