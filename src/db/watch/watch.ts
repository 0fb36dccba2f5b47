/** What a watcher asks for and what it is given. */
import type { HarmonyError } from "../../base/index.ts";
import type { DeleteCause } from "../../mvcc/index.ts";
import type { KeyRange, KeyValue } from "../requests.ts";

export interface WatchRequest extends KeyRange {
  /** The first revision to hear of; it may lie in the future. 0: what comes after now. */
  readonly startRevision: number;
  /** Events tell what was there before, where it has not been compacted. */
  readonly prevKv: boolean;
  /** Puts are not told. */
  readonly noPut: boolean;
  /** Deletes are not told. */
  readonly noDelete: boolean;
  /** Its reader can watch another member instead: it ends where this one falls behind for want of room on its disk. */
  readonly mayMove?: boolean | undefined;
}

/** One change of one key. All bytes are shared with other watchers: whoever hands them to others copies. */
export interface WatchEvent {
  readonly type: "put" | "delete";
  /** Of a deletion only the key and the revision (`modRevision`) are set. */
  readonly kv: KeyValue;
  /** Null when the key was not there, when it was not asked for, and when it has been compacted. */
  readonly prevKv: KeyValue | null;
  /** Why a key went; null for a put. */
  readonly cause: DeleteCause | null;
}

/** What a watcher takes. After "compacted" and "failed" there is nothing more. */
export type WatchNews =
  | {
      readonly kind: "events";
      /** Not empty, in the order in which they happened; all that the watcher sees of a revision, or none of it. */
      readonly events: readonly WatchEvent[];
      /** Every later event is newer than this. */
      readonly revision: number;
    }
  /** What the watcher had not seen is gone. A new one may start at `compactRevision`. */
  | { readonly kind: "compacted"; readonly compactRevision: number }
  | { readonly kind: "failed"; readonly error: HarmonyError };

/** A place in what happens, held by its revision and not by a queue: a watcher that does not take costs no memory. */
export interface Watch {
  /**
   * The next events, in whole revisions until they have about `maxBytes`, of one revision at least; null when there is
   * nothing for now. Who was told of news takes until then, or comes back for the rest by itself.
   */
  take(maxBytes: number): WatchNews | null;
  /** Everything that has happened so far has been taken. */
  readonly isSynced: boolean;
  /** Every event that is still to come is newer than this. */
  readonly revision: number;
  /** Nothing is told any more. */
  cancel(): void;
}
