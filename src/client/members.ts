/**
 * Which member is asked. All requests go to one of them, so that a program sees its own writes in watches and local reads
 * too; when it cannot be reached, says nothing, or has no leader, the next one of the endpoints takes its place.
 *
 *     none ── asked for ──▶ connecting ── first that answers ──▶ chosen ── broken, silent, left ──▶ none
 */
import { HarmonyError } from "../base/index.ts";
import { apiMessages as wire } from "../codec/index.ts";
import type { Env, Timer } from "../env/index.ts";
import { Channel } from "./channel.ts";
import type { Endpoint } from "./endpoints.ts";

const REPORT = "/harmonydb.v1.Api/Report";
const UNIMPLEMENTED = 12;
/** What a connection and the first answer on it may take. */
const CONNECT_MS = 2_000;
/** How often it is looked whether the member lives and has a leader, while somebody waits for something of it. */
const LOOK_MS = 2_000;
/** So long a member may be busy with other things. */
const SILENCE_MS = 6_000;

export interface Member {
  readonly channel: Channel;
  readonly endpoint: Endpoint;
}

export interface MembersOptions {
  readonly env: Env;
  readonly endpoints: readonly Endpoint[];
  /** Of whatever a member says of how far the database is. */
  readonly seen: (revision: number) => void;
}

export class Members {
  readonly #options: MembersOptions;
  /** Of whichever answered first. */
  #clusterId: bigint | undefined;
  /** Of the endpoint that is tried next. */
  #next = 0;
  #chosen: Member | null = null;
  #connecting: Promise<Member> | null = null;
  #isClosed = false;
  #look: Timer | null = null;
  /** Requests and watches under way: while there are none, nobody is looked after. */
  #under = 0;
  readonly #open: Set<Channel> = new Set();

  constructor(options: MembersOptions) {
    this.#options = options;
  }

  get hasOthers(): boolean {
    return this.#options.endpoints.length > 1;
  }

  /** The member that is asked now, or null while there is none. */
  get chosen(): Member | null {
    return this.#chosen;
  }

  /** The member that is asked now. Rejects with UNREACHABLE when none of the endpoints answers, naming each reason. */
  choose(): Promise<Member> {
    if (this.#chosen !== null) return Promise.resolve(this.#chosen);
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = null;
    });
    return this.#connecting;
  }

  /** Not this one any more, if another may be asked; what is under way there goes on. */
  leave(member: Member): void {
    if (this.#chosen !== member) return;
    this.#chosen = null;
    member.channel.retire();
  }

  /** Something is under way. */
  begin(): void {
    this.#under++;
    this.#lookLater();
  }

  finish(): void {
    this.#under--;
    if (this.#under > 0) return;
    this.#look?.cancel();
    this.#look = null;
  }

  close(): void {
    this.#isClosed = true;
    this.#chosen = null;
    this.#look?.cancel();
    this.#look = null;
    for (const channel of this.#open) channel.destroy("the database is closed");
  }

  async #connect(): Promise<Member> {
    const { endpoints } = this.#options;
    const reasons: string[] = [];
    /** One that answers and knows no leader: better than none, since it may know one in a moment. */
    let spare: Member | null = null;
    for (let tried = 0; tried < endpoints.length; tried++) {
      const endpoint = endpoints[this.#next++ % endpoints.length] as Endpoint;
      try {
        const { member, hasLeader } = await this.#meet(endpoint);
        if (hasLeader || tried === endpoints.length - 1) {
          spare?.channel.destroy("another has a leader");
          return this.#choose(member);
        }
        spare?.channel.destroy("another is as good");
        spare = member;
      } catch (error) {
        reasons.push(`${endpoint.text}: ${error instanceof Error ? error.message : String(error)}`);
      }
      if (this.#isClosed) break;
    }
    if (spare !== null) return this.#choose(spare);
    if (this.#isClosed) throw new HarmonyError("CLOSED");
    throw new HarmonyError("UNREACHABLE", reasons.join("; "));
  }

  #choose(member: Member): Member {
    if (this.#isClosed) {
      member.channel.destroy("the database is closed");
      throw new HarmonyError("CLOSED");
    }
    this.#chosen = member;
    member.channel.whenOver(() => {
      if (this.#chosen === member) this.#chosen = null;
    });
    return member;
  }

  async #meet(
    endpoint: Endpoint,
  ): Promise<{ readonly member: Member; readonly hasLeader: boolean }> {
    const channel = await Channel.open(endpoint, CONNECT_MS);
    this.#open.add(channel);
    channel.whenClosed(() => this.#open.delete(channel));
    try {
      const { cluster_id, leader } = await this.#report(channel, CONNECT_MS);
      if (this.#clusterId !== undefined && cluster_id !== this.#clusterId)
        throw new Error(
          `it is of cluster ${cluster_id.toString(16)}, the others of ${this.#clusterId.toString(16)}`,
        );
      this.#clusterId = cluster_id;
      return { member: { channel, endpoint }, hasLeader: leader !== 0n };
    } catch (error) {
      channel.destroy("it is not asked");
      throw error;
    }
  }

  /** What a member says of itself. Rejects with an Error that says why it does not. */
  #report(channel: Channel, timeoutMs: number): Promise<wire.ReportResponse> {
    return new Promise((resolve, reject) => {
      const timer = this.#options.env.timers.after(timeoutMs, () => {
        under.cancel();
        reject(new Error(`no answer within ${timeoutMs} ms`));
      });
      const under = channel.unary(REPORT, wire.ReportRequest.encode({}).finish(), (answer) => {
        timer.cancel();
        if (answer.kind === "message") {
          const report = wire.ReportResponse.decode(answer.bytes);
          this.#options.seen(Number(report.revision));
          resolve(report);
        } else if (answer.kind === "lost") reject(new Error(answer.why));
        else if (answer.code === UNIMPLEMENTED)
          reject(new Error(`it is no HarmonyDB that can be connected to (${answer.text})`));
        else reject(new Error(answer.text));
      });
    });
  }

  #lookLater(): void {
    if (this.#under === 0 || this.#isClosed) return;
    this.#look ??= this.#options.env.timers.after(LOOK_MS, () => {
      void this.#lookNow().then(() => {
        this.#look = null;
        this.#lookLater();
      });
    });
  }

  /** A member that is cut off answers nobody, and a network that drops packets says nothing of it. */
  async #lookNow(): Promise<void> {
    const member = this.#chosen;
    if (member === null) return;
    try {
      const { leader } = await this.#report(member.channel, SILENCE_MS);
      if (leader === 0n && this.hasOthers) this.leave(member);
    } catch (error) {
      member.channel.destroy(error instanceof Error ? error.message : String(error));
    }
  }
}
