/** Who belongs to the cluster, as far as anybody can know: what was asked for, and what members that run say. */
import type { HarmonyError } from "../src/base/index.ts";
import type { MemberRequest, Node } from "../src/db/index.ts";
import type { NodeId } from "../src/raft/index.ts";
import { type Member, urlOf } from "./members-node.ts";
import { MEMBERS_MARKS, type MembersMark } from "./members-marks.ts";
import { Violation } from "./violation.ts";

/**
 * What somebody asks of the cluster. Who is meant by a number is whoever is to be found at its address. `join` adds a
 * machine whose disk holds nothing; it is started by a step of its own, or never. `addLearner` adds one that does not
 * exist.
 */
export type Change =
  | { readonly kind: "remove"; readonly target: number }
  | { readonly kind: "addLearner" }
  | { readonly kind: "removeLearner" }
  | { readonly kind: "join"; readonly target: number; readonly isLearner: boolean }
  | { readonly kind: "promote"; readonly target: number }
  | { readonly kind: "replace"; readonly target: number; readonly by: number };

/** Nobody listens there. */
const NOWHERE = "http://nowhere:2380";

export interface ChangesSurroundings {
  note(what: string, number: number, detail?: unknown): void;
  mark(name: MembersMark): void;
  failed(error: unknown): void;
  /** What was done to the members explains that one of them gives this code. */
  mayRefuse(code: string): boolean;
}

/** Why a change may be refused, or not be known to be made; anything else is wrong. */
const EXPECTED: ReadonlySet<string> = new Set([
  "MEMBER_NOT_FOUND",
  "MEMBERS_NOT_STARTED",
  "MEMBER_NOT_LEARNER",
  "LEARNER_NOT_READY",
  "CLUSTER_UNHEALTHY",
  "TOO_MANY_LEARNERS",
  "PEER_URL_EXISTS",
  "LEADER_CHANGED",
  "NOT_LEADER",
  "NO_LEADER",
  "BAD_TRANSFEREE",
  "TIMEOUT",
  "CLOSED",
  "STOPPED",
  "IO",
  "DISK_FULL",
  "MEMBER_REMOVED",
  "TOO_MANY_REQUESTS",
  "QUARANTINED",
  "MEMBER_FULL",
]);

export class MemberChanges {
  readonly #world: ChangesSurroundings;
  /** Members whose removal was asked for and not refused for certain: by how many. */
  readonly #asked = new Map<NodeId, number>();

  constructor(world: ChangesSurroundings) {
    this.#world = world;
  }

  /** Somebody may have been removed. */
  get hasRemovals(): boolean {
    return this.#asked.size > 0;
  }

  /** Its removal was asked for, and nobody knows that it does not happen. */
  isAsked(id: NodeId): boolean {
    return (this.#asked.get(id) ?? 0) > 0;
  }

  mayBeRemoved({ identity }: Member): boolean {
    return identity === null ? this.hasRemovals : this.isAsked(identity.memberId);
  }

  /** Asks a member that runs. */
  ask(node: Node, change: Change): void {
    const request = requestOf(node, change);
    if (request === null) return;
    const leaver = leaverOf(request);
    if (leaver !== null) this.#count(leaver, 1);
    node.database.changeMembers(request, {}, (error, outcome) => {
      const isRefused = error !== null ? !error.maybeApplied : outcome.kind === "error";
      if (isRefused && leaver !== null) this.#count(leaver, -1);
      if (error !== null) this.#refused(error.code, error);
      else if (outcome.kind === "error") this.#refused(outcome.code, null);
      else {
        this.#world.note("members are changed", outcome.members.length, change);
        const mark = MARKS[change.kind];
        if (mark !== null) this.#world.mark(mark);
      }
    });
  }

  handOver(node: Node, to: Member): void {
    const { identity } = to;
    if (identity === null) return;
    node.database.moveLeader(BigInt(identity.memberId), {}, (error) => {
      if (error !== null) this.#refused(error.code, error);
      else this.#world.mark(MEMBERS_MARKS.moved);
    });
  }

  #count(id: NodeId, by: number): void {
    this.#asked.set(id, (this.#asked.get(id) ?? 0) + by);
  }

  #refused(code: string, error: HarmonyError | null): void {
    this.#world.note("members are not changed", code.length, code);
    if (code === "CLUSTER_UNHEALTHY" || code === "MEMBERS_NOT_STARTED")
      this.#world.mark(MEMBERS_MARKS.changeRefused);
    // Who comes upon damage while it applies an entry stops.
    const isExpected = EXPECTED.has(code) || (code === "CORRUPT" && this.#world.mayRefuse(code));
    if (!isExpected)
      this.#world.failed(
        new Violation("a change of members is refused for a reason", error?.stack ?? code),
      );
  }
}

const MARKS: Readonly<Record<Change["kind"], MembersMark | null>> = {
  remove: MEMBERS_MARKS.removed,
  addLearner: MEMBERS_MARKS.learner,
  removeLearner: null,
  join: null,
  promote: MEMBERS_MARKS.promoted,
  replace: MEMBERS_MARKS.exchanged,
};

function leaverOf(request: MemberRequest): NodeId | null {
  const isRemoval = request.kind === "memberRemove" || request.kind === "memberReplace";
  return isRemoval ? Number(request.id) : null;
}

/** Null where nobody is there whom it could mean. */
function requestOf(node: Node, change: Change): MemberRequest | null {
  const { members } = node.database.status();
  const at = (number: number): bigint | null =>
    members.find(({ peerUrls }) => peerUrls.includes(urlOf(number)))?.id ?? null;
  switch (change.kind) {
    case "remove":
    case "promote": {
      const id = at(change.target);
      const kind = change.kind === "remove" ? "memberRemove" : "memberPromote";
      return id === null ? null : { kind, id };
    }
    case "replace": {
      const id = at(change.target);
      const by = at(change.by);
      return id === null || by === null ? null : { kind: "memberReplace", id, by };
    }
    case "join":
      return { kind: "memberAdd", peerUrls: [urlOf(change.target)], isLearner: change.isLearner };
    case "addLearner":
      return { kind: "memberAdd", peerUrls: [NOWHERE], isLearner: true };
    case "removeLearner": {
      const learner = members.find(({ isLearner }) => isLearner);
      return learner === undefined ? null : { kind: "memberRemove", id: learner.id };
    }
  }
}
