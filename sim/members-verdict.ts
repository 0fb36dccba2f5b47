/**
 * What is judged when a run is over and all is well again: members tell one history, and it is what clients were told
 * and what those who watched have heard.
 */
import { HarmonyError } from "../src/base/index.ts";
import type { WatchEvent } from "../src/db/index.ts";
import type { MemberClients } from "./members-clients.ts";
import type { Harm } from "./members-harm.ts";
import { type History, historyOf, judgeHistory } from "./members-history.ts";
import { MEMBERS_MARKS } from "./members-marks.ts";
import type { Member } from "./members-node.ts";
import type { MembersOptions } from "./members-options.ts";
import type { Roster } from "./members-roster.ts";
import { MemberWatch } from "./members-watch.ts";
import type { Marks } from "./marks.ts";
import { eventsFrom } from "./node-driver.ts";
import { check, difference } from "./violation.ts";

export interface VerdictSurroundings {
  readonly options: MembersOptions;
  readonly roster: Roster;
  readonly harm: Harm;
  readonly clients: MemberClients;
  readonly marks: Marks;
  /** Runs what the member would swallow if it threw. */
  guarded(judge: () => void): void;
}

export class Verdict {
  readonly #world: VerdictSurroundings;
  /** Of every life of every member, by which. */
  readonly #watches = new Map<string, MemberWatch>();

  constructor(world: VerdictSurroundings) {
    this.#world = world;
  }

  /** Somebody watches it from now on. */
  opened(member: Member): void {
    const { node } = member;
    if (node === null) return;
    const name = lifeOf(member);
    const guarded = (judge: () => void): void => this.#world.guarded(judge);
    this.#watches.set(name, new MemberWatch(name, node.database, guarded));
  }

  judge(): void {
    const { options, roster, clients, marks } = this.#world;
    const { present } = roster;
    const [first, ...others] = present.flatMap((member) => this.#everything(member) ?? []);
    const events = first?.events as readonly WatchEvent[];
    for (const other of others) {
      const found = difference(other.events, events);
      check(found === null, "all members tell the same history", () => found ?? "");
    }
    const history: History = historyOf(events);
    const isTimeTrue =
      !options.faults.clockJumps && options.clockRates.every((rate) => rate === 1000);
    const news = judgeHistory(clients.all, history, isTimeTrue);
    const live = new Set(present.filter((member) => !member.wasQuarantined).map(lifeOf));
    for (const [name, watch] of this.#watches) watch.judge(history, live.has(name));
    marks.hit(MEMBERS_MARKS.lockEnded, news.locksEnded);
    marks.hit(MEMBERS_MARKS.fenced, news.locksTakenAfter);
  }

  /** Null: it comes upon damage while it reads, and says so. */
  #everything(member: Member): { readonly events: readonly WatchEvent[] } | null {
    const { node, identity } = member;
    if (node === null) return { events: [] };
    try {
      return eventsFrom(node.database, 1);
    } catch (error) {
      if (!(error instanceof HarmonyError) || !this.#world.harm.has(identity?.memberId))
        throw error;
      check(
        member.isQuarantined,
        "who comes upon damage takes no part any more",
        () => `n${member.number}: ${error.message}`,
      );
      return null;
    }
  }
}

function lifeOf({ number, life }: Member): string {
  return `n${number}, life ${life}`;
}
