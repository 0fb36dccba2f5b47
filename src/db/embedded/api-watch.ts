/** What a program sees of changes as they happen. */
import { HarmonyError } from "../../base/index.ts";
import type { Entry } from "./api.ts";

/** How changes are watched. */
export interface WatchOptions {
  /** Ends it with ABORTED. */
  readonly signal?: AbortSignal | undefined;
  /** The first revision to hear of, which may lie in the future. Default: what comes after the call. */
  readonly fromRev?: number | undefined;
  /** Events tell what was there before. */
  readonly prev?: boolean | undefined;
  /** Events of one type. Default: both. */
  readonly only?: "put" | "delete" | undefined;
  /** An empty batch comes when a reader has waited so long, in milliseconds, and nothing has happened. */
  readonly progressMs?: number | undefined;
}

/** One change of one key. Everything in it belongs to the receiver. */
export type WatchEvent<V = Uint8Array> =
  | {
      readonly type: "put";
      /** The key as text, without the scope's prefix. */
      readonly key: string;
      readonly rawKey: Uint8Array;
      /** The revision of the change. */
      readonly rev: number;
      readonly entry: Entry<V>;
      /** Before the change, if it was asked for; absent where the key was new or that has been compacted. */
      readonly prev?: Entry<V>;
    }
  | {
      readonly type: "delete";
      readonly key: string;
      readonly rawKey: Uint8Array;
      readonly rev: number;
      /** Somebody deleted it, its own time was over, or its lease ended. */
      readonly cause: "client" | "expired" | "lease";
      readonly prev?: Entry<V>;
    };

/** Events in the order in which they happened, those of one revision together. */
export interface WatchBatch<V = Uint8Array> {
  /** Every later event is newer: a watch from `rev + 1` on goes on where this one was. */
  readonly rev: number;
  /** Empty: nothing has happened. */
  readonly events: readonly WatchEvent<V>[];
}

/**
 * Batches of changes, for as long as somebody asks for them; nothing is skipped. One that is not read costs nothing but
 * its place, which is a revision; if what it has not read is compacted, it rejects with CompactedError. It ends by
 * leaving the loop, by `close`, or with what it rejects with: ABORTED, CLOSED, STOPPED.
 */
export interface Watching<V = Uint8Array>
  extends AsyncIterableIterator<WatchBatch<V>>, AsyncDisposable {
  /** Itself: one reader takes each batch. */
  [Symbol.asyncIterator](): Watching<V>;
  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void>;
  /** Ends it: whoever waits for the next batch is told that there is none. Closing twice is one closing. */
  close(): Promise<void>;
}

/** What a watch has not read is gone. `code` is COMPACTED. */
export class CompactedError extends HarmonyError {
  /** From here on everything is there: read the state, then watch from its revision. */
  readonly compactRev: number;

  constructor(compactRev: number) {
    super("COMPACTED", `a watch may start at revision ${compactRev}`);
    this.compactRev = compactRev;
  }
}
