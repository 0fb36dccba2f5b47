/** Watch without a transport: what is said on a stream, on a database that obeys. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { HarmonyError, text, utf8 } from "../../base/index.ts";
// The generated code is the oracle of tests and no part of the codec's door.
// oxlint-disable-next-line no-restricted-imports
import * as pb from "../../codec/protobuf/gen/etcdserverpb/rpc.ts";
import type { WatchEvent } from "../../db/index.ts";
import { ServiceContext } from "./answer.ts";
import { FakeDatabase, type FakeWatch, memoryLog } from "./fake-database.suite.ts";
import { guarded } from "./guard.ts";
import type { StreamCall, StreamListener } from "./method.ts";
import type { GrpcStatus } from "./status.ts";
import { watchService } from "./watch-service.ts";

const PROGRESS_MS = 1000;
const FRAGMENT_BYTES = 1000;

let database: FakeDatabase;
let log: ReturnType<typeof memoryLog>;
let stream: Stream;

beforeEach(() => {
  database = new FakeDatabase();
  log = memoryLog();
  stream = new Stream();
});
afterEach(() => {
  stream.listener.closed();
  vi.useRealTimers();
});

/** The client's side. */
class Stream {
  readonly sent: pb.WatchResponse[] = [];
  readonly ends: (GrpcStatus | null)[] = [];
  readonly listener: StreamListener;
  reads = true;
  #waiting: (() => void)[] = [];

  constructor() {
    const context = new ServiceContext(database, log.sink);
    const [method] = watchService(context, {
      progressIntervalMs: PROGRESS_MS,
      fragmentBytes: FRAGMENT_BYTES,
    });
    const served = method === undefined ? undefined : guarded(method, context);
    if (served === undefined || served.kind === "unary") throw new Error("Watch is a stream");
    const isReading = (): boolean => this.reads;
    const call: StreamCall = {
      metadata: () => undefined,
      send: (message) => this.sent.push(pb.WatchResponse.decode(message)),
      get isWritable() {
        return isReading();
      },
      whenWritable: (next) => this.#waiting.push(next),
      end: (status) => this.ends.push(status),
    };
    this.listener = served.open(call);
  }

