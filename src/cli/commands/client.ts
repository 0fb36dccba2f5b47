/**
 * A connection to one node, and what its errors mean for the person who called.
 *
 * A request is sent once: a write that may have been applied is never sent again behind the caller's back, and the
 * message says so. Only the choice of the node is tried along the list of endpoints.
 */
import { connect } from "node:net";
import {
  Client as GrpcClient,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceError,
  status as GrpcCode,
} from "@grpc/grpc-js";
import { CommandError, Exit } from "../exit.ts";
import type { Endpoint } from "./flags.ts";

export interface Codec<T> {
  encode(message: T): { finish(): Uint8Array };
  decode(bytes: Uint8Array): T;
}

/** A method: its path and the messages in both directions. */
export interface Rpc<Request, Response> {
  readonly path: string;
  readonly request: Codec<Request>;
  readonly response: Codec<Response>;
  /** Nothing changes by it, so nothing has to be looked after when it gets no answer. */
  readonly isRead?: true;
}

export interface ClientTimes {
  readonly commandTimeoutMs: number;
  readonly dialTimeoutMs: number;
}

/** Longer than any answer of a node that takes requests of the usual size. */
const MESSAGE_BYTES_MAX = 512 * 1024 * 1024;

export class Client {
  readonly endpoint: Endpoint;
  readonly #grpc: GrpcClient;
  readonly #timeoutMs: number;

  private constructor(endpoint: Endpoint, timeoutMs: number) {
    this.endpoint = endpoint;
    this.#timeoutMs = timeoutMs;
    this.#grpc = new GrpcClient(endpoint.text, credentials.createInsecure(), {
      "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
      "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
      // Each client its own connection: `bench` counts them.
      "grpc.use_local_subchannel_pool": 1,
      // A node that is there again is not waited for much longer than that.
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 1000,
    });
  }

  /** Connects to the first endpoint that can be reached. Throws a CommandError that names each and its reason. */
  static async open(endpoints: readonly Endpoint[], times: ClientTimes): Promise<Client> {
    return new Client(await Client.reach(endpoints, times), times.commandTimeoutMs);
  }

  /** To an endpoint that was reached. */
  static to(endpoint: Endpoint, times: ClientTimes): Client {
    return new Client(endpoint, times.commandTimeoutMs);
  }

  /** The first endpoint that can be reached. Throws as `open`. */
  static async reach(endpoints: readonly Endpoint[], times: ClientTimes): Promise<Endpoint> {
    const reasons: string[] = [];
    for (const endpoint of endpoints) {
      const reason = await unreachable(endpoint, times.dialTimeoutMs);
      if (reason === null) return endpoint;
      reasons.push(`${endpoint.text}: ${reason}`);
    }
    throw new CommandError(`no node can be reached: ${reasons.join("; ")}`, Exit.badConnection, [
      "start one with `harmonydb serve`, or name another with --endpoints",
    ]);
  }

  unary<Request, Response>(
    rpc: Rpc<Request, Response>,
    request: Request,
    timeoutMs: number = this.#timeoutMs,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      this.#grpc.makeUnaryRequest(
        rpc.path,
        (message: Request) => Buffer.from(rpc.request.encode(message).finish()),
        (bytes: Buffer) => rpc.response.decode(bytes),
        request,
        { deadline: Date.now() + timeoutMs },
        (error, response) => {
          if (error === null) resolve(response as Response);
          else reject(this.endingOf(error, timeoutMs, rpc.isRead));
        },
      );
    });
  }

  /** A stream in both directions. Errors of it arrive as what `endingOf` takes. */
  stream<Request, Response>(rpc: Rpc<Request, Response>): ClientDuplexStream<Request, Response> {
    return this.#grpc.makeBidiStreamRequest(
      rpc.path,
      (message: Request) => Buffer.from(rpc.request.encode(message).finish()),
      (bytes: Buffer) => rpc.response.decode(bytes),
      new Metadata(),
    );
  }

  /** The answers to one request, as fast as they are taken. Errors of it arrive as what `endingOf` takes. */
  download<Request, Response>(
    rpc: Rpc<Request, Response>,
    request: Request,
  ): ClientReadableStream<Response> {
    const call = this.#grpc.makeServerStreamRequest(
      rpc.path,
      (message: Request) => Buffer.from(rpc.request.encode(message).finish()),
      (bytes: Buffer) => rpc.response.decode(bytes),
      request,
    );
    // Whoever reads is told of it all the same. A call that is cancelled before or after that has nobody else to tell.
    call.on("error", () => {});
    return call;
  }

  close(): void {
    this.#grpc.close();
  }

  /** What an error of a call means; anything else stays as it is. */
  endingOf(error: unknown, timeoutMs: number = this.#timeoutMs, isRead = false): unknown {
    if (!isServiceError(error)) return error;
    const { code, details } = error;
    const node = this.endpoint.text;
    if (code === GrpcCode.DEADLINE_EXCEEDED) {
      return new RpcError(code, `no answer from ${node} within ${timeoutMs} ms`, Exit.refused, [
        isRead
          ? "nothing was changed; ask again, or wait longer with --command-timeout"
          : "a write may have been applied; read before writing again, or wait longer with --command-timeout",
      ]);
    }
    if (code === GrpcCode.UNAVAILABLE && !/^(etcdserver|harmonydb): /.test(details)) {
      return new RpcError(
        code,
        `the connection to ${node} was lost: ${details}`,
        Exit.badConnection,
        [
          isRead
            ? "nothing was changed; is it a HarmonyDB node that listens there?"
            : "a write that was under way may have been applied; is it a HarmonyDB node that listens there?",
        ],
      );
    }
    if (code === GrpcCode.UNIMPLEMENTED) {
      return new RpcError(
        code,
        `${node} does not know this request: ${details}`,
        Exit.serverError,
        ["the node is of another version, or is not HarmonyDB"],
      );
    }
    const failed =
      code === GrpcCode.UNKNOWN || code === GrpcCode.INTERNAL || code === GrpcCode.DATA_LOSS;
    return new RpcError(
      code,
      `${node} answered: ${details}`,
      failed ? Exit.serverError : Exit.refused,
    );
  }
}

