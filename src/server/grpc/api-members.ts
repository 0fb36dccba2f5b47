/** The part of harmonydb.v1.Api that is about the members of the cluster. */
import { EMPTY_BYTES } from "../../base/index.ts";
import { apiMessages as wire } from "../../codec/index.ts";
import { COUNT_NO_KEY, type MemberInfo, type MemberRequest } from "../../db/index.ts";
import type { ServiceContext } from "./answer.ts";
import { decode, encode, failureIn, failureOf, optionsOf, unary } from "./api-messages.ts";
import type { Method } from "./method.ts";
import { GrpcCode } from "./status.ts";

export function apiMembers({ database }: ServiceContext): readonly Method[] {
  const membersNow = (): wire.MembersResponse => {
    const { members, leader } = database.status();
    return { members: members.map(memberOf), leader, failure: undefined };
  };
  return [
    unary("Members", (bytes, call, reply) => {
      const { serializable, timeout_ms } = decode(wire.MembersRequest, bytes);
      const answer = (response: wire.MembersResponse): void =>
        reply(null, encode(wire.MembersResponse, response));
      if (serializable) {
        answer(membersNow());
        return;
      }
      database.range(COUNT_NO_KEY, optionsOf(call, timeout_ms), (error, response) => {
        const failure = failureIn(error, response);
        answer(failure === null ? membersNow() : { members: [], leader: 0n, failure });
      });
    }),
    unary("ChangeMembers", (bytes, call, reply) => {
      const asked = decode(wire.ChangeMembersRequest, bytes);
      const request = changeOf(asked);
      if (request === null) {
        reply(
          { code: GrpcCode.invalidArgument, message: "harmonydb: no such change of the members" },
          EMPTY_BYTES,
        );
        return;
      }
      const { timeout_ms, patience_ms } = asked;
      const options = optionsOf(call, timeout_ms, patience_ms);
      database.changeMembers(request, options, (error, response) => {
        const failure = failureIn(error, response);
        const added = error === null && response.kind === "members" ? response.added : null;
        reply(
          null,
          encode(wire.ChangeMembersResponse, {
            added: added === null ? undefined : memberOf(added),
            failure: failure ?? undefined,
          }),
        );
      });
    }),
    unary("MoveLeader", (bytes, call, reply) => {
      const { id, timeout_ms } = decode(wire.MoveLeaderRequest, bytes);
      database.moveLeader(id, optionsOf(call, timeout_ms), (error) => {
        const failure = error === null ? undefined : failureOf(error);
        reply(null, encode(wire.MoveLeaderResponse, { failure }));
      });
    }),
  ];
}

/** Null for a kind that this version does not know. */
function changeOf(asked: wire.ChangeMembersRequest): MemberRequest | null {
  const { kind, id, peer_urls: peerUrls, by } = asked;
  const { ChangeMembersRequest_Kind: Kind } = wire;
  switch (kind) {
    case Kind.ADD:
      return { kind: "memberAdd", peerUrls, isLearner: false };
    case Kind.ADD_LEARNER:
      return { kind: "memberAdd", peerUrls, isLearner: true };
    case Kind.PROMOTE:
      return { kind: "memberPromote", id };
    case Kind.REMOVE:
      return { kind: "memberRemove", id };
    case Kind.UPDATE:
      return { kind: "memberUpdate", id, peerUrls };
    case Kind.REPLACE:
      return { kind: "memberReplace", id, by };
    default:
      return null;
  }
}

function memberOf({ id, name, peerUrls, clientUrls, isLearner }: MemberInfo): wire.Member {
  return {
    id,
    name,
    peer_urls: [...peerUrls],
    client_urls: [...clientUrls],
    is_learner: isLearner,
  };
}
