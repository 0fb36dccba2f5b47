/** What holds of a replica between any two inputs (raft.ts): stops where it does not. */
import { assert } from "../base/index.ts";
import type { RaftLog } from "./raft-log.ts";
import type { Role } from "./ready.ts";
import type { Tracker } from "./tracker/tracker.ts";
import type { NodeId, Term } from "./types.ts";

interface Replica {
  readonly id: NodeId;
  readonly term: Term;
  readonly vote: NodeId;
  readonly leader: NodeId;
  readonly role: Role;
  readonly transferee: NodeId;
  readonly isQuarantined: boolean;
  readonly log: RaftLog;
  readonly tracker: Tracker;
}

export function assertReplica(
  replica: Replica,
  inner: {
    readonly electionTimeout: number;
    readonly electionTicks: number;
  },
): void {
  const { id, term, vote, leader, role, transferee, log, tracker } = replica;
  log.invariants();
  assert(log.lastTerm <= term, "no entry is of a later term than the replica's");
  assert((role === "leader") === (leader === id), "a leader knows that it leads");
  assert(role === "leader" || tracker.progress.size === 0, "only a leader tracks progress");
  assert(role === "follower" || tracker.voters.has(id), "only a voter leads or wants to");
  assert(role === "leader" || transferee === 0, "only a leader hands over");
  assert(role === "follower" || !replica.isQuarantined, "quarantine is no time to lead");
  if (role === "leader" || role === "candidate") {
    assert(vote === id, "who stands for election votes for itself");
  }
  for (const [member, progress] of tracker.progress) {
    progress.invariants();
    assert(progress.match <= log.lastIndex, "nobody acknowledges more than there is");
    assert(
      member !== id || progress.match === log.stableIndex,
      "the leader's own match is what is durable here",
    );
  }
  assert(
    inner.electionTimeout >= inner.electionTicks && inner.electionTimeout < 2 * inner.electionTicks,
    "election timeouts lie between one and two times electionTicks",
  );
}