/** A call that failed, with the code of the protocol. */
export class RpcError extends CommandError {
  readonly code: number;

  constructor(code: number, message: string, exit: Exit, lines: readonly string[] = []) {
    super(message, exit, lines);
    this.code = code;
  }

  /** The node says something of this request itself; a full disk, say, would end any other one alike. */
  get isOfRequest(): boolean {
    // One code for what is too large and for what there is no room for: only the text tells them apart.
    return (
      OF_REQUEST.has(this.code) ||
      (this.code === GrpcCode.RESOURCE_EXHAUSTED &&
        this.message.includes("message larger than max"))
    );
  }

  /** The same request may succeed in a moment, if it may be sent again at all. */
  get isPassing(): boolean {
    return (
      this.code === GrpcCode.UNAVAILABLE ||
      this.code === GrpcCode.DEADLINE_EXCEEDED ||
      (this.code === GrpcCode.RESOURCE_EXHAUSTED && this.message.endsWith("too many requests"))
    );
  }
}

const OF_REQUEST: ReadonlySet<number> = new Set([
  GrpcCode.INVALID_ARGUMENT,
  GrpcCode.NOT_FOUND,
  GrpcCode.FAILED_PRECONDITION,
  GrpcCode.OUT_OF_RANGE,
]);

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "details" in error && "metadata" in error;
}

/** Null when something listens there. gRPC's own connecting hides the reason and tries again until the deadline. */
function unreachable(endpoint: Endpoint, timeoutMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect({ host: endpoint.host, port: endpoint.port });
    const done = (reason: string | null): void => {
      socket.destroy();
      resolve(reason);
    };
    socket.setTimeout(timeoutMs, () => done(`no connection within ${timeoutMs} ms`));
    socket.once("connect", () => done(null));
    socket.once("error", (error: NodeJS.ErrnoException) =>
      done(REASONS[error.code ?? ""] ?? error.message),
    );
  });
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ENOTFOUND: "unknown host",
  EHOSTUNREACH: "no route to the host",
  ETIMEDOUT: "connection timed out",
};
