/** A database for tests of the door alone: each method answers what the test says, and remembers what it was asked. */
import { HarmonyError } from "../../base/index.ts";
import type {
  MemberAlarm,
  CallOptions,
  Database,
  DatabaseStatus,
  LeaseStatus,
  MemberRequest,
  MembersChanged,
  Outcome,
  RangeRequest,
  RangeResponse,
  Refusal,
  Reply,
  Watch,
  WatchNews,
  WatchRequest,
  WriteRequest,
} from "../../db/index.ts";

export const EMPTY_RANGE: RangeResponse = {
  kind: "range",
  revision: 5,
  kvs: [],
  more: false,
  count: 0,
};

const STATUS: DatabaseStatus = {
  clusterId: 0xfedc_ba98_7654_3210n,
  memberId: 7n,
  name: "n1",
  clientUrls: ["http://127.0.0.1:2379"],
  peerUrls: ["http://127.0.0.1:2380"],
  members: [
    {
      id: 7n,
      name: "n1",
      peerUrls: ["http://127.0.0.1:2380"],
      clientUrls: ["http://127.0.0.1:2379"],
      isLearner: false,
    },
  ],
  isLearner: false,
  leader: 7n,
  raftTerm: 3,
  raftIndex: 41,
  raftCommitIndex: 40,
  raftAppliedIndex: 39,
  revision: 5,
  compactRevision: 0,
  sizeBytes: 8192,
  sizeInUseBytes: 4096,
  quotaBytes: 2_147_483_648,
  durability: { mode: "sync", fsyncIntervalMs: 0 },
  alarms: [],
  raised: [],
  quarantine: null,
  aside: null,
  errors: [],
};

export class FakeDatabase implements Database {
  readonly writes: WriteRequest[] = [];
  readonly ranges: RangeRequest[] = [];
  readonly options: CallOptions[] = [];
  hasLeader = true;
  onWrite: (request: WriteRequest, reply: Reply<Outcome>) => void = (_request, reply) =>
    reply(null, { kind: "put", revision: 5, prevKv: null });
  onRange: (request: RangeRequest, reply: Reply<RangeResponse | Refusal>) => void = (
    _request,
    reply,
  ) => reply(null, EMPTY_RANGE);
  onLeaseStatus: (id: bigint, withKeys: boolean, reply: Reply<LeaseStatus>) => void = (
    _id,
    _withKeys,
    reply,
  ) => reply(new HarmonyError("CLOSED"), undefined as unknown as LeaseStatus);
  readonly memberRequests: MemberRequest[] = [];
  onMembers: (request: MemberRequest, reply: Reply<MembersChanged | Refusal>) => void = (
    _request,
    reply,
  ) => reply(null, { kind: "members", revision: 5, added: null, members: STATUS.members });
  readonly targets: bigint[] = [];
  moveError: HarmonyError | null = null;
  leaseIds: readonly bigint[] = [];
  readonly watches: FakeWatch[] = [];

  get header(): Database["header"] {
    return {
      clusterId: STATUS.clusterId,
      memberId: STATUS.memberId,
      raftTerm: STATUS.raftTerm,
      revision: STATUS.revision,
    };
  }

  write(request: WriteRequest, options: CallOptions, reply: Reply<Outcome>): void {
    this.writes.push(request);
    this.options.push(options);
    this.onWrite(request, reply);
  }

  range(request: RangeRequest, options: CallOptions, reply: Reply<RangeResponse | Refusal>): void {
    this.ranges.push(request);
    this.options.push(options);
    this.onRange(request, reply);
  }

  leaseStatus(
    id: bigint,
    withKeys: boolean,
    _options: CallOptions,
    reply: Reply<LeaseStatus>,
  ): void {
    this.onLeaseStatus(id, withKeys, reply);
  }

  leases(_options: CallOptions, reply: Reply<readonly bigint[]>): void {
    reply(null, this.leaseIds);
  }

  changeMembers(
    request: MemberRequest,
    _options: CallOptions,
    reply: Reply<MembersChanged | Refusal>,
  ): void {
    this.memberRequests.push(request);
    this.onMembers(request, reply);
  }

  moveLeader(target: bigint, _options: CallOptions, reply: Reply<undefined>): void {
    this.targets.push(target);
    reply(this.moveError, undefined);
  }

  watch(request: WatchRequest, news: () => void): Watch {
    const watch = new FakeWatch(request, news);
    this.watches.push(watch);
    return watch;
  }

  /** Alarms that were raised (true) or cleared. */
  readonly alarmsSet: [MemberAlarm, boolean][] = [];

  alarm(alarm: MemberAlarm, isRaised: boolean, _options: CallOptions, reply: Reply<null>): void {
    this.alarmsSet.push([alarm, isRaised]);
    reply(null, null);
  }

  status(): DatabaseStatus {
    return { ...STATUS, leader: this.hasLeader ? STATUS.leader : 0n };
  }
}

/** Gives what the test puts into it. */
export class FakeWatch implements Watch {
  readonly request: WatchRequest;
  readonly news: () => void;
  readonly waiting: WatchNews[] = [];
  /** What each take allowed. */
  readonly taken: number[] = [];
  revision: number = STATUS.revision;
  isSynced = true;
  isCancelled = false;

  constructor(request: WatchRequest, news: () => void) {
    this.request = request;
    this.news = news;
  }

  take(maxBytes: number): WatchNews | null {
    this.taken.push(maxBytes);
    return this.waiting.shift() ?? null;
  }

  cancel(): void {
    this.isCancelled = true;
  }
}

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Collects log lines. */
export function memoryLog(): {
  readonly lines: LogLine[];
  readonly sink: (
    level: string,
    logger: string,
    message: string,
    fields?: Readonly<Record<string, unknown>>,
  ) => void;
} {
  const lines: LogLine[] = [];
  return {
    lines,
    sink: (level, _logger, message, fields = {}) => lines.push({ level, message, fields }),
  };
}
