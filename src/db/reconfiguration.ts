/**
 * Whether a leader proposes a change of the members now: what depends on who is started, connected and caught up, and
 * so cannot be judged where the entry is applied. The rules are etcd's strict reconfiguration checks, and one more: a
 * change after which no majority would be connected is refused, whichever it is (fault-rules R10, R11).
 */
import type { ErrorCode } from "../base/index.ts";
import type { MemberRecord } from "../mvcc/index.ts";
import type { ConfChangeV2, NodeId, RawNode } from "../raft/index.ts";
import { decodeMemberChange, type MemberChange, refusalOfChange } from "./member-changes.ts";
import type { Roster } from "./roster.ts";
import type { KvStateMachine } from "./state-machine.ts";

export interface Reconfiguration {
  readonly machine: () => KvStateMachine;
  readonly raft: RawNode;
  readonly roster: Roster;
  readonly self: NodeId;
  /** There are links to it and from it. */
  readonly isLinked: (member: NodeId) => boolean;
  /** Why no other member can be beside this one; null when others can. */
  readonly staysAlone: boolean;
  readonly learnersMax: number;
  /** Within so many ticks a leader hears of every member that is there, or does not lead any more (CheckQuorum). */
  readonly electionTicks: number;
}

/** What a learner may lack of the leader's log to be promoted, in entries and as a part of all. */
const LAG_ENTRIES_MAX = 1000;
const LAG_PART_MAX = 0.1;

/** What is refused so because nothing was heard of a member, which may be only because this leader is new. */
const OF_WHO_IS_SILENT: ReadonlySet<ErrorCode> = new Set([
  "CLUSTER_UNHEALTHY",
  "LEARNER_NOT_READY",
]);

export function judgeChange(
  of: Reconfiguration,
  confChange: ConfChangeV2,
  ledTicks: number,
): ErrorCode | "NOT_YET" | null {
  const refused = judge(of, confChange);
  const isNew = ledTicks < of.electionTicks;
  return isNew && refused !== null && OF_WHO_IS_SILENT.has(refused) ? "NOT_YET" : refused;
}

function judge(of: Reconfiguration, confChange: ConfChangeV2): ErrorCode | null {
  const change = decodeMemberChange(confChange);
  if (change === null) return "INVALID_ARGUMENT";
  const refused = refusalOfChange(of.machine().members, change);
  if (refused !== null) return refused;
  switch (change.kind) {
    case "memberAdd":
      return judgeAddition(of, change.member);
    case "memberRemove":
      return judgeRemoval(of, change.id);
    case "memberPromote":
      return judgePromotion(of, change.id);
    case "memberReplace":
      return judgeReplacement(of, change);
    case "memberUpdate":
      return null;
  }
}

function judgeAddition(of: Reconfiguration, member: MemberRecord): ErrorCode | null {
  if (of.staysAlone) return "STAYS_ALONE";
  if (member.isLearner) {
    const learners = of.roster.all.filter(({ isLearner }) => isLearner).length;
    return learners >= of.learnersMax ? "TOO_MANY_LEARNERS" : null;
  }
  const voters = votersOf(of);
  // One that is alone has nobody to lose: it waits for the second, which was asked for.
  if (voters.length === 1) return null;
  const size = voters.length + 1;
  if (started(voters) < quorum(size)) return "MEMBERS_NOT_STARTED";
  return connected(of, voters) < quorum(size) ? "CLUSTER_UNHEALTHY" : null;
}

function judgeRemoval(of: Reconfiguration, id: NodeId): ErrorCode | null {
  if (of.roster.get(id)?.isLearner === true) return null;
  const rest = votersOf(of).filter((member) => member.id !== id);
  if (rest.length === 0 || started(rest) < quorum(rest.length)) return "MEMBERS_NOT_STARTED";
  return connected(of, rest) < quorum(rest.length) ? "CLUSTER_UNHEALTHY" : null;
}

function judgePromotion(of: Reconfiguration, id: NodeId): ErrorCode | null {
  if (!isCaughtUp(of, id)) return "LEARNER_NOT_READY";
  const voters = votersOf(of);
  const size = voters.length + 1;
  // It is there, for it has caught up.
  if (started(voters) + 1 < quorum(size)) return "MEMBERS_NOT_STARTED";
  return connected(of, voters) + 1 < quorum(size) ? "CLUSTER_UNHEALTHY" : null;
}

function judgeReplacement(
  of: Reconfiguration,
  { id, by }: Extract<MemberChange, { readonly kind: "memberReplace" }>,
): ErrorCode | null {
  if (!isCaughtUp(of, by)) return "LEARNER_NOT_READY";
  const rest = votersOf(of).filter((member) => member.id !== id);
  return connected(of, rest) + 1 < quorum(rest.length + 1) ? "CLUSTER_UNHEALTHY" : null;
}

function votersOf({ roster }: Reconfiguration): readonly MemberRecord[] {
  return roster.all.filter(({ isLearner }) => !isLearner);
}

const quorum = (size: number): number => Math.floor(size / 2) + 1;

/** Who has said its name has run once. */
function started(members: readonly MemberRecord[]): number {
  return members.filter(({ name }) => name !== "").length;
}

/** A link is not enough: who is in quarantine has one and acknowledges nothing, for nobody's majority. */
function connected(
  { self, isLinked, raft }: Reconfiguration,
  members: readonly MemberRecord[],
): number {
  const { progress } = raft.status();
  const answers = new Set(progress.filter((of) => of.recentActive).map(({ id }) => id));
  return members.filter(({ id }) => id === self || (isLinked(id) && answers.has(id))).length;
}

function isCaughtUp({ raft, isLinked }: Reconfiguration, id: NodeId): boolean {
  const { progress, lastIndex } = raft.status();
  const learner = progress.find((member) => member.id === id);
  if (learner === undefined || !learner.recentActive || !isLinked(id)) return false;
  const lag = lastIndex - learner.match;
  return lag <= LAG_ENTRIES_MAX && lag <= lastIndex * LAG_PART_MAX;
}
