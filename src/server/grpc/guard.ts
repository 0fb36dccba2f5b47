/**
 * What surrounds every method: the metadata rules of etcd (etcd-api 2.7) before it, and a net under it, so that a
 * handler that throws costs its caller an answer and nobody else anything.
 */
import { EMPTY_BYTES } from "../../base/index.ts";
import type { ServiceContext } from "./answer.ts";
import type { Call, Method, StreamCall, StreamListener } from "./method.ts";
import { type GrpcStatus, INVALID_CLIENT_API_VERSION, statusOf } from "./status.ts";

export function guarded(method: Method, context: ServiceContext): Method {
  if (method.kind !== "unary")
    return { ...method, open: (call) => guardedStream(method, context, call) };
  return {
    ...method,
    handle: (request, call, reply) => {
      try {
        const refused = refusedByMetadata(call, context);
        if (refused === null) method.handle(request, call, reply);
        else reply(refused, EMPTY_BYTES);
      } catch (error) {
        context.fail(error, reply);
      }
    },
  };
}

function guardedStream(
  method: Extract<Method, { readonly kind: "bidi" | "serverStream" }>,
  context: ServiceContext,
  call: StreamCall,
): StreamListener {
  const attempt = (step: () => void): void => {
    try {
      step();
    } catch (error) {
      context.fail(error, (status) => call.end(status));
    }
  };
  let listener: StreamListener | null = null;
  attempt(() => {
    const refused = refusedByMetadata(call, context);
    if (refused === null) listener = method.open(call);
    else call.end(refused);
  });
  return {
    message: (request, done) => attempt(() => listener?.message(request, done)),
    halfClosed: () => attempt(() => listener?.halfClosed()),
    closed: () => attempt(() => listener?.closed()),
  };
}

/**
 * `hasleader: true` asks to be refused at once by a member that has no leader, instead of waiting. A client's
 * version is only looked at for being text.
 */
function refusedByMetadata(call: Call, context: ServiceContext): GrpcStatus | null {
  const version = call.metadata("client-api-version");
  if (version !== undefined && !isUtf8(version)) return INVALID_CLIENT_API_VERSION;
  if (call.metadata("hasleader") === "true" && context.database.status().leader === 0n)
    return statusOf("NO_LEADER");
  return null;
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true });

/** Header values arrive as one character for each byte. */
function isUtf8(value: string): boolean {
  // Nearly always plain ASCII, which needs no decoding to be seen.
  if (/^[ -~]*$/.test(value)) return true;
  try {
    strictUtf8.decode(Uint8Array.from(value, (character) => character.charCodeAt(0)));
    return true;
  } catch {
    return false;
  }
}
