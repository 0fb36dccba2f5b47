/**
 * Maintenance.Snapshot: the whole state as one file, made when it is asked for and sent as fast as the client reads. A
 * client that does not read keeps a file open and one piece in memory, and nothing else.
 */
import { checkEmptyRequest, encodeSnapshotResponse } from "../../codec/index.ts";
import type { SnapshotReader } from "../../db/index.ts";
import type { ErrorCode } from "../../base/index.ts";
import type { Method, StreamCall, StreamListener } from "./method.ts";
import { statusOf, unimplemented } from "./status.ts";

/** What of a node the service needs. */
export interface SnapshotSupport {
  /** Makes a snapshot of what is applied now and opens it. */
  openSnapshot(
    done: (error: { readonly code: ErrorCode } | null, reader: SnapshotReader | null) => void,
  ): void;
}

/** Of the file in one message. */
const PIECE_BYTES: number = 64 * 1024;

export function snapshotService(
  support: SnapshotSupport | undefined,
  storageVersion: string,
): readonly Method[] {
  return [
    {
      kind: "serverStream",
      path: "/etcdserverpb.Maintenance/Snapshot",
      open: (call) => new SnapshotStream(call, support, storageVersion),
    },
  ];
}

class SnapshotStream implements StreamListener {
  readonly #call: StreamCall;
  readonly #support: SnapshotSupport | undefined;
  readonly #version: string;
  #reader: SnapshotReader | null = null;
  #isOver = false;

  constructor(call: StreamCall, support: SnapshotSupport | undefined, version: string) {
    this.#call = call;
    this.#support = support;
    this.#version = version;
  }

  message(request: Uint8Array, done: () => void): void {
    checkEmptyRequest(request);
    done();
    if (this.#support === undefined) {
      this.#call.end(unimplemented("a snapshot by request"));
      return;
    }
    this.#support.openSnapshot((error, reader) => {
      if (reader === null) this.#call.end(statusOf(error?.code ?? "STOPPED"));
      // The client has gone while it was made.
      else if (this.#isOver) reader.close();
      else {
        this.#reader = reader;
        this.#next(reader);
      }
    });
  }

  halfClosed(): void {}

  closed(): void {
    this.#isOver = true;
    this.#reader?.close();
  }

  #next(reader: SnapshotReader): void {
    reader.read(PIECE_BYTES, (error, blob) => {
      if (this.#isOver) return;
      if (error !== null) {
        this.#call.end(statusOf(error.code));
        return;
      }
      if (blob === null) {
        this.#call.end(null);
        return;
      }
      this.#call.send(
        encodeSnapshotResponse({ remainingBytes: reader.remaining, blob, version: this.#version }),
      );
      this.#call.whenWritable(() => this.#next(reader));
    });
  }
}
