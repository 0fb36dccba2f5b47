/**
 * Concurrent clients of a cluster: each has one request under way, sends it to one member, and gives up after a while.
 * What can be said at once is checked as answers come: nothing older is seen than what was acknowledged before the
 * request was sent. The whole is judged at the end (members-history.ts).
 */
import type { HarmonyError } from "../src/base/index.ts";
import type { CallOptions, Outcome, RangeResponse } from "../src/db/index.ts";
import type { Member } from "./members-node.ts";
import { MEMBERS_MARKS, type MembersMark } from "./members-marks.ts";
import { isReadOnly, type Request, toRequest } from "./members-requests.ts";
import { check, show } from "./violation.ts";

/** A client waits for a member that does not answer at all for so many of its timeouts; a clock may be slow. */
const PATIENCE = 2;

/** What became of a request. */
export interface Told {
  readonly request: Request;
  readonly invokedAt: number;
  returnedAt: number;
  outcome: "ok" | "fail" | "unknown";
  answer: Outcome | RangeResponse | null;
  /** In which life of its member it was sent. */
  readonly life: number;
}

export interface ClientSurroundings {
  readonly nowMs: number;
  /** What a call takes that names no time. */
  readonly timeoutMs: number;
  member(number: number): Member;
  /** Whether it takes itself for the leader. */
  believes(number: number): boolean;
  after(delayMs: number, fire: () => void): void;
  note(what: string, number: number, detail?: unknown): void;
  mark(name: MembersMark): void;
  /** Runs a check whose exception would be swallowed by the member that calls. */
  guarded(judge: () => void): void;
}

interface Pending {
  readonly told: Told;
  /** The highest revision that anybody was told before it was sent. */
  readonly floor: number;
  isOver: boolean;
}

export class MemberClients {
  acknowledged = 0;
  refused = 0;
  unknown = 0;
  /** In the order in which they were sent; of those under way nothing is known. */
  readonly all: Told[] = [];
  readonly #world: ClientSurroundings;
  readonly #busy = new Map<number, Pending>();
  /** Of what was told as linearizable. */
  #revisionTold = 1;
  /** The last value that was seen of a key, for compare-and-set. */
  readonly #seen = new Map<string, string>();
  /** By key: the owner of each lock that was told, by its fencing token. */
  readonly #fences = new Map<string, Map<number, string>>();
  /** By member: the revision of its last answer from its own state, and the life in which it was given. */
  readonly #stale = new Map<number, { readonly life: number; readonly revision: number }>();

  constructor(world: ClientSurroundings) {
    this.#world = world;
  }

  isBusy(client: number): boolean {
    return this.#busy.has(client);
  }

  get busy(): number {
    return this.#busy.size;
  }

  seen(key: string): string | null {
    return this.#seen.get(key) ?? null;
  }

