/** Watch through the whole stack: a node in memory, a real socket, a client that may not read. */
import { Client, type ClientDuplexStream, credentials } from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, it } from "vitest";
import { utf8 } from "../../base/index.ts";
// The generated code is the oracle of tests and no part of the codec's door.
// oxlint-disable-next-line no-restricted-imports
import * as pb from "../../codec/protobuf/gen/etcdserverpb/rpc.ts";
import { type Node, startNode, stopNode } from "../../db/index.ts";
import { nodeEnv } from "../../platform/index.ts";
import { type EtcdServer, serveEtcd } from "../index.ts";

let node: Node;
let server: EtcdServer;
let client: Client;

beforeEach(async () => {
  const log = (): void => {};
  node = await startNode(nodeEnv({ log }), { dataDir: ":memory:", persistence: "none" });
  server = await serveEtcd({ database: node.database, urls: ["http://127.0.0.1:0"], log });
  client = new Client(new URL(server.addresses[0] as string).host, credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
  });
});
afterEach(async () => {
  client.close();
  await server.close(0);
  await stopNode(node);
});

/** Generous: how long it takes depends on what else the machine does. */
const TIMEOUT_MS = 60_000;
const eventually = <T>(look: () => T): ReturnType<typeof expect.poll<T>> =>
  expect.poll(look, { timeout: TIMEOUT_MS / 2 });

class WatchStream {
  readonly call: ClientDuplexStream<Buffer, Buffer>;
  readonly responses: pb.WatchResponse[] = [];
  status: { readonly code: number; readonly details: string } | null = null;

  constructor() {
    this.call = client.makeBidiStreamRequest(
      "/etcdserverpb.Watch/Watch",
      (b: Buffer) => b,
      (b: Buffer) => b,
    );
    this.call.on("data", (b: Buffer) => this.responses.push(pb.WatchResponse.decode(b)));
    this.call.on("error", () => {});
    this.call.on("status", (status) => (this.status = status));
  }

  create(request: Partial<pb.WatchCreateRequest>): void {
    const none = pb.WatchCreateRequest.decode(new Uint8Array(0));
    const message = { create_request: { ...none, ...request } } as pb.WatchRequest;
    this.call.write(Buffer.from(pb.WatchRequest.encode(message).finish()));
  }

  /** Of the watcher `id`, the revisions of its events in the order in which they came. */
  revisions(id = 0n): number[] {
    return this.responses
      .filter(({ watch_id }) => watch_id === id)
      .flatMap(({ events }) => events.map(({ kv }) => Number(kv?.mod_revision)));
  }
}

function put(key: string, value: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    node.database.write(
      {
        kind: "put",
        key: utf8(key),
        value,
        lease: 0n,
        prevKv: false,
        ignoreValue: false,
        ignoreLease: false,
      },
      {},
      (error) => (error === null ? resolve() : reject(error)),
    );
  });
}

it(
  "a client that does not read is given everything when it reads again, and others do not wait",
  async () => {
    const slow = new WatchStream();
    const quick = new WatchStream();
    for (const stream of [slow, quick]) stream.create({ key: utf8("k") });
    await eventually(() => slow.responses.length + quick.responses.length).toBe(2);
    slow.call.pause();
    const value = new Uint8Array(40_000);
    for (let i = 0; i < 10; i++)
      await Promise.all(Array.from({ length: 20 }, () => put("k", value)));
    const all = Array.from({ length: 200 }, (_, i) => i + 2);
    await eventually(() => quick.revisions()).toEqual(all);
    expect(slow.revisions().length).toBeLessThan(100);
    slow.call.resume();
    await eventually(() => slow.revisions()).toEqual(all);
  },
  TIMEOUT_MS,
);

it(
  "a thousand watchers on one stream are all told, each in order, and are gone with it",
  async () => {
    const stream = new WatchStream();
    for (let i = 0; i < 1000; i++)
      stream.create(i % 2 === 0 ? { key: utf8("k") } : { key: utf8("k"), range_end: utf8("l") });
    await eventually(() => stream.responses.length).toBe(1000);
    expect(node.database.watchCount).toBe(1000);
    for (let i = 0; i < 5; i++) await put("k", Uint8Array.of(i));
    await eventually(() => stream.revisions(999n)).toEqual([2, 3, 4, 5, 6]);
    const told = new Map<bigint, number[]>();
    for (const { watch_id, events } of stream.responses) {
      const revisions = events.map(({ kv }) => Number(kv?.mod_revision));
      told.set(watch_id, [...(told.get(watch_id) ?? []), ...revisions]);
    }
    expect([...told.values()]).toEqual(Array(1000).fill([2, 3, 4, 5, 6]));
    stream.call.cancel();
    await eventually(() => node.database.watchCount).toBe(0);
  },
  TIMEOUT_MS,
);

it(
  "events that were waiting when the server closes are not lost without a word",
  async () => {
    const stream = new WatchStream();
    stream.create({ key: utf8("k") });
    await eventually(() => stream.responses.length).toBe(1);
    await server.close(0);
    await eventually(() => stream.status?.code).toBe(14);
  },
  TIMEOUT_MS,
);
