/**
 * Who is refused here, for the log. A refused node calls again every few seconds, for as long as nobody does anything
 * about it; so its refusals are one trouble, from the first of them until it is taken or calls no more.
 */
import type { Hello, PeerRefusal } from "../../codec/index.ts";
import type { Env } from "../../env/index.ts";
import type { NodeId } from "../../raft/index.ts";
import { Trouble } from "./trouble.ts";

/** A node that is refused calls every five seconds at the latest. */
const GONE_MS = 30_000;
/** Callers that are told apart: those beyond are one to the log, whoever they say they are. */
const CALLERS_MAX = 64;
/** No node has this id. */
const OTHERS: NodeId = 0;

interface Refused {
  readonly name: string;
  readonly trouble: Trouble;
}

export class Refusals {
  readonly #env: Env;
  readonly #refused: Map<NodeId, Refused> = new Map();

  constructor(env: Env) {
    this.#env = env;
  }

  refused({ from, name }: Hello, { code, detail }: PeerRefusal): void {
    const isTold = this.#refused.has(from) || this.#refused.size < CALLERS_MAX;
    const of = this.#of(isTold ? from : OTHERS, name);
    const times = of.trouble.came(`${code} ${detail}`);
    if (times === null) return;
    this.#env.log("error", "peer", `a node that calls itself ${name} was refused`, {
      code,
      detail,
      member: from.toString(16),
      ...(times === 1 ? {} : { times }),
    });
  }

  /** This one was taken. */
  taken(id: NodeId): void {
    this.#over(id, "is not refused any more");
  }

  /** Called every now and then. */
  sweep(): void {
    for (const [id, { trouble }] of this.#refused)
      if (trouble.quietMs >= GONE_MS) this.#over(id, "was refused and does not call any more");
  }

  #of(id: NodeId, name: string): Refused {
    const known = this.#refused.get(id);
    if (known !== undefined) return known;
    const made = { name, trouble: new Trouble(this.#env) };
    this.#refused.set(id, made);
    return made;
  }

  #over(id: NodeId, what: string): void {
    const of = this.#refused.get(id);
    if (of === undefined) return;
    this.#refused.delete(id);
    const { name, trouble } = of;
    this.#env.log("info", "peer", `${name} ${what}`, {
      member: id.toString(16),
      times: trouble.passed(),
    });
  }
}
