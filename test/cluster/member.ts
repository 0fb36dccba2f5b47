/** One member as a process of its own, and a client of it. */
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { etcd } from "../../src/codec/messages/index.ts";
import { type Ended, Run } from "../process/harmonydb.ts";

/** No process of a test outlives this, whatever happens to the test. */
const PROCESS_MS = 150_000;
/** Longer than a member keeps a request waiting for a leader. */
const CALL_MS = 15_000;
/** Of a message without fields: all of them have their defaults. */
export const NOTHING: Uint8Array = new Uint8Array(0);

export interface MemberConfig {
  readonly name: string;
  readonly dataDir: string;
  readonly ports: { readonly client: number; readonly metrics: number };
  readonly args: readonly string[];
  /** How far its wall clock is ahead. */
  readonly clockMs?: number;
  readonly processMs?: number;
}

export class Member {
  readonly name: string;
  readonly dataDir: string;
  readonly #args: readonly string[];
  readonly #clientUrl: string;
  readonly #metricsUrl: string;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #processMs: number;
  #run: Run | null = null;
  #isPaused = false;
  #client: Client;

  constructor({ name, dataDir, ports, args, clockMs = 0, processMs = PROCESS_MS }: MemberConfig) {
    this.name = name;
    this.dataDir = dataDir;
    this.#clientUrl = `http://127.0.0.1:${ports.client}`;
    this.#metricsUrl = `http://127.0.0.1:${ports.metrics}`;
    this.#environment = clockMs === 0 ? {} : { NODE_OPTIONS: `--import=${otherClock(clockMs)}` };
    this.#processMs = processMs;
    this.#args = [
      "serve",
      "--name",
      name,
      "--data-dir",
      dataDir,
      "--listen-client-urls",
      this.#clientUrl,
      "--listen-metrics-urls",
      this.#metricsUrl,
      ...args,
    ];
    this.#client = this.#connect();
  }

  /** For a client of another kind. */
  get clientUrl(): string {
    return this.#clientUrl;
  }

  get isUp(): boolean {
    return this.#run !== null;
  }

  /** It runs and answers. */
  get isAwake(): boolean {
    return this.#run !== null && !this.#isPaused;
  }

  /** Of its process. */
  get pid(): number {
    const pid = this.#run?.child.pid;
    if (pid === undefined) throw new Error(`${this.name} does not run`);
    return pid;
  }

  /** What it has logged. */
  get log(): string {
    return this.#run?.err ?? "";
  }

  async start(...more: readonly string[]): Promise<void> {
    this.#run = new Run([...this.#args, ...more], this.#environment, this.#processMs);
    this.#isPaused = false;
    await this.#run.ready();
  }

  async stop(signal: "SIGKILL" | "SIGTERM"): Promise<Ended> {
    const run = this.#run;
    if (run === null) throw new Error(`${this.name} does not run`);
    this.#run = null;
    return run.kill(signal);
  }

  /** The process stands still, its sockets and its memory as they are. */
  pause(): void {
    this.#isPaused = true;
    this.#run?.child.kill("SIGSTOP");
  }

  resume(): void {
    this.#isPaused = false;
    this.#run?.child.kill("SIGCONT");
  }

  /** Its client goes; the process is the caller's. */
  close(): void {
    this.#client.close();
  }

  async put(key: string, value: string): Promise<void> {
    await this.call(
      "KV/Put",
      etcd.PutRequest.encode({
        ...etcd.PutRequest.decode(NOTHING),
        key: Buffer.from(key),
        value: Buffer.from(value),
      }).finish(),
    );
  }

  /** The value of each key under `prefix`. */
  async all(prefix: string, isSerializable = false): Promise<ReadonlyMap<string, string>> {
    const { kvs } = await this.range(prefix, { serializable: isSerializable });
    return new Map(
      kvs.map(({ key, value }) => [Buffer.from(key).toString(), Buffer.from(value).toString()]),
    );
  }

  /** What is under `prefix`, or everything where that is empty. */
  async range(
    prefix: string,
    options: { readonly serializable?: boolean; readonly revision?: bigint } = {},
  ): Promise<etcd.RangeResponse> {
    const last = prefix.charCodeAt(prefix.length - 1) + 1;
    const isAll = prefix === "";
    const answer = await this.call(
      "KV/Range",
      etcd.RangeRequest.encode({
        ...etcd.RangeRequest.decode(NOTHING),
        key: isAll ? Buffer.of(0) : Buffer.from(prefix),
        range_end: isAll
          ? Buffer.of(0)
          : Buffer.from(prefix.slice(0, -1) + String.fromCharCode(last)),
        ...options,
      }).finish(),
    );
    return etcd.RangeResponse.decode(answer);
  }

  async status(): Promise<etcd.StatusResponse> {
    return etcd.StatusResponse.decode(await this.call("Maintenance/Status", NOTHING));
  }

  /** The HTTP status of `/readyz`, `/health` and the like. */
  async probe(path: string): Promise<number> {
    const response = await fetch(`${this.#metricsUrl}${path}`);
    await response.arrayBuffer();
    return response.status;
  }

  /** HashKV at the latest revision here, and that revision. */
  async hashKv(): Promise<string> {
    const answer = await this.call("Maintenance/HashKV", NOTHING);
    const { hash, compact_revision, header } = etcd.HashKVResponse.decode(answer);
    return `${hash} compacted ${compact_revision} at ${header?.revision}`;
  }

  /** A figure of `/metrics`, by its whole name. */
  async metric(name: string): Promise<number> {
    const response = await fetch(`${this.#metricsUrl}/metrics`);
    for (const line of (await response.text()).split("\n"))
      if (line.startsWith(`${name} `)) return Number(line.slice(name.length + 1));
    throw new Error(`${this.name} has no figure ${name}`);
  }

  async memberNames(): Promise<readonly string[]> {
    return (await this.memberList()).map(({ name }) => name);
  }

  async memberList(): Promise<readonly etcd.Member[]> {
    return etcd.MemberListResponse.decode(await this.call("Cluster/MemberList", NOTHING)).members;
  }

  async removeMember(id: bigint): Promise<void> {
    const request = etcd.MemberRemoveRequest.encode({ ID: id });
    await this.call("Cluster/MemberRemove", request.finish());
  }

  async addMember(peerUrl: string): Promise<void> {
    const request = etcd.MemberAddRequest.encode({ peerURLs: [peerUrl], isLearner: false });
    await this.call("Cluster/MemberAdd", request.finish());
  }

  /** A method of etcd's, or any by its whole path. `waits`: until the member listens, for as long as the call may take. */
  call(
    method: string,
    request: Uint8Array,
    options: { readonly waits?: boolean; readonly timeoutMs?: number } = {},
  ): Promise<Buffer> {
    const { waits = false, timeoutMs = CALL_MS } = options;
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        method.startsWith("/") ? method : `/etcdserverpb.${method}`,
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes: Buffer) => bytes,
        request,
        new Metadata({ waitForReady: waits }),
        { deadline: Date.now() + timeoutMs },
        (error: ServiceError | null, answer) =>
          error === null ? resolve(answer as Buffer) : reject(error),
      );
    });
  }

  #connect(): Client {
    return new Client(this.#clientUrl.replace("http://", ""), credentials.createInsecure(), {
      // Its own back-off would make a member that is there again look as if it were not.
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.min_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 200,
      "grpc.max_receive_message_length": -1,
      // Each member has a connection of its own, also where two clients of one test speak to it.
      "grpc.use_local_subchannel_pool": 1,
    });
  }
}

/**
 * A module that sets the wall clock of the process which imports it before anything else, as a clock that somebody set
 * wrongly is: timers and the monotonic clock are not touched, and the program does not know.
 */
function otherClock(byMs: number): string {
  const code = `const Right = Date;
globalThis.Date = class extends Right {
  constructor(...parts) {
    if (parts.length === 0) super(Right.now() + ${byMs});
    else super(...parts);
  }
  static now() {
    return Right.now() + ${byMs};
  }
};`;
  return `data:text/javascript,${encodeURIComponent(code)}`;
}
