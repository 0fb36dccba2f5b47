/** Counts the calls of a method, how they end, and how long they take. */
import type { Metrics, MethodMetrics } from "../http/metrics.ts";
import type { Method, StreamCall, StreamHandler, StreamListener } from "./method.ts";
import { GrpcCode, type GrpcStatus } from "./status.ts";

/** gRPC's names of the codes, as its own libraries label them. */
const NAMES: ReadonlyMap<number, string> = new Map([
  [GrpcCode.cancelled, "Canceled"],
  [GrpcCode.unknown, "Unknown"],
  [GrpcCode.invalidArgument, "InvalidArgument"],
  [GrpcCode.deadlineExceeded, "DeadlineExceeded"],
  [GrpcCode.notFound, "NotFound"],
  [GrpcCode.resourceExhausted, "ResourceExhausted"],
  [GrpcCode.failedPrecondition, "FailedPrecondition"],
  [GrpcCode.outOfRange, "OutOfRange"],
  [GrpcCode.unimplemented, "Unimplemented"],
  [GrpcCode.internal, "Internal"],
  [GrpcCode.unavailable, "Unavailable"],
  [GrpcCode.dataLoss, "DataLoss"],
]);

const TYPES = { unary: "unary", serverStream: "server_stream", bidi: "bidi_stream" } as const;

function nameOf(status: GrpcStatus | null): string {
  return status === null ? "OK" : (NAMES.get(status.code) ?? "Unknown");
}

export function measured(method: Method, metrics: Metrics): Method {
  const [, service = "", name = ""] = method.path.split("/");
  const counts = metrics.method(service, name, TYPES[method.kind]);
  if (method.kind !== "unary")
    return { ...method, open: (call) => measuredStream(method.open, call, counts) };
  return {
    ...method,
    handle: (request, call, reply) => {
      counts.started++;
      const startedMs = performance.now();
      method.handle(request, call, (status, response) => {
        counts.end(nameOf(status), (performance.now() - startedMs) / 1000);
        reply(status, response);
      });
    },
  };
}

/** A stream ends with what its service says, or with its client's leaving: that is heard from the listener. */
function measuredStream(
  open: StreamHandler,
  call: StreamCall,
  counts: MethodMetrics,
): StreamListener {
  counts.started++;
  const startedMs = performance.now();
  let isOver = false;
  const over = (name: string): void => {
    if (!isOver) counts.end(name, (performance.now() - startedMs) / 1000);
    isOver = true;
  };
  const listener = open({
    timeoutMs: call.timeoutMs,
    signal: call.signal,
    metadata: (name) => call.metadata(name),
    send: (message) => call.send(message),
    get isWritable() {
      return call.isWritable;
    },
    whenWritable: (next) => call.whenWritable(next),
    end: (status) => {
      over(nameOf(status));
      call.end(status);
    },
  });
  return {
    message: (request, done) => listener.message(request, done),
    halfClosed: () => listener.halfClosed(),
    closed: () => {
      over("Canceled");
      listener.closed();
    },
  };
}
