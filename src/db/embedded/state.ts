/**
 * A state of the database that is read page by page: pinned trees in this process, or a revision that a member is asked
 * for again and again. What is at hand is answered at once, so that a reader in process pays for no promise.
 */
import type { HarmonyError } from "../../base/index.ts";
import type { CallOptions } from "../database.ts";
import type { KeyValue } from "../requests.ts";

/** Which part of the keys is left to read. `to` is a single zero byte for "to the end". */
export interface Rest {
  readonly from: Uint8Array;
  readonly to: Uint8Array;
}

export interface Page {
  readonly kvs: readonly KeyValue[];
  /** The page was full. */
  readonly more: boolean;
}

export interface State {
  readonly revision: number;
  /** Whether the keys can be read from the last to the first without reading them all. */
  readonly isLatest: boolean;
  /** Lets go of the state; later reads say `why`, by default that it is closed. Again: nothing happens. */
  release(why?: HarmonyError): void;
  find(key: Uint8Array): KeyValue | undefined | Promise<KeyValue | undefined>;
  /** Within the call. Throws UNSUPPORTED where the state is not in this process. */
  findNow(key: Uint8Array): KeyValue | undefined;
  /** Many keys, read in pieces, between which others have their turn. */
  points(
    keys: readonly Uint8Array[],
    call: CallOptions,
  ): Promise<readonly (KeyValue | undefined)[]>;
  count(rest: Rest): number | Promise<number>;
  /** The first keys of the rest, or the last ones, from the last on; no more than fit into a page. */
  page(rest: Rest, reverse: boolean, keysOnly: boolean, keysMax: number): Page | Promise<Page>;
}
