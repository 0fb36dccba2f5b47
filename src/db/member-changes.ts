/**
 * Changes of the members as entries of the log: a configuration change of Raft, whose context says what else is to be
 * known of the member. Raft changes who votes and the machine what stands in its records, both at the same entry.
 *
 *     u8 kind | the member's record, where the change brings one
 *
 * What the records do not allow is refused where the entry is applied, on every replica alike. What depends on who is
 * connected, started or caught up is judged by the leader before it proposes (reconfiguration.ts).
 */
import { type ErrorCode } from "../base/index.ts";
import { decodeMember, encodeMember, type MemberRecord, type Members } from "../mvcc/index.ts";
import type { ConfChangeSingle, ConfChangeV2, NodeId } from "../raft/index.ts";

export type MemberChange =
  | { readonly kind: "memberAdd"; readonly member: MemberRecord }
  | { readonly kind: "memberRemove"; readonly id: NodeId }
  | { readonly kind: "memberUpdate"; readonly id: NodeId; readonly peerUrls: readonly string[] }
  | { readonly kind: "memberPromote"; readonly id: NodeId }
  /** A learner takes the place of a member, in one step. */
  | { readonly kind: "memberReplace"; readonly id: NodeId; readonly by: NodeId };

/** The position is what the bytes hold. */
const KINDS: readonly MemberChange["kind"][] = [
  "memberAdd",
  "memberRemove",
  "memberUpdate",
  "memberPromote",
  "memberReplace",
];

export function encodeMemberChange(change: MemberChange): ConfChangeV2 {
  return {
    transition: "auto",
    changes: changesOf(change),
    context: contextOf(change),
  };
}

function changesOf(change: MemberChange): readonly ConfChangeSingle[] {
  switch (change.kind) {
    case "memberAdd": {
      const { id, isLearner } = change.member;
      return [{ type: isLearner ? "addLearnerNode" : "addNode", nodeId: id }];
    }
    case "memberRemove":
      return [{ type: "removeNode", nodeId: change.id }];
    case "memberUpdate":
      return [{ type: "updateNode", nodeId: change.id }];
    case "memberPromote":
      return [{ type: "addNode", nodeId: change.id }];
    case "memberReplace":
      return [
        { type: "addNode", nodeId: change.by },
        { type: "removeNode", nodeId: change.id },
      ];
  }
}

function contextOf(change: MemberChange): Uint8Array {
  const record =
    change.kind === "memberAdd"
      ? encodeMember(change.member)
      : change.kind === "memberUpdate"
        ? encodeMember({ ...NOTHING_ELSE, id: change.id, peerUrls: change.peerUrls })
        : new Uint8Array(0);
  const context = new Uint8Array(1 + record.length);
  context[0] = KINDS.indexOf(change.kind);
  context.set(record, 1);
  return context;
}

const NOTHING_ELSE = { name: "", clientUrls: [], isLearner: false } as const;

/** Null for a change of the configuration that speaks of no member as `encodeMemberChange` does. */
export function decodeMemberChange({ changes, context }: ConfChangeV2): MemberChange | null {
  const kind = KINDS[context[0] ?? KINDS.length];
  const [first, second] = changes;
  if (kind === undefined || first === undefined) return null;
  const change = changeOf(kind, first, second, context.subarray(1));
  if (change === null) return null;
  // The configuration goes by the one, the records by the other: they must not say different things.
  const said = changesOf(change);
  const isTheSame =
    said.length === changes.length &&
    said.every(({ type, nodeId }, i) => changes[i]?.type === type && changes[i]?.nodeId === nodeId);
  return isTheSame ? change : null;
}

function changeOf(
  kind: MemberChange["kind"],
  first: ConfChangeSingle,
  second: ConfChangeSingle | undefined,
  record: Uint8Array,
): MemberChange | null {
  const id = first.nodeId;
  switch (kind) {
    case "memberAdd": {
      const member = decodeMember(id, record);
      return member === null ? null : { kind, member };
    }
    case "memberUpdate": {
      const member = decodeMember(id, record);
      return member === null ? null : { kind, id, peerUrls: member.peerUrls };
    }
    case "memberRemove":
    case "memberPromote":
      return { kind, id };
    case "memberReplace":
      return second === undefined ? null : { kind, id: second.nodeId, by: id };
  }
}

/** What a member says of itself when it has started. */
export interface MemberNews {
  readonly id: NodeId;
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
}

/** Why the records do not take the change; null when they do. */
export function refusalOfChange(members: Members, change: MemberChange): ErrorCode | null {
  switch (change.kind) {
    case "memberAdd": {
      const { id, peerUrls } = change.member;
      if (members.get(id) !== undefined || members.removed.has(id)) return "MEMBER_EXISTS";
      return isTaken(members, peerUrls, id) ? "PEER_URL_EXISTS" : null;
    }
    case "memberUpdate":
      if (members.get(change.id) === undefined) return "MEMBER_NOT_FOUND";
      return isTaken(members, change.peerUrls, change.id) ? "PEER_URL_EXISTS" : null;
    case "memberRemove":
      return members.get(change.id) === undefined ? "MEMBER_NOT_FOUND" : null;
    case "memberPromote":
      return refusalOfPromotion(members, change.id);
    case "memberReplace":
      if (members.get(change.id) === undefined) return "MEMBER_NOT_FOUND";
      return refusalOfPromotion(members, change.by);
  }
}

function refusalOfPromotion(members: Members, id: NodeId): ErrorCode | null {
  const member = members.get(id);
  if (member === undefined) return "MEMBER_NOT_FOUND";
  return member.isLearner ? null : "MEMBER_NOT_LEARNER";
}

function isTaken(members: Members, urls: readonly string[], by: NodeId): boolean {
  return members.all.some(
    ({ id, peerUrls }) => id !== by && peerUrls.some((url) => urls.includes(url)),
  );
}

/** Makes a change that `refusalOfChange` takes. */
export function makeChange(members: Members, change: MemberChange): void {
  const of = (id: NodeId): MemberRecord => members.get(id) as MemberRecord;
  switch (change.kind) {
    case "memberAdd":
      members.put(change.member);
      break;
    case "memberUpdate":
      // Never the role: a change of address makes nobody a voter (fault-rules R10).
      members.put({ ...of(change.id), peerUrls: change.peerUrls });
      break;
    case "memberRemove":
      members.remove(change.id);
      break;
    case "memberPromote":
      members.put({ ...of(change.id), isLearner: false });
      break;
    case "memberReplace":
      members.put({ ...of(change.by), isLearner: false });
      members.remove(change.id);
      break;
  }
}

/**
 * Notes what a member says of itself, and why it may not say it. Its URLs for other members are given by those who add
 * it; only one that is alone has nobody to give them. Data that is older than records of members gets its records so.
 */
export function noteNews(members: Members, news: MemberNews): ErrorCode | null {
  const { id, name, clientUrls } = news;
  if (members.removed.has(id)) return "MEMBER_NOT_FOUND";
  if (members.all.some((other) => other.id !== id && other.name === name))
    return "MEMBER_NAME_EXISTS";
  const known = members.get(id);
  const isAlone = members.all.every((other) => other.id === id);
  const peerUrls = known === undefined || isAlone ? news.peerUrls : known.peerUrls;
  members.put({ id, name, peerUrls, clientUrls, isLearner: known?.isLearner ?? false });
  return null;
}
