/** Says in the log who leads, whenever that changes: what an operator looks for first when requests have waited. */
import type { Env } from "../env/index.ts";
import type { NodeId } from "../raft/index.ts";
import { labelOf } from "../replica/index.ts";
import type { Roster } from "./roster.ts";

export class LeaderLog {
  readonly #env: Env;
  readonly #roster: Roster;
  readonly #self: NodeId;
  #leader: NodeId = 0;
  #term = 0;

  constructor(env: Env, roster: Roster, self: NodeId) {
    this.#env = env;
    this.#roster = roster;
    this.#self = self;
  }

  /** After a turn. A term without a leader is told when one is missed, not for each attempt to find another. */
  look(
    { leader, term }: { readonly leader: NodeId; readonly term: number },
    isAlone: () => boolean,
  ): void {
    if (leader === this.#leader && (term === this.#term || leader === 0)) return;
    this.#leader = leader;
    this.#term = term;
    // Who is alone leads, always.
    if (isAlone()) return;
    if (leader === 0) {
      this.#env.log("warn", "raft", "has no leader: requests wait for the next one", { term });
    } else if (leader === this.#self) {
      this.#env.log("info", "raft", "leads", { term });
    } else {
      // A leader may be newer than what is known here of the members.
      const member = this.#roster.get(leader);
      const name = member === undefined ? leader.toString(16) : labelOf(member);
      this.#env.log("info", "raft", `follows ${name}`, { leader: name, term });
    }
  }
}
