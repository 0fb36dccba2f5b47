/**
 * Links between members over sockets: gRPC on our own HTTP/2 where others call, Node's client where this node calls. It
 * listens from the start, so that a port in use is told before a directory is made, and takes calls when the node says so.
 */
import { PEER_FRAME_BYTES_MAX } from "../../codec/index.ts";
import type { Link, LinkEvents, Links, LogSink } from "../../env/index.ts";
import { listenGrpc, type Transport } from "../grpc/transport.ts";
import { GrpcCode } from "../grpc/status.ts";
import { AddressBook } from "./addresses.ts";
import { IncomingLink } from "./incoming-link.ts";
import { OutgoingLink } from "./outgoing-link.ts";

const PATH = "/harmonydb.peer.v1.Peer/Connect";
/** One call is what a member needs on a connection. */
const STREAMS_MAX = 4;
/**
 * Every member, a few calls that are ending, and strangers that are about to be turned away. When strangers have taken all
 * of them, those without a call make room: the calls of strangers are few (src/replica/peers).
 */
const CONNECTIONS_MAX = 256;
/** A call is ended with its connection: who opens calls only to reset them is no member. */
const RESETS = { burst: 16, perSecond: 2 };
/** A connection without a call is of no use. */
const IDLE_MS = 10_000;
const HANDSHAKE_MS = 5_000;

export interface PeerLinks extends Links {
  /** What is listened on, with the ports that were chosen. */
  readonly addresses: readonly string[];
  /** Cuts what is left. */
  close(): Promise<void>;
}

/** Until it has said who it is a stranger takes no more room than a name and some addresses do. */
const HELLO_BYTES_MAX: number = 64 * 1024;

/** Rejects with an Error whose `code` is EADDRINUSE or the like when it cannot listen. */
export async function listenForPeers(urls: readonly string[], log: LogSink): Promise<PeerLinks> {
  const addresses = new AddressBook();
  let take: ((link: Link) => LinkEvents) | null = null;
  const transport: Transport = await listenGrpc(
    [
      {
        kind: "bidi",
        path: PATH,
        firstMessageBytesMax: HELLO_BYTES_MAX,
        open: (call) => {
          const link = new IncomingLink(call);
          if (take === null)
            call.end({ code: GrpcCode.unavailable, message: "harmonydb: the member is starting" });
          else link.events = take(link);
          return link;
        },
      },
    ],
    {
      urls,
      maxMessageBytes: PEER_FRAME_BYTES_MAX,
      maxConcurrentStreams: STREAMS_MAX,
      maxConnections: CONNECTIONS_MAX,
      makesRoom: true,
      limits: { resets: RESETS },
      connectionIdleMs: IDLE_MS,
      handshakeMs: HANDSHAKE_MS,
    },
    log,
  );
  return {
    addresses: transport.addresses,
    dial: (url, events) =>
      new OutgoingLink(url, events, {
        path: PATH,
        maxFrameBytes: PEER_FRAME_BYTES_MAX,
        addresses,
      }),
    accept: (taker) => {
      take = taker;
    },
    close: () => transport.close(0),
  };
}
