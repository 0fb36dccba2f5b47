/**
 * Whether two nodes may talk. The caller says who it is and whom it means; the called one takes it or says why not, in
 * a code that stays the same and a sentence for whoever reads the log of either side (architecture section 8,
 * fault-rules N9, R13, D32, D33).
 */
import { equalBytes } from "../../base/index.ts";
import type { Hello, PeerRefusal, Welcome } from "../../codec/index.ts";
import type { Membership, Self } from "./membership.ts";

/** Versions of what members say to each other. */
export const PEER_VERSION_MIN = 1;
export const PEER_VERSION_MAX = 1;

/** Why a node is not talked to. Codes are never renamed or given another meaning. */
export type RefusalCode =
  | "WRONG_CLUSTER"
  | "WRONG_VERSION"
  /** The caller meant another member: an address leads to the wrong place. */
  | "WRONG_MEMBER"
  | "REMOVED_MEMBER"
  | "UNKNOWN_MEMBER"
  /** A member's id with another directory than it was met with: wiped, replaced, or an old copy. */
  | "DATA_LOST"
  /** Another process with this id is connected: a copied directory, or a start whose predecessor is not gone yet. */
  | "DUPLICATE_MEMBER";

export function refusal(code: RefusalCode, detail: string): PeerRefusal & { code: RefusalCode } {
  return { kind: "refusal", code, detail };
}

export function helloTo(self: Self, to: number): Hello {
  return {
    kind: "hello",
    clusterId: self.clusterId,
    from: self.memberId,
    to,
    bootId: self.bootId,
    walId: self.walId,
    versionMin: PEER_VERSION_MIN,
    versionMax: PEER_VERSION_MAX,
    name: self.name,
    clientUrls: self.clientUrls,
    purpose: "raft",
    peerUrls: self.peerUrls,
  };
}

export function welcomeOf(self: Self, version: number): Welcome {
  const { bootId, walId, name, clientUrls } = self;
  return { kind: "welcome", version, bootId, walId, name, clientUrls };
}

/** The version to speak, or that there is none. */
export function versionWith({ versionMin, versionMax }: Hello): number | PeerRefusal {
  const version = Math.min(versionMax, PEER_VERSION_MAX);
  if (version >= Math.max(versionMin, PEER_VERSION_MIN)) return version;
  return refusal(
    "WRONG_VERSION",
    `this member speaks versions ${PEER_VERSION_MIN} to ${PEER_VERSION_MAX}, the caller ${versionMin} to ${versionMax}: upgrade the older one`,
  );
}

/** The version to speak with the caller, or why it is refused. `liveBoot`: of the process that is connected under its id. */
export function judgeHello(
  hello: Hello,
  self: Self,
  membership: Membership,
  liveBoot: Uint8Array | null,
): number | PeerRefusal {
  const { from, to } = hello;
  if (hello.clusterId !== self.clusterId) {
    return refusal(
      "WRONG_CLUSTER",
      `${idText(self.memberId)} is a member of cluster ${idText(self.clusterId)}, not of ${idText(hello.clusterId)}: compare --initial-cluster and --initial-cluster-token of both`,
    );
  }
  const version = versionWith(hello);
  if (typeof version !== "number") return version;
  if (to !== self.memberId) {
    return refusal(
      "WRONG_MEMBER",
      `this is ${self.name}, member ${idText(self.memberId)}, not ${idText(to)}: a peer URL leads to the wrong place`,
    );
  }
  if (membership.isRemoved(from)) {
    return refusal("REMOVED_MEMBER", `member ${idText(from)} was removed from the cluster`);
  }
  const member = membership.of(from);
  if (member === undefined || from === self.memberId) {
    return refusal(
      "UNKNOWN_MEMBER",
      `the cluster has no other member ${idText(from)} (${hello.name})`,
    );
  }
  if (membership.hasOtherData(from, hello.walId)) {
    return refusal(
      "DATA_LOST",
      `${member.name} comes with another data directory than before, so it has lost what it acknowledged: remove it and add it as a new member`,
    );
  }
  if (liveBoot !== null && !equalBytes(liveBoot, hello.bootId)) {
    return refusal(
      "DUPLICATE_MEMBER",
      `another process is connected as ${member.name}: two processes run on copies of one data directory, or the one before has not been given up yet`,
    );
  }
  return version;
}

/** Whether the one that answered is the one that was meant. Null: it is. */
export function judgeWelcome(
  welcome: Welcome,
  member: number,
  membership: Membership,
): PeerRefusal | null {
  if (membership.hasOtherData(member, welcome.walId)) {
    return refusal(
      "DATA_LOST",
      `${welcome.name} answers with another data directory than before, so it has lost what it acknowledged: remove it and add it as a new member`,
    );
  }
  if (welcome.version < PEER_VERSION_MIN || welcome.version > PEER_VERSION_MAX) {
    return refusal("WRONG_VERSION", `${welcome.name} chose version ${welcome.version}`);
  }
  return null;
}

/** As etcd's tools show ids. */
export function idText(id: number): string {
  return id.toString(16);
}
