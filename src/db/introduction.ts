/**
 * What a member says of itself after its start, by a command, so that all know it: its name, where clients reach it, and
 * if it is alone where members would. It is said again only where the records say something else. A learner that wants
 * to vote asks for it here, too, again and again until the leader finds that it has caught up.
 */
import type { Env, Timer } from "../env/index.ts";
import type { MemberRecord } from "../mvcc/index.ts";
import type { NodeId } from "../raft/index.ts";
import type { Replica } from "../replica/index.ts";
import { encodeMemberNews } from "./command.ts";
import type { KvDatabase } from "./kv-database.ts";
import type { MemberNews } from "./member-changes.ts";
import type { Outcome } from "./requests.ts";
import type { Roster } from "./roster.ts";

const ROUND_MS = 1_000;

export interface IntroductionConfig {
  readonly env: Env;
  readonly replica: Replica<Outcome>;
  readonly database: KvDatabase;
  readonly roster: Roster;
  readonly self: NodeId;
  /** What is not given stays as the records have it. */
  readonly news: {
    readonly name?: string | undefined;
    readonly peerUrls?: readonly string[] | undefined;
    readonly clientUrls?: readonly string[] | undefined;
  };
  readonly autoPromote: boolean;
}

export class Introduction {
  readonly #config: IntroductionConfig;
  #timer: Timer | null = null;
  #isAsking = false;
  #isSaid = false;

  constructor(config: IntroductionConfig) {
    this.#config = config;
  }

  start(): void {
    this.#round();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #round(): void {
    const { env, replica, autoPromote } = this.#config;
    if (replica.stopped !== null) return;
    const isLearner = autoPromote && this.#record?.isLearner === true;
    if (!this.#isAsking) {
      const news = this.#isSaid ? null : this.#news();
      if (news !== null) this.#say(news);
      else if (isLearner) this.#askForVote();
    }
    // On a full disk it is refused within the call.
    const isLeft = this.#isAsking || replica.aside !== null;
    // Nothing is left to say: no timer is either. Who is in quarantine does not know yet what the records say of it.
    const isMore = isLeft || isLearner || replica.quarantined !== null;
    this.#timer = isMore ? env.timers.after(ROUND_MS, () => this.#round()) : null;
  }

  get #record(): MemberRecord | undefined {
    return this.#config.roster.get(this.#config.self);
  }

  /** Null when the records say it already. */
  #news(): MemberNews | null {
    const { roster, self, news } = this.#config;
    const record = this.#record;
    if (record === undefined) return null;
    const isAlone = roster.all.length === 1;
    const said: MemberNews = {
      id: self,
      name: news.name ?? record.name,
      peerUrls: (isAlone ? news.peerUrls : undefined) ?? record.peerUrls,
      clientUrls: news.clientUrls ?? record.clientUrls,
    };
    const isKnown =
      said.name === record.name &&
      said.peerUrls.join() === record.peerUrls.join() &&
      said.clientUrls.join() === record.clientUrls.join();
    return isKnown ? null : said;
  }

  #say(news: MemberNews): void {
    const { env, replica } = this.#config;
    this.#isAsking = true;
    replica.propose(encodeMemberNews(news), true, (error, outcome) => {
      this.#isAsking = false;
      if (error !== null || outcome === undefined) return;
      this.#isSaid = true;
      if (outcome.kind !== "error") return;
      env.log("error", "node", "the cluster does not take what this member says of itself", {
        code: outcome.code,
        name: news.name,
      });
    });
  }

  #askForVote(): void {
    const { env, database, self } = this.#config;
    this.#isAsking = true;
    database.changeMembers({ kind: "memberPromote", id: BigInt(self) }, {}, (error, outcome) => {
      this.#isAsking = false;
      if (error === null && outcome.kind === "members")
        env.log("info", "node", "this member votes from now on");
    });
  }
}
