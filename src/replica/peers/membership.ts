/** Who the members of the cluster are, as far as links to them need to know. */
import { equalBytes } from "../../base/index.ts";
import type { NodeId } from "../../raft/index.ts";

export interface Member {
  readonly id: NodeId;
  readonly name: string;
  /** Where it listens for other members. Tried one after the other. */
  readonly peerUrls: readonly string[];
}

/** Who was added and has not started yet is known by his URLs alone. */
export function labelOf({ name, peerUrls }: Member): string {
  return name === "" ? peerUrls.join(",") : name;
}

/** What this node says of itself when it meets another. */
export interface Self {
  readonly clusterId: number;
  readonly memberId: NodeId;
  /** Drawn when the directory was made: a wiped or swapped directory has another. */
  readonly walId: Uint8Array;
  /** Drawn at this start: two processes with one directory, a copied one say, have two. */
  readonly bootId: Uint8Array;
  readonly name: string;
  readonly clientUrls: readonly string[];
  /** Where it listens for other members. */
  readonly peerUrls: readonly string[];
}

/** Makes durable that `member` has the directory of this WAL id, so that a wiped one is known for what it is. */
export type Remember = (
  member: NodeId,
  walId: Uint8Array,
  done: (error: Error | null) => void,
) => void;

/**
 * Members, former members, and the directory that each was met with.
 *
 * Invariant: a member's WAL id never changes. Who comes with another has lost what it acknowledged (fault-rules R13).
 */
export class Membership {
  #members: Map<NodeId, Member>;
  #removed: ReadonlySet<NodeId>;
  readonly #walIds: Map<NodeId, Uint8Array>;
  readonly #remember: Remember;
  /** First meetings that are being written down, and who waits for that. */
  readonly #meeting: Map<NodeId, ((error: Error | null) => void)[]> = new Map();

  constructor(config: {
    readonly members: readonly Member[];
    readonly removed?: ReadonlySet<NodeId>;
    readonly walIds?: ReadonlyMap<NodeId, Uint8Array>;
    readonly remember: Remember;
  }) {
    this.#members = new Map(config.members.map((member) => [member.id, member]));
    this.#removed = config.removed ?? new Set();
    this.#walIds = new Map(config.walIds);
    this.#remember = config.remember;
  }

  /** From now on these are the members, and those are so no more. */
  become(members: readonly Member[], removed: ReadonlySet<NodeId>): void {
    this.#members = new Map(members.map((member) => [member.id, member]));
    this.#removed = removed;
  }

  get members(): readonly Member[] {
    return [...this.#members.values()];
  }

  of(id: NodeId): Member | undefined {
    return this.#members.get(id);
  }

  isRemoved(id: NodeId): boolean {
    return this.#removed.has(id);
  }

  /** It has taken part, with a directory that is remembered. */
  isMet(id: NodeId): boolean {
    return this.#walIds.has(id);
  }

  /** It was met before, with another directory. */
  hasOtherData(id: NodeId, walId: Uint8Array): boolean {
    const known = this.#walIds.get(id);
    return known !== undefined && !equalBytes(known, walId);
  }

  /** Calls `done` when this directory is the member's for good, and that survives a crash. */
  meet(id: NodeId, walId: Uint8Array, done: (error: Error | null) => void): void {
    const meeting = this.#meeting.get(id);
    if (meeting !== undefined) {
      meeting.push(done);
      return;
    }
    if (this.#walIds.has(id)) {
      done(null);
      return;
    }
    this.#walIds.set(id, walId);
    const waiting = [done];
    this.#meeting.set(id, waiting);
    this.#remember(id, walId, (error) => {
      this.#meeting.delete(id);
      if (error !== null) this.#walIds.delete(id);
      for (const each of waiting) each(error);
    });
  }
}
