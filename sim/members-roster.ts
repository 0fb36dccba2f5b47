/**
 * Who belongs to the cluster, as far as anybody can know: what that member says which runs and has come furthest. The
 * disks of those who are down may hold more, and nobody would know of it.
 */
import type { InitialMember, MemberInfo } from "../src/db/index.ts";
import type { NodeId } from "../src/raft/index.ts";
import { type Member, nameOf, urlOf } from "./members-node.ts";

export class Roster {
  readonly #members: readonly Member[];
  readonly #founders: readonly Member[];
  /** By the ids that members have given themselves. */
  readonly #byId = new Map<NodeId, Member>();
  /** Who votes, and who did before that. Empty: the first members. */
  #voters: readonly NodeId[] = [];
  #votersBefore: readonly NodeId[] = [];

  /** Every machine; the first members are on as many of them as `founders` says. */
  constructor(members: readonly Member[], founders: number) {
    this.#members = members;
    this.#founders = members.slice(0, founders);
  }

  /** As whoever came furthest says. */
  get all(): readonly MemberInfo[] {
    let newest: Member | null = null;
    let place = -1;
    for (const member of this.#members) {
      if (member.isQuarantined || member.isImpostor) continue;
      const index = member.node?.database.applied.index ?? -1;
      if (index <= place) continue;
      newest = member;
      place = index;
    }
    return newest?.node?.database.status().members ?? [];
  }

  /** Who is to be found at its address. */
  placeOf({ number }: Member): MemberInfo | undefined {
    return this.all.find(({ peerUrls }) => peerUrls.includes(urlOf(number)));
  }

  isLearner(member: Member): boolean {
    return member.identity !== null && this.placeOf(member)?.isLearner === true;
  }

  /** The machines of all who belong to it and have run. */
  get present(): readonly Member[] {
    const ids = new Set(this.all.map(({ id }) => Number(id)));
    return this.#members.filter(({ identity }) => identity !== null && ids.has(identity.memberId));
  }

  opened(member: Member): void {
    const { identity } = member;
    if (identity !== null) this.#byId.set(identity.memberId, member);
  }

  /** Null when nobody has this id on any disk, as far as is known. */
  of(id: NodeId): Member | null {
    const member = this.#byId.get(id);
    return member?.identity?.memberId === id ? member : null;
  }

  /**
   * Nothing is on its disk, and the others count on who was there: it is for them to let him go. Who has no name in the
   * records may have run all the same, and have been lost before he said it: he comes back under his id no more than
   * anybody else.
   */
  isGone(member: Member): boolean {
    const place = this.placeOf(member);
    if (place === undefined || !member.isBlank) return false;
    return place.name !== "" || Number(place.id) === member.lost;
  }

  /** All members, for somebody who was added at its address and has never run; null where nobody was. */
  rosterFor(member: Member): readonly InitialMember[] | null {
    const url = urlOf(member.number);
    const place = this.placeOf(member);
    if (place === undefined || place.name !== "" || Number(place.id) === member.lost) return null;
    return this.all.map(({ id, name, peerUrls }) => ({
      name: peerUrls.includes(url) ? nameOf(member.number) : name === "" ? `at ${id}` : name,
      peerUrls,
    }));
  }

  /** In the configuration that was applied last. The ids of the first members are known when all were open once. */
  get votersNow(): readonly NodeId[] {
    return this.#voters.length > 0 ? this.#voters : this.#firstIds;
  }

  /** In the one before. */
  get votersBefore(): readonly NodeId[] {
    return this.#votersBefore.length > 0 ? this.#votersBefore : this.#firstIds;
  }

  get #firstIds(): readonly NodeId[] {
    // Who loses its disk before anything is applied still is the voter that it was.
    return this.#founders.map(({ identity, lost, number }) =>
      Number(identity?.memberId ?? lost ?? -number),
    );
  }

  /** Somebody has told who votes. */
  get knowsVoters(): boolean {
    return this.#voters.length > 0;
  }

  /** A member came further than anybody had: who votes now, where that is news, or null. */
  noteVoters({ node }: Member): readonly NodeId[] | null {
    const members = node?.database.status().members ?? [];
    const voters = members
      .filter(({ isLearner }) => !isLearner)
      .map(({ id }) => Number(id))
      .toSorted((a, b) => a - b);
    if (voters.join() === this.#voters.join()) return null;
    this.#votersBefore = this.#voters.length > 0 ? this.#voters : voters;
    this.#voters = voters;
    return voters;
  }
}
