/**
 * HTTP/2 for a gRPC server, as synchronous machines without a host: `Http2Connection` turns bytes into streams and
 * answers into bytes (RFC 9113, HPACK: RFC 7541), `GrpcCall` turns the bytes of a stream into messages.
 *
 * Why our own: a library's general server costs several times what the rest of a call does; ours does what gRPC
 * needs and nothing else (decision 0012).
 *
 * Left out: push, priorities (read and ignored, as RFC 9113 section 5.3 allows), Huffman in what we send, larger
 * frames than 16 KiB, compressed messages (refused as gRPC asks for), the client's side but for its messages.
 */
export { Http2Connection } from "./connection.ts";
export { Allowance, type CallListener, GrpcCall, HeldRoom } from "./grpc-call.ts";
export { HTTP2_LIMITS, type Http2Limits } from "./limits.ts";
export { MessageReader } from "./message-reader.ts";
export { isGrpc, metadataValue, parseTimeout, type RequestHead } from "./request-head.ts";
export type { Http2Stream, StreamListener } from "./stream.ts";
