/**
 * The members as this node shows and reaches them: everybody of the configuration, with what the records of the machine
 * say of them, and where data is older than such records with what MEMBERS and this node's own options say.
 */
import type { MemberRecord, Members } from "../mvcc/index.ts";
import { type ConfState, membersOf, type NodeId } from "../raft/index.ts";
import type { Member } from "../replica/index.ts";
import type { KvStateMachine } from "./state-machine.ts";

export interface RosterConfig {
  readonly machine: () => KvStateMachine;
  readonly confState: () => ConfState;
  /** As MEMBERS has them, and this node. */
  readonly known: readonly Member[];
  readonly self: NodeId;
}

export class Roster {
  readonly #config: RosterConfig;
  readonly #known: ReadonlyMap<NodeId, Member>;
  #seenMembers: Members | null = null;
  #seenChanges = 0;
  #seenConfState: ConfState | null = null;

  constructor(config: RosterConfig) {
    this.#config = config;
    this.#known = new Map(config.known.map((member) => [member.id, member]));
  }

  /** By id. */
  get all(): readonly MemberRecord[] {
    const { members } = this.#config.machine();
    const confState = this.#config.confState();
    const found: MemberRecord[] = [];
    for (const id of membersOf(confState)) {
      const record = members.get(id);
      const known = this.#known.get(id);
      if (record !== undefined) found.push(record);
      else if (known !== undefined) {
        const isLearner = confState.learners.includes(id);
        found.push({ ...known, clientUrls: [], isLearner });
      }
    }
    return found;
  }

  get(id: NodeId): MemberRecord | undefined {
    return this.all.find((member) => member.id === id);
  }

  /**
   * Who was removed and is needed for nothing any more: who leaves by a joint configuration has a vote until that is left,
   * also where a start finds it in its checkpoint.
   */
  get removed(): ReadonlySet<NodeId> {
    const { removed } = this.#config.machine().members;
    const { votersOutgoing } = this.#config.confState();
    return new Set([...removed].filter((id) => !votersOutgoing.includes(id)));
  }

  /** This node belongs to the cluster no more, and never will. */
  get isSelfRemoved(): boolean {
    return this.#config.machine().members.removed.has(this.#config.self);
  }

  /** Whether the members may have changed since this was asked. */
  takeNews(): boolean {
    const { members } = this.#config.machine();
    const confState = this.#config.confState();
    const { changes } = members;
    // With a snapshot they are others altogether.
    const isNews =
      members !== this.#seenMembers ||
      changes !== this.#seenChanges ||
      confState !== this.#seenConfState;
    this.#seenMembers = members;
    this.#seenChanges = changes;
    this.#seenConfState = confState;
    return isNews;
  }
}
