/** etcdserverpb.Cluster and etcdserverpb.Maintenance. */
import { EMPTY_BYTES } from "../../base/index.ts";
import {
  checkEmptyRequest,
  decodeAlarmRequest,
  decodeMemberAddRequest,
  decodeMemberIdRequest,
  decodeMemberListRequest,
  decodeMemberUpdateRequest,
  encodeAlarms,
  encodeMemberAddResponse,
  encodeMemberListResponse,
  encodeStatusResponse,
} from "../../codec/index.ts";
import {
  COUNT_NO_KEY,
  type MemberRequest,
  type MembersChanged,
  type RangeResponse,
  type Refusal,
} from "../../db/index.ts";
import type { ServiceContext } from "./answer.ts";
import type { Method } from "./method.ts";
import { statusOf } from "./status.ts";

const ALARM_GET = 0;
const ALARM_DEACTIVATE = 2;
/** By etcd's number. */
const ALARMS: readonly ("NOSPACE" | "CORRUPT" | undefined)[] = [undefined, "NOSPACE", "CORRUPT"];

export function clusterService(context: ServiceContext): readonly Method[] {
  const { database } = context;
  const members = (): Uint8Array =>
    encodeMemberListResponse(context.header(0), database.status().members);
  const changed = ({ added, members: all }: MembersChanged): Uint8Array =>
    added === null
      ? encodeMemberListResponse(context.header(0), all)
      : encodeMemberAddResponse(context.header(0), added, all);
  /** Through the leader, whichever member is asked; answered when it is applied here. */
  const changing = (name: string, read: (request: Uint8Array) => MemberRequest): Method => ({
    kind: "unary",
    path: `/etcdserverpb.Cluster/${name}`,
    handle: (request, call, reply) =>
      database.changeMembers(
        read(request),
        call,
        context.answer<MembersChanged | Refusal>(reply, changed),
      ),
  });
  return [
    changing("MemberAdd", (request) => ({
      kind: "memberAdd",
      ...decodeMemberAddRequest(request),
    })),
    changing("MemberRemove", (request) => ({
      kind: "memberRemove",
      id: decodeMemberIdRequest(request),
    })),
    changing("MemberUpdate", (request) => ({
      kind: "memberUpdate",
      ...decodeMemberUpdateRequest(request),
    })),
    changing("MemberPromote", (request) => ({
      kind: "memberPromote",
      id: decodeMemberIdRequest(request),
    })),
    {
      kind: "unary",
      path: "/etcdserverpb.Cluster/MemberList",
      handle: (request, call, reply) => {
        if (!decodeMemberListRequest(request)) {
          reply(null, members());
          return;
        }
        database.range(COUNT_NO_KEY, call, context.answer<RangeResponse | Refusal>(reply, members));
      },
    },
  ];
}

export interface Versions {
  /** The etcd version whose behaviour clients may count on. */
  readonly etcd: string;
  /** Of the data directory's format. */
  readonly storage: string;
}

export function maintenanceService(context: ServiceContext, versions: Versions): readonly Method[] {
  const { database } = context;
  return [
    {
      kind: "unary",
      path: "/etcdserverpb.Maintenance/Status",
      handle: (request, _call, reply) => {
        checkEmptyRequest(request);
        const status = database.status();
        const response = encodeStatusResponse(context.header(status.revision), {
          ...status,
          // What etcd means by it.
          raftIndex: status.raftCommitIndex,
          version: versions.etcd,
          storageVersion: versions.storage,
        });
        reply(null, response);
      },
    },
    {
      kind: "unary",
      path: "/etcdserverpb.Maintenance/MoveLeader",
      handle: (request, call, reply) => {
        const target = decodeMemberIdRequest(request);
        const { leader, memberId } = database.status();
        // As in etcd only the leader is asked.
        if (leader !== memberId) {
          reply(statusOf("NOT_LEADER"), EMPTY_BYTES);
          return;
        }
        // As etcd's, the answer says nothing more than that it is done.
        database.moveLeader(target, call, (error) =>
          reply(error === null ? null : statusOf(error.code), EMPTY_BYTES),
        );
      },
    },
    {
      kind: "unary",
      path: "/etcdserverpb.Maintenance/Alarm",
      handle: (request, call, reply) => {
        const { action, memberId, alarm: number } = decodeAlarmRequest(request);
        const { raised } = database.status();
        const alarm = ALARMS[number];
        // An empty list is an empty message, as etcd's.
        if (action === ALARM_GET) {
          const wanted = raised.filter((of) => alarm === undefined || of.alarm === alarm);
          reply(null, encodeAlarms(wanted));
        } else if (alarm === undefined || action > ALARM_DEACTIVATE) reply(null, EMPTY_BYTES);
        else {
          const isRaised = action !== ALARM_DEACTIVATE;
          const wasRaised = raised.some((of) => of.alarm === alarm && of.memberId === memberId);
          const answer = encodeAlarms(isRaised || wasRaised ? [{ memberId, alarm }] : []);
          database.alarm({ memberId, alarm }, isRaised, call, (error) => {
            reply(
              error === null ? null : statusOf(error.code),
              error === null ? answer : EMPTY_BYTES,
            );
          });
        }
      },
    },
  ];
}
