/**
 * A state that members are asked for: a revision, which is the same on all of them. Whoever has applied it can tell; who
 * has not is asked to catch up first. A compaction ends it, and the next read says so.
 */
import { HarmonyError } from "../base/index.ts";
import type { apiMessages as wire } from "../codec/index.ts";
import type { CallOptions, KeyValue } from "../db/index.ts";
import type { Page, Rest, State } from "../db/embedded/index.ts";
import { POINT } from "../db/index.ts";
import { pointsRequest, rangeResponse, readRequest } from "./messages.ts";
import { matched, type RemoteLink } from "./remote-link.ts";

const NO_CALL: CallOptions = Object.freeze({});

export class RemoteState implements State {
  readonly revision: number;
  /** To read an old revision backwards a member would go through all of it for each page. */
  readonly isLatest = false;
  readonly #link: RemoteLink;
  readonly #forget: () => void;
  #lost: HarmonyError | null = null;

  constructor(link: RemoteLink, revision: number) {
    this.#link = link;
    this.revision = revision;
    this.#forget = link.onEnd((error) => this.release(error));
  }

  release(why: HarmonyError = new HarmonyError("CLOSED", "the snapshot is closed")): void {
    if (this.#lost !== null) return;
    this.#lost = why;
    this.#forget();
  }

  async find(key: Uint8Array): Promise<KeyValue | undefined> {
    return (await this.points([key], NO_CALL))[0];
  }

  findNow(): KeyValue | undefined {
    throw this.#lost ?? new HarmonyError("UNSUPPORTED", "the state is not in this process");
  }

  async points(
    keys: readonly Uint8Array[],
    call: CallOptions,
  ): Promise<readonly (KeyValue | undefined)[]> {
    const found: (KeyValue | undefined)[] = [];
    while (found.length < keys.length) {
      const rest = keys.slice(found.length);
      found.push(...matched(rest, await this.#read(pointsRequest(POINT, rest), call)));
    }
    return found;
  }

  async count({ from, to }: Rest): Promise<number> {
    const request = readRequest({ ...POINT, key: from, rangeEnd: to, countOnly: true });
    return Number((await this.#read(request, NO_CALL)).count);
  }

  async page(
    { from, to }: Rest,
    reverse: boolean,
    keysOnly: boolean,
    keysMax: number,
  ): Promise<Page> {
    const request = readRequest({
      ...POINT,
      key: from,
      rangeEnd: to,
      sortOrder: reverse ? "descend" : "none",
      keysOnly,
    });
    const limit = Number.isFinite(keysMax) ? BigInt(keysMax) : 0n;
    const { kvs, more } = rangeResponse(await this.#read({ ...request, limit }, NO_CALL));
    return { kvs, more };
  }

  async #read(request: wire.ReadRequest, call: CallOptions): Promise<wire.ReadResponse> {
    if (this.#lost !== null) throw this.#lost;
    const wanted = { ...request, revision: BigInt(this.revision) };
    try {
      return await this.#link.read({ ...wanted, serializable: true }, call);
    } catch (error) {
      // The member is behind: asked for the latest it waits until it is not.
      if (!(error instanceof HarmonyError) || error.code !== "FUTURE_REV") throw error;
      return this.#link.read({ ...wanted, serializable: false }, call);
    }
  }
}
