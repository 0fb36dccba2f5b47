/** The members of the cluster over a link: arguments are checked here, everything else is for the members to judge. */
import type { CallOptions, MemberInfo } from "../database.ts";
import type { MemberRequest } from "../requests.ts";
import type { Call, Read } from "./api.ts";
import type { Member, Members } from "./api-members.ts";
import { CALL, callOf, int64Of, invalid, type Names, names, NO_OPTIONS } from "./arguments.ts";
import type { Link } from "./link.ts";

const LIST: Names = names(CALL, "consistency");

export class LinkedMembers implements Members {
  readonly #link: Link;

  constructor(link: Link) {
    this.#link = link;
  }

  async list(options: Omit<Read, "rev"> = NO_OPTIONS): Promise<readonly Member[]> {
    const call = callOf(options, LIST);
    const { consistency = "linearizable" } = options;
    if (consistency !== "linearizable" && consistency !== "local")
      throw invalid('consistency is "linearizable" or "local"');
    const { members, leader } = await this.#link.listMembers(consistency === "local", call);
    return members.map((member) => memberOf(member, leader));
  }

  async add(peerUrls: readonly string[], options: Call = NO_OPTIONS): Promise<Member> {
    return this.#add(peerUrls, false, options);
  }

  async addLearner(peerUrls: readonly string[], options: Call = NO_OPTIONS): Promise<Member> {
    return this.#add(peerUrls, true, options);
  }

  async promote(id: bigint, options: Call = NO_OPTIONS): Promise<void> {
    const call = callOf(options, CALL);
    await this.#change({ kind: "memberPromote", id: idOf(id, "id") }, call);
  }

  async remove(id: bigint, options: Call = NO_OPTIONS): Promise<void> {
    const call = callOf(options, CALL);
    await this.#change({ kind: "memberRemove", id: idOf(id, "id") }, call);
  }

  async update(id: bigint, peerUrls: readonly string[], options: Call = NO_OPTIONS): Promise<void> {
    const call = callOf(options, CALL);
    await this.#change(
      { kind: "memberUpdate", id: idOf(id, "id"), peerUrls: urlsOf(peerUrls) },
      call,
    );
  }

  async replace(id: bigint, by: bigint, options: Call = NO_OPTIONS): Promise<void> {
    const call = callOf(options, CALL);
    await this.#change({ kind: "memberReplace", id: idOf(id, "id"), by: idOf(by, "by") }, call);
  }

  async moveLeader(id: bigint, options: Call = NO_OPTIONS): Promise<void> {
    const call = callOf(options, CALL);
    await this.#link.moveLeader(idOf(id, "id"), call);
  }

  async #add(peerUrls: readonly string[], isLearner: boolean, options: Call): Promise<Member> {
    const call = callOf(options, CALL);
    const added = await this.#change(
      { kind: "memberAdd", peerUrls: urlsOf(peerUrls), isLearner },
      call,
    );
    return memberOf(added as MemberInfo, 0n);
  }

  #change(request: MemberRequest, call: CallOptions): Promise<MemberInfo | null> {
    return this.#link.changeMembers(request, call);
  }
}

function memberOf(member: MemberInfo, leader: bigint): Member {
  const { id, name, peerUrls, clientUrls, isLearner } = member;
  return { id, name, peerUrls, clientUrls, isLearner, isLeader: id === leader };
}

/** Whether they can be called is judged where all changes are. */
function urlsOf(urls: readonly string[]): readonly string[] {
  if (!Array.isArray(urls) || !urls.every((url) => typeof url === "string"))
    throw invalid("peerUrls is a list of texts, http://host:port each");
  return [...urls];
}

function idOf(id: bigint, what: string): bigint {
  return int64Of(id, what, 1n);
}