  readAgain(): void {
    this.reads = true;
    for (const next of this.#waiting.splice(0)) next();
  }

  ask(request: Partial<pb.WatchRequest>): this {
    let isDone = false;
    this.listener.message(pb.WatchRequest.encode(request as pb.WatchRequest).finish(), () => {
      isDone = true;
    });
    expect(isDone).toBe(true);
    return this;
  }

  create(request: Partial<Record<keyof pb.WatchCreateRequest, unknown>> = {}): FakeWatch {
    const none = pb.WatchCreateRequest.decode(new Uint8Array(0));
    const create = { ...none, key: utf8("k"), ...request } as pb.WatchCreateRequest;
    this.ask({ create_request: create });
    return database.watches.at(-1) as FakeWatch;
  }

  /** What came since the last look: "created 0", "events 0 k@7", ... and the revision of the header. */
  get heard(): string[] {
    return this.sent.splice(0).map((r) => {
      const flags = [
        r.created ? "created" : "",
        r.canceled ? "canceled" : "",
        r.fragment ? "fragment" : "",
        r.compact_revision > 0n ? `compacted ${r.compact_revision}` : "",
        r.cancel_reason,
        ...r.events.map(
          ({ type, kv }) =>
            `${type === 1 ? "-" : ""}${text(kv?.key as Uint8Array)}@${kv?.mod_revision}`,
        ),
      ].filter((flag) => flag !== "");
      return [r.watch_id, ...flags, `rev ${r.header?.revision}`].join(" ");
    });
  }
}

function event(key: string, revision: number, valueBytes = 1): WatchEvent {
  return {
    type: "put",
    kv: {
      key: utf8(key),
      value: new Uint8Array(valueBytes),
      createRevision: 2,
      modRevision: revision,
      version: 1,
      lease: 0n,
    },
    prevKv: null,
    cause: null,
  };
}

function give(watch: FakeWatch, revision: number, ...events: readonly WatchEvent[]): void {
  watch.waiting.push({ kind: "events", events, revision });
}

describe("Watch", () => {
  it("asks the database in its own words and tells events after created", () => {
    const watch = stream.create({
      range_end: utf8("l"),
      start_revision: 3n,
      filters: [1],
      prev_kv: true,
    });
    expect(watch.request).toEqual({
      key: utf8("k"),
      rangeEnd: utf8("l"),
      startRevision: 3,
      prevKv: true,
      noPut: false,
      noDelete: true,
      mayMove: true,
    });
    give(watch, 7, event("k", 6), event("k1", 7));
    give(watch, 9, event("k", 9));
    watch.news();
    expect(stream.heard).toEqual(["0 created rev 5", "0 k@6 k1@7 rev 7", "0 k@9 rev 9"]);
  });

  it("an empty key stands for a zero byte", () => {
    expect(stream.create({ key: new Uint8Array(0) }).request.key).toEqual(Uint8Array.of(0));
  });

  it("gives free ids, takes those that a client chooses, and refuses those that are taken", () => {
    for (const watch_id of [0n, 1n, 0n, 1n, -7n, 2n ** 62n, -7n]) stream.create({ watch_id });
    const duplicate = "mvcc: duplicate watch ID provided on the WatchStream";
    expect(stream.heard).toEqual([
      "0 created rev 5",
      "1 created rev 5",
      "2 created rev 5",
      `-1 created canceled ${duplicate} rev 5`,
      "-7 created rev 5",
      `${2n ** 62n} created rev 5`,
      `-1 created canceled ${duplicate} rev 5`,
    ]);
    expect(database.watches).toHaveLength(5);
  });

  it("refuses what cannot be watched without opening it, and the stream goes on", () => {
    stream.create({ start_revision: -1n });
    stream.create({ range_end: utf8("k") });
    stream.create({ range_end: utf8("a") });
    expect(database.watches).toHaveLength(0);
    stream.create({ range_end: Uint8Array.of(0) });
    expect(stream.heard).toEqual([
      "-1 created canceled etcdserver: mvcc: required revision has been compacted rev 5",
      "-1 created canceled mvcc: watcher range is empty rev 5",
      "-1 created canceled mvcc: watcher range is empty rev 5",
      "0 created rev 5",
    ]);
  });

  it("says nothing of a watcher after its cancel, and nothing to the cancel of an unknown one", () => {
    const watch = stream.create();
    stream.ask({ cancel_request: { watch_id: 4n } }).ask({ cancel_request: { watch_id: 0n } });
    give(watch, 9, event("k", 9));
    watch.news();
    stream.ask({ cancel_request: { watch_id: 0n } }).ask({});
    expect([stream.heard, watch.isCancelled]).toEqual([
      ["0 created rev 5", "0 canceled rev 5"],
      true,
    ]);
  });

  it("cancels a watcher that is compacted, with the revision from which one may go on", () => {
    const watch = stream.create();
    watch.waiting.push({ kind: "compacted", compactRevision: 4 });
    watch.news();
    expect(stream.heard).toEqual(["0 created rev 5", "0 canceled compacted 4 rev 0"]);
    stream.ask({ cancel_request: { watch_id: 0n } });
    watch.news();
    expect([stream.heard, watch.isCancelled]).toEqual([[], true]);
    stream.create();
    expect(stream.heard).toEqual(["1 created rev 5"]);
  });

  it("ends the stream when the database ends, but not for a key that is too long", () => {
    const long = stream.create();
    long.waiting.push({ kind: "failed", error: new HarmonyError("KEY_TOO_LARGE") });
    long.news();
    expect(stream.heard).toEqual([
      "0 created rev 5",
      "0 canceled harmonydb: key is too large rev 0",
    ]);
    expect(stream.ends).toEqual([]);
    const watch = stream.create();
    watch.waiting.push({ kind: "failed", error: new HarmonyError("CLOSED") });
    watch.news();
    expect(stream.ends).toEqual([{ code: 14, message: "etcdserver: server stopped" }]);
  });

  it("takes nothing for a client that does not read, and one batch of each in turn for one that does", () => {
    const [a, b] = [stream.create(), stream.create()];
    stream.reads = false;
    for (const watch of [a, b]) {
      give(watch, 6, event("k", 6));
      give(watch, 7, event("k", 7));
      watch.news();
    }
    expect([a.taken, b.taken]).toEqual([[], []]);
    expect(stream.heard).toEqual(["0 created rev 5", "1 created rev 5"]);
    stream.readAgain();
    expect(stream.heard).toEqual(["0 k@6 rev 6", "1 k@6 rev 6", "0 k@7 rev 7", "1 k@7 rev 7"]);
  });

  it("splits what is large for those who allow it, between events only", () => {
    const events = [
      event("0", 6, 5000),
      event("a", 6),
      event("b", 6, 700),
      event("c", 6, 700),
      event("d", 7),
      event("e", 7, 5000),
    ];
    const whole = stream.create();
    const split = stream.create({ fragment: true });
    for (const watch of [whole, split]) {
      give(watch, 7, ...events);
      watch.news();
    }
    expect(stream.heard.slice(2)).toEqual([
      "0 0@6 a@6 b@6 c@6 d@7 e@7 rev 7",
      "1 fragment 0@6 rev 7",
      "1 fragment a@6 b@6 rev 7",
      "1 fragment c@6 d@7 rev 7",
      "1 e@7 rev 7",
    ]);
  });

  it("sends the parts as the client reads, and nothing else between them", () => {
    const split = stream.create({ fragment: true });
    const other = stream.create({ progress_notify: true });
    const events = Array.from({ length: 5 }, (_, i) => event(`${i}`, 6, 950));
    give(split, 6, ...events);
    void stream.heard;
    // One message at a time: whatever is sent fills the line.
    const { sent } = stream;
    const push = sent.push.bind(sent);
    sent.push = (...messages) => {
      stream.reads = false;
      return push(...messages);
    };
    split.news();
    expect(stream.heard).toEqual(["0 fragment 0@6 rev 6"]);
    let isDone = false;
    stream.listener.message(
      pb.WatchRequest.encode({ cancel_request: { watch_id: 0n } } as pb.WatchRequest).finish(),
      () => {
        isDone = true;
      },
    );
    give(other, 7, event("k", 7));
    other.news();
    const heard: string[] = [];
    for (let i = 0; i < 8; i++) {
      if (heard.length < 4) expect(isDone).toBe(false);
      stream.readAgain();
      heard.push(...stream.heard);
    }
    expect(heard).toEqual([
      "0 fragment 1@6 rev 6",
      "0 fragment 2@6 rev 6",
      "0 fragment 3@6 rev 6",
      "0 4@6 rev 6",
      "0 canceled rev 5",
      "1 k@7 rev 7",
    ]);
    expect(isDone).toBe(true);
  });

  it("answers one progress request for all watchers, once all of them are told everything", () => {
    const [a, b] = [stream.create(), stream.create()];
    void stream.heard;
    a.revision = 9;
    stream.ask({ progress_request: {} });
    expect(stream.heard).toEqual(["-1 rev 5"]);
    b.isSynced = false;
    stream.ask({ progress_request: {} }).ask({ progress_request: {} });
    expect(stream.heard).toEqual([]);
    b.isSynced = true;
    give(b, 5, event("k", 5));
    b.news();
    b.news();
    expect(stream.heard).toEqual(["1 k@5 rev 5", "-1 rev 5"]);
  });

  it("tells an idle watcher how far it is, at intervals, if it asked for that", () => {
    vi.useFakeTimers();
    const quiet = stream.create();
    const asked = stream.create({ progress_notify: true });
    void stream.heard;
    asked.revision = 8;
    vi.advanceTimersByTime(1.1 * PROGRESS_MS);
    expect(stream.heard).toEqual(["1 rev 8"]);
    // Who was told something else meanwhile is not told, nor who is behind, nor who does not read.
    give(asked, 9, event("k", 9));
    asked.news();
    vi.advanceTimersByTime(1.1 * PROGRESS_MS);
    expect(stream.heard).toEqual(["1 k@9 rev 9"]);
    asked.isSynced = false;
    vi.advanceTimersByTime(1.1 * PROGRESS_MS);
    asked.isSynced = true;
    stream.reads = false;
    vi.advanceTimersByTime(1.1 * PROGRESS_MS);
    expect(stream.heard).toEqual([]);
    stream.reads = true;
    vi.advanceTimersByTime(1.1 * PROGRESS_MS);
    expect(stream.heard).toEqual(["1 rev 8"]);
    stream.ask({ cancel_request: { watch_id: 1n } });
    void stream.heard;
    vi.advanceTimersByTime(5 * PROGRESS_MS);
    expect([stream.heard, vi.getTimerCount(), quiet.isCancelled]).toEqual([[], 0, false]);
  });

  it("goes on after the client's half of the stream is over, and ends its watchers with the stream", () => {
    const watch = stream.create();
    stream.listener.halfClosed();
    give(watch, 6, event("k", 6));
    watch.news();
    expect([stream.heard.at(-1), stream.ends]).toEqual(["0 k@6 rev 6", []]);
    stream.listener.closed();
    give(watch, 7, event("k", 7));
    watch.news();
    expect([stream.heard, watch.isCancelled]).toEqual([[], true]);
  });

  it("a message that is none ends the stream with an answer", () => {
    stream.listener.message(Uint8Array.of(0x0a, 9), () => {});
    expect(stream.ends[0]?.code).toBe(13);
  });

  it("a defect while news are told ends the stream and is logged, and the database does not notice", () => {
    const watch = stream.create();
    vi.spyOn(watch, "take").mockImplementation(() => {
      throw new Error("a defect");
    });
    watch.news();
    expect([stream.ends[0]?.code, log.lines.length]).toEqual([2, 1]);
  });
});
