/**
 * What becomes of a configuration by a change (Raft paper, section 6; dissertation, 4.3), as a function of both: every
 * replica computes it from the same entry and comes to the same end. The rules are those of etcd.
 *
 *     simple:  (1 2 3)  ---------------- one voter more or less --------------->  (1 2 3 4)
 *     joint:   (1 2 3)  --changes-->  (1 2 4)&&(1 2 3)  --leave--------------->   (1 2 4)
 *
 * Changes are made to the incoming half; the outgoing half stays as it was until the joint configuration is left. A
 * voter of the outgoing half that is to be a learner cannot be both, so it waits in learnersNext for that.
 */
import type { ConfState, NodeId } from "../types.ts";
import { type ConfChangeV2, leavesJoint } from "./conf-change.ts";

/** Why a configuration does not take a change. Nothing is changed then. */
export type ConfChangeError =
  /** A joint configuration has to be left before anything else changes. */
  | "already-joint"
  /** There is no joint configuration to leave. */
  | "not-joint"
  /** Who has no voters cannot agree on voters. */
  | "no-voters"
  | "removes-all-voters"
  /** Two majorities that differ in more than one voter may have nobody in common. */
  | "several-voters-without-joint"
  | "invalid-node-id"
  /** The bytes are not those of a change. */
  | "malformed";

export type ConfChangeOutcome =
  | { readonly ok: true; readonly confState: ConfState }
  | { readonly ok: false; readonly error: ConfChangeError };

export function isJoint(state: ConfState): boolean {
  return state.votersOutgoing.length > 0;
}

/** Every member of either half and every learner, sorted. */
export function membersOf(state: ConfState): readonly NodeId[] {
  return sorted(new Set([...state.voters, ...state.votersOutgoing, ...state.learners]));
}

export function isMemberOf(state: ConfState, id: NodeId): boolean {
  return (
    state.voters.includes(id) || state.votersOutgoing.includes(id) || state.learners.includes(id)
  );
}

export function changeConf(state: ConfState, change: ConfChangeV2): ConfChangeOutcome {
  if (leavesJoint(change)) return leave(state);
  if (isJoint(state)) return refused("already-joint");
  const joint = change.transition !== "auto" || change.changes.length > 1;
  if (joint && state.voters.length === 0) return refused("no-voters");
  const voters = new Set(state.voters);
  const outgoing = new Set(joint ? state.voters : []);
  const learners = new Set(state.learners);
  const learnersNext = new Set<NodeId>();
  for (const { type, nodeId } of change.changes) {
    if (!Number.isSafeInteger(nodeId) || nodeId < 1) return refused("invalid-node-id");
    if (type === "updateNode") continue;
    if (type === "addLearnerNode" && learners.has(nodeId)) continue;
    voters.delete(nodeId);
    learners.delete(nodeId);
    learnersNext.delete(nodeId);
    if (type === "addNode") voters.add(nodeId);
    else if (type === "addLearnerNode")
      (outgoing.has(nodeId) ? learnersNext : learners).add(nodeId);
  }
  if (voters.size === 0) return refused("removes-all-voters");
  if (!joint && difference(voters, state.voters) > 1)
    return refused("several-voters-without-joint");
  return {
    ok: true,
    confState: {
      voters: sorted(voters),
      votersOutgoing: sorted(outgoing),
      learners: sorted(learners),
      learnersNext: sorted(learnersNext),
      autoLeave: joint && change.transition !== "jointExplicit",
    },
  };
}

/** What is wrong with a configuration that came from a disk or a peer; null when nothing is. */
export function faultOf(state: ConfState): string | null {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = state;
  for (const ids of [voters, votersOutgoing, learners, learnersNext]) {
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as NodeId;
      if (!Number.isSafeInteger(id) || id < 1) return "a member's id is at least 1";
      if (i > 0 && (ids[i - 1] as NodeId) >= id) {
        return "members stand in a configuration once, sorted";
      }
    }
  }
  for (const id of learners) {
    if (voters.includes(id) || votersOutgoing.includes(id)) return "a learner is no voter";
  }
  for (const id of learnersNext) {
    if (!votersOutgoing.includes(id)) return "who will be a learner is an outgoing voter";
    if (voters.includes(id)) return "who will be a learner is no incoming voter";
  }
  if (autoLeave && votersOutgoing.length === 0) return "only a joint configuration is left";
  return null;
}

function leave(state: ConfState): ConfChangeOutcome {
  if (!isJoint(state)) return refused("not-joint");
  return {
    ok: true,
    confState: {
      voters: state.voters,
      votersOutgoing: [],
      learners: sorted(new Set([...state.learners, ...state.learnersNext])),
      learnersNext: [],
      autoLeave: false,
    },
  };
}

function difference(left: ReadonlySet<NodeId>, right: readonly NodeId[]): number {
  const common = right.filter((id) => left.has(id)).length;
  return left.size + right.length - 2 * common;
}

function sorted(ids: ReadonlySet<NodeId>): readonly NodeId[] {
  return [...ids].toSorted((a, b) => a - b);
}

function refused(error: ConfChangeError): ConfChangeOutcome {
  return { ok: false, error };
}
