/** How the commands that wait become entries: in their order, as many to an entry as one may hold. */
import { batchSizeBytes } from "./batch.ts";
import type { Proposal } from "./proposal.ts";

/**
 * What one entry holds at most, since it is applied without a pause: a larger single command travels alone. A frame takes
 * as many entries as there are, so smaller ones cost the disk nothing.
 */
const BATCH_BYTES_MAX: number = 128 * 1024;
const BATCH_COMMANDS_MAX = 1_000;

export class Packing<Result> {
  readonly #waiting: readonly Proposal<Result>[];
  readonly #isShort: boolean;
  #taken = 0;
  /** For the next entry. */
  proposals: Proposal<Result>[] = [];
  commands: Uint8Array[] = [];
  bytes = 0;
  /** Of commands that no entry takes: nobody waits for them any more, or they are refused. */
  droppedBytes = 0;
  /** They take room, and there is none. */
  readonly refused: Proposal<Result>[] = [];
  /** They get entries of their own. */
  readonly confChanges: Proposal<Result>[] = [];

  /** `isShort`: only what frees room is taken. */
  constructor(waiting: readonly Proposal<Result>[], isShort: boolean) {
    this.#waiting = waiting;
    this.#isShort = isShort;
  }

  /** Fills the next entry. False: nothing is left for one. */
  next(): boolean {
    this.proposals = [];
    this.commands = [];
    this.bytes = 0;
    for (; this.#taken < this.#waiting.length; this.#taken++) {
      const proposal = this.#waiting[this.#taken] as Proposal<Result>;
      const size = proposal.command.length;
      if (proposal.reply === null) this.droppedBytes += size;
      else if (proposal.isConfChange) this.confChanges.push(proposal);
      else if (this.#isShort && !proposal.reserve) {
        this.droppedBytes += size;
        this.refused.push(proposal);
      } else if (this.#fits(size)) {
        this.proposals.push(proposal);
        this.commands.push(proposal.command);
        this.bytes += size;
      } else break;
    }
    return this.commands.length > 0;
  }

  #fits(size: number): boolean {
    const count = this.commands.length;
    if (count === 0) return true;
    if (count === BATCH_COMMANDS_MAX) return false;
    return batchSizeBytes(count + 1, this.bytes + size) <= BATCH_BYTES_MAX;
  }

  /** What waits for a later turn. `isRefused`: the last entry could not be proposed, and what it holds keeps its place. */
  rest(isRefused: boolean): Proposal<Result>[] {
    const later = this.#waiting.slice(this.#taken);
    return isRefused ? this.proposals.concat(later) : later;
  }
}
