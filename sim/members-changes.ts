/** Who belongs to the cluster, as far as anybody can know: what was asked for, and what members that run say. */
import type { HarmonyError } from "../src/base/index.ts";
import type { MemberRequest, Node } from "../src/db/index.ts";
import type { Member } from "./members-node.ts";
import { MEMBERS_MARKS, type MembersMark } from "./members-marks.ts";
import { Violation } from "./violation.ts";

/** What somebody asks of the cluster. The learner is one that never starts: who is asked to vote has to be there. */
export type Change =
  | { readonly kind: "remove"; readonly target: number }
  | { readonly kind: "addLearner" }
  | { readonly kind: "removeLearner" };

/** Nobody listens there. */
const NOWHERE = "http://nowhere:2380";

export interface ChangesSurroundings {
  note(what: string, number: number, detail?: unknown): void;
  mark(name: MembersMark): void;
  failed(error: unknown): void;
}

/** Why a change may be refused, or not be known to be made; anything else is wrong. */
const EXPECTED: ReadonlySet<string> = new Set([
  "MEMBER_NOT_FOUND",
  "MEMBERS_NOT_STARTED",
  "CLUSTER_UNHEALTHY",
  "TOO_MANY_LEARNERS",
  "PEER_URL_EXISTS",
  "LEADER_CHANGED",
  "NOT_LEADER",
  "BAD_TRANSFEREE",
  "TIMEOUT",
  "CLOSED",
  "STOPPED",
  "IO",
  "DISK_FULL",
  "MEMBER_REMOVED",
  "TOO_MANY_REQUESTS",
]);

export class MemberChanges {
  readonly #world: ChangesSurroundings;
  readonly #asked = new Set<number>();

  constructor(world: ChangesSurroundings) {
    this.#world = world;
  }

  /** Removals that were asked for, whatever became of them. */
  get removals(): number {
    return this.#asked.size;
  }

  mayBeRemoved({ number }: Member): boolean {
    return this.#asked.has(number);
  }

  /** Asks a member that runs. */
  ask(node: Node, change: Change, target: Member | null): void {
    const request = this.#request(node, change, target);
    if (request === null) return;
    if (change.kind === "remove") this.#asked.add(change.target);
    node.database.changeMembers(request, {}, (error, outcome) => {
      if (error !== null) this.#refused(error.code, error);
      else if (outcome.kind === "error") this.#refused(outcome.code, null);
      else {
        this.#world.note("members are changed", outcome.members.length, change);
        if (change.kind === "remove") this.#world.mark(MEMBERS_MARKS.removed);
        if (change.kind === "addLearner") this.#world.mark(MEMBERS_MARKS.learner);
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

  #request(node: Node, change: Change, target: Member | null): MemberRequest | null {
    switch (change.kind) {
      case "remove": {
        const identity = target?.identity ?? null;
        return identity === null ? null : { kind: "memberRemove", id: BigInt(identity.memberId) };
      }
      case "addLearner":
        return { kind: "memberAdd", peerUrls: [NOWHERE], isLearner: true };
      case "removeLearner": {
        const learner = node.database.status().members.find(({ isLearner }) => isLearner);
        return learner === undefined ? null : { kind: "memberRemove", id: learner.id };
      }
    }
  }

  #refused(code: string, error: HarmonyError | null): void {
    this.#world.note("members are not changed", code.length, code);
    if (code === "CLUSTER_UNHEALTHY" || code === "MEMBERS_NOT_STARTED")
      this.#world.mark(MEMBERS_MARKS.changeRefused);
    if (!EXPECTED.has(code))
      this.#world.failed(
        new Violation("a change of members is refused for a reason", error?.stack ?? code),
      );
  }
}
