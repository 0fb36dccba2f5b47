/**
 * What a leader knows of one member's log, and what it may send next.
 *
 *            append refused, or the member came back with less,
 *            or it cannot be reached
 *        +---------------------------------------------------+
 *        v                                                   |
 *     probe  ---------- append accepted ---------------->  replicate
 *   one append,                                        appends are sent ahead of
 *   then wait for                                      the answers, as far as the
 *   an answer                                          window (Inflights) allows
 *      |  ^                                                  ^
 *      |  | it did not arrive                                |
 *      v  |                                                  |
 *    snapshot ------ it arrived, or the member holds --------+
 *   nothing else is sent          enough without it
 *
 * It arrived means that the member's host has it, not that it is installed: the appends that follow it are on their
 * way while the member still writes it.
 */
import { assert } from "../../base/index.ts";
import type { LogIndex } from "../types.ts";
import { Inflights } from "./inflights.ts";

export type ProgressState = "probe" | "replicate" | "snapshot";

/**
 * Invariants: match < next. Everything up to match is durable at the member and equal to the leader's log. In state
 * `replicate` the entries from match + 1 to next - 1 are on their way. In state `snapshot` next follows the snapshot.
 */
export class Progress {
  match: LogIndex = 0;
  next: LogIndex;
  state: ProgressState = "probe";
  isLearner: boolean;
  readonly inflights: Inflights;
  /** The member answered anything since the last CheckQuorum. */
  recentActive = false;
  /** It had before that, since the CheckQuorum before the last: right after one nobody has answered since. */
  wasActive = false;
  /** The highest commit that the messages sent so far let the member reach. */
  sentCommit: LogIndex = 0;
  /** A probe is on its way and the next one waits for an answer of any kind. */
  probeSent = false;
  /** An append is wanted even without entries, to learn whether something on the way was lost. */
  pokeDue = false;
  /** It does not even hold the last entry that is compacted here, so no append can serve it. */
  needsSnapshot = false;
  /** The index of the snapshot that is on its way; 0 when none is. */
  pendingSnapshot: LogIndex = 0;

  constructor(next: LogIndex, isLearner: boolean, inflights: Inflights) {
    this.next = next;
    this.isLearner = isLearner;
    this.inflights = inflights;
  }

  becomeProbe(): void {
    this.state = "probe";
    this.next = this.match + 1;
    this.#forgetWhatWasSent();
  }

  becomeReplicate(): void {
    this.state = "replicate";
    this.next = this.match + 1;
    this.#forgetWhatWasSent();
  }

  /**
   * What it may need next is compacted, which does not say that the member lacks it: the leader may only not know.
   * It is asked about the last entry that is gone.
   */
  probeFrom(firstIndex: LogIndex): void {
    assert(this.next < firstIndex, "a probe is raised to where the log begins");
    this.state = "probe";
    this.next = firstIndex;
    this.#forgetWhatWasSent();
  }

  becomeSnapshot(index: LogIndex): void {
    assert(index > this.match, "a snapshot brings what the member lacks");
    this.state = "snapshot";
    this.next = index + 1;
    this.#forgetWhatWasSent();
    this.pendingSnapshot = index;
    this.needsSnapshot = false;
  }

  /** The snapshot has arrived, or will not. False when none is on its way. */
  snapshotReported(hasArrived: boolean): boolean {
    if (this.state !== "snapshot") return false;
    const { next } = this;
    if (hasArrived) {
      this.becomeReplicate();
      this.next = Math.max(next, this.next);
    } else {
      this.becomeProbe();
      // Not at once again: what kept it from arriving may last.
      this.probeSent = true;
    }
    return true;
  }

  /** It refused that, too, and there is no snapshot yet. It is asked again at each heartbeat. */
  waitForSnapshot(): void {
    this.needsSnapshot = true;
    this.probeSent = true;
  }

  /** The member started a new life in which it may hold less than it acknowledged before. */
  restart(lastIndex: LogIndex): void {
    this.match = 0;
    this.state = "probe";
    this.next = lastIndex + 1;
    this.#forgetWhatWasSent();
  }

  /** The member holds everything up to `index`. False when that was known. */
  acknowledged(index: LogIndex): boolean {
    if (index <= this.match) return false;
    this.match = index;
    if (this.next <= index) this.next = index + 1;
    this.probeSent = false;
    this.needsSnapshot = false;
    return true;
  }

  /**
   * The member refused an append whose previous entry was `rejected`; the logs can agree at `hint` at the latest.
   * False when the refusal answers a message that later answers have overtaken.
   */
  refused(rejected: LogIndex, hint: LogIndex): boolean {
    if (this.state === "snapshot") return false;
    if (this.state === "replicate") {
      if (rejected <= this.match) return false;
      this.becomeProbe();
      return true;
    }
    // Only the newest probe counts: its previous entry stands directly before `next`.
    if (this.next - 1 !== rejected) return false;
    this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
    this.probeSent = false;
    return true;
  }

  /** An append left that carried `count` entries of `sizeBytes` in all, and the leader's commit. */
  sent(count: number, sizeBytes: number, commit: LogIndex): void {
    this.pokeDue = false;
    this.sentCommit = Math.min(commit, this.next - 1 + count);
    if (this.state === "probe") {
      this.probeSent = true;
      return;
    }
    if (count === 0) return;
    this.next += count;
    this.inflights.add(this.next - 1, sizeBytes);
  }

  /** Whether entries may be sent now, if there are any. */
  mayCarryEntries(): boolean {
    if (this.state === "snapshot") return false;
    return this.state === "probe" ? !this.probeSent : !this.inflights.full();
  }

  /** Whether an append is worth sending, for a log that ends at `lastIndex` and is committed up to `commit`. */
  appendDue(lastIndex: LogIndex, commit: LogIndex): boolean {
    if (this.state === "probe") return !this.probeSent;
    if (this.state === "snapshot") return false;
    if (this.pokeDue) return true;
    if (this.next <= lastIndex && !this.inflights.full()) return true;
    return this.sentCommit < Math.min(commit, this.next - 1);
  }

  invariants(): void {
    assert(this.match < this.next, "match < next");
    assert(
      this.state === "probe" || this.sentCommit < this.next,
      "a member is told of no commit beyond what it was sent",
    );
    assert(
      this.state === "replicate" || this.inflights.count === 0,
      "only a member that replicates uses the window",
    );
    assert(
      (this.state === "snapshot") === this.pendingSnapshot > 0 &&
        (this.state !== "snapshot" || this.next > this.pendingSnapshot),
      "a snapshot is on its way exactly in the state of that name, and next follows it",
    );
  }

  #forgetWhatWasSent(): void {
    this.inflights.reset();
    this.probeSent = false;
    this.pokeDue = false;
    this.pendingSnapshot = 0;
    this.sentCommit = Math.min(this.sentCommit, this.match);
  }
}