  send(request: Request): void {
    if (this.#busy.has(request.client)) return;
    const world = this.#world;
    const member = world.member(request.member);
    const told: Told = {
      request,
      invokedAt: world.nowMs,
      returnedAt: Number.POSITIVE_INFINITY,
      outcome: "unknown",
      answer: null,
      life: member.life,
    };
    const pending: Pending = { told, floor: this.#revisionTold, isOver: false };
    world.note(`client ${request.client} asks`, request.id, request);
    const isThere = member.input((node) => {
      const reply = (error: HarmonyError | null, answer: Outcome | RangeResponse): void =>
        world.guarded(() => this.#answered(pending, error, answer));
      const options: CallOptions = { timeoutMs: request.timeoutMs ?? undefined };
      const asked = toRequest(request.ask);
      if (asked.kind === "range") node.database.range(asked, options, reply);
      else node.database.write(asked, options, reply);
    });
    // Where nobody listens nothing was asked.
    if (!isThere) return;
    this.all.push(told);
    if (pending.isOver) return;
    this.#busy.set(request.client, pending);
    world.after(PATIENCE * (request.timeoutMs ?? world.timeoutMs), () => {
      if (pending.isOver) return;
      check(
        member.life !== told.life || !member.hasRunSince(told.invokedAt),
        "a call is answered in its time",
        () => show(request),
      );
      this.#unknown(pending);
    });
  }

  /** The connections to a member break. */
  disconnect(member: Member): void {
    for (const pending of this.#busy.values())
      if (pending.told.request.member === member.number) this.#unknown(pending);
  }

  /** Writes under way at other members than this one. */
  writesElsewhere(number: number): number {
    let count = 0;
    for (const { told } of this.#busy.values())
      if (told.request.member !== number && !isReadOnly(told.request.ask)) count++;
    return count;
  }

  #answered(pending: Pending, error: HarmonyError | null, answer: Outcome | RangeResponse): void {
    const { told } = pending;
    const { request } = told;
    const { ask, client, id } = request;
    if (pending.isOver) return;
    this.#world.note(`client ${client} hears`, id, error === null ? answer : error.code);
    if (error !== null) {
      if (error.code === "LEADER_CHANGED")
        this.#world.mark(error.maybeApplied ? MEMBERS_MARKS.doubtful : MEMBERS_MARKS.certainlyLost);
      if (error.code === "DISK_FULL") this.#world.mark(MEMBERS_MARKS.diskFull);
      if (error.code === "MEMBER_FULL") this.#world.mark(MEMBERS_MARKS.aside);
      if (error.maybeApplied && !isReadOnly(ask)) this.#unknown(pending);
      else this.#end(pending, "fail");
      return;
    }
    check(
      answer.kind !== "error",
      "a request that makes sense is not refused by what it asks for",
      () => `${show(request)} -> ${show(answer)}`,
    );
    const { revision } = answer;
    if (ask.kind === "kv" && ask.input.kind === "stale-get") this.#judgeStale(told, revision);
    else this.#judgeFresh(pending, answer);
    told.answer = answer;
    this.#end(pending, "ok");
  }

  #judgeFresh(pending: Pending, answer: Outcome | RangeResponse): void {
    const { request } = pending.told;
    const { ask, member } = request;
    check(
      answer.revision >= pending.floor,
      "an answer is no older than what was told before the request",
      () => `${show(request)} -> ${show(answer)}, ${pending.floor} was told before`,
    );
    this.#revisionTold = Math.max(this.#revisionTold, answer.revision);
    if (isReadOnly(ask)) {
      if (!this.#world.believes(member)) this.#world.mark(MEMBERS_MARKS.followerRead);
    } else this.acknowledged++;
    if (answer.kind === "range" && ask.kind === "kv" && ask.input.kind === "get") {
      const [kv] = answer.kvs;
      if (kv !== undefined) this.#seen.set(ask.input.key, new TextDecoder().decode(kv.value));
    }
    if (ask.kind === "lock" && answer.kind === "lock") {
      const owner = new TextDecoder().decode(answer.token);
      const fences = this.#fences.get(ask.key) ?? new Map<number, string>();
      this.#fences.set(ask.key, fences);
      const known = fences.get(answer.fence) ?? owner;
      check(
        known === owner && answer.acquired === (owner === ask.owner),
        "a fencing token is given to one owner",
        () => `${ask.key}: ${answer.fence} for ${known} and for ${owner}, ${show(request)}`,
      );
      // Requests under way together are answered in any order: only what was told before this one was sent bounds it.
      if (answer.acquired && !fences.has(answer.fence))
        check(
          answer.fence > pending.floor,
          "fencing tokens only grow",
          () =>
            `${ask.key}: ${answer.fence} for ${owner} although ${pending.floor} was told before`,
        );
      fences.set(answer.fence, owner);
    }
  }

  /** What a member answers from its own state never goes back while its process lives. */
  #judgeStale({ request, life }: Told, revision: number): void {
    const { member } = request;
    const before = this.#stale.get(member);
    check(
      before === undefined || before.life !== life || revision >= before.revision,
      "what a member has never goes back while it runs",
      () => `member ${member}: ${revision} after ${before?.revision}`,
    );
    this.#stale.set(member, { life, revision });
    if (revision < this.#revisionTold) this.#world.mark(MEMBERS_MARKS.staleRead);
  }

  #unknown(pending: Pending): void {
    if (pending.isOver) return;
    this.unknown++;
    this.#end(pending, "unknown");
  }

  #end(pending: Pending, outcome: Told["outcome"]): void {
    pending.isOver = true;
    const { told } = pending;
    told.outcome = outcome;
    if (outcome === "fail") this.refused++;
    if (outcome !== "unknown") told.returnedAt = this.#world.nowMs;
    this.#busy.delete(told.request.client);
  }
}
