/**
 * Commands on their way between members. A member that does not lead hands its commands to the leader and is told where
 * each stands: in which entry, at which position. The answer is then what its own machine says when that entry is
 * applied here, so who gets it can read what he wrote from this member, and no result ever travels.
 *
 *     waiting ──forward──▶ forwarded ──placed──▶ proposed in (index, term) ──applied──▶ answered
 *        ▲                     │ │
 *        └──declined───────────┘ └──the link is lost──▶ answered: nobody knows
 *
 * Invariants: a command that may have been taken is never forwarded or proposed again (architecture section 3, 6); what
 * was forwarded to a member is not forwarded by it; a ticket is used once in the life of a process, and its first one is
 * drawn, so that an answer to an earlier life answers nobody.
 */
import type { HarmonyError } from "../base/index.ts";
import { type Entropy } from "../env/index.ts";
import {
  type Declined,
  type Forward,
  FORWARDED_COMMANDS_MAX,
  type ForwardedCommand,
  type PeerItem,
  type Placed,
} from "../codec/index.ts";
import type { GroupId, LogIndex, NodeId, Term } from "../raft/index.ts";
import { Proposal } from "./proposal.ts";

/** How commands reach the leader when it is another member. */
export interface Forwarding {
  /** Commands can be handed to this member, and its answers can come. */
  canReach(member: NodeId): boolean;
  /** False: it was not taken and never arrives. */
  tell(member: NodeId, item: PeerItem): boolean;
  /** Where it cannot be told, the member learns that answers are lost. */
  answer(member: NodeId, item: PeerItem): void;
}

/** Of one message: it shares a frame with heartbeats. */
const FORWARD_BYTES_MAX: number = 128 * 1024;

/** A command that another member was asked to do, and asked this one for. */
export class ForeignProposal<Result> extends Proposal<Result> {
  readonly member: NodeId;
  readonly ticket: number;

  constructor(
    { data, reserve, isConfChange }: ForwardedCommand,
    origin: { readonly member: NodeId; readonly ticket: number },
    declined: (proposal: ForeignProposal<Result>, code: string) => void,
  ) {
    const reply = (error: HarmonyError | null): void => {
      // Once it is proposed the member finds out what became of it from its own log.
      if (error !== null && !this.isProposed) declined(this, error.code);
    };
    super(data, reserve, reply, isConfChange);
    this.member = origin.member;
    this.ticket = origin.ticket;
  }
}

/** Where an entry's commands of other members stand: one message for each row of tickets. */
export function placements<Result>(
  group: GroupId,
  proposals: readonly Proposal<Result>[],
  at: { readonly index: LogIndex; readonly term: Term },
): readonly { readonly member: NodeId; readonly placed: Placed }[] {
  const rows: { member: NodeId; ticket: number; count: number; position: number }[] = [];
  for (const [position, proposal] of proposals.entries()) {
    if (!(proposal instanceof ForeignProposal)) continue;
    const { member, ticket } = proposal;
    const last = rows.at(-1);
    if (
      last?.member === member &&
      ticket === last.ticket + last.count &&
      position === last.position + last.count
    )
      last.count++;
    else rows.push({ member, ticket, count: 1, position });
  }
  return rows.map(({ member, ...row }) => ({
    member,
    placed: { kind: "placed", group, ...at, ...row },
  }));
}

interface Forwarded<Result> {
  readonly leader: NodeId;
  readonly proposal: Proposal<Result>;
}

/** What this member has handed to leaders and does not know the place of. */
export class ForwardedCommands<Result> {
  readonly #group: GroupId;
  readonly #forwarding: Forwarding;
  readonly #open: Map<number, Forwarded<Result>> = new Map();
  #nextTicket: number;
  /** This leader, in this term, said that it does not lead: not asked again before a tick. */
  #declinedBy: NodeId = 0;
  #declinedIn: Term = 0;

  constructor(group: GroupId, forwarding: Forwarding, entropy: Entropy) {
    this.#group = group;
    this.#forwarding = forwarding;
    this.#nextTicket = entropy.u32() * 2 ** 20;
  }

  get count(): number {
    return this.#open.size;
  }

  mayAsk(leader: NodeId, term: Term): boolean {
    const isDeclined = leader === this.#declinedBy && term === this.#declinedIn;
    return !isDeclined && this.#forwarding.canReach(leader);
  }

  tick(): void {
    this.#declinedBy = 0;
  }

  /** Hands `waiting` to the leader in its order, as far as the link takes it. Gives how many were handed over. */
  forward(leader: NodeId, waiting: readonly Proposal<Result>[]): number {
    let done = 0;
    while (done < waiting.length) {
      let bytes = 0;
      let end = done;
      while (end < waiting.length && end - done < FORWARDED_COMMANDS_MAX) {
        const { length } = (waiting[end] as Proposal<Result>).command;
        if (end > done && bytes + length > FORWARD_BYTES_MAX) break;
        bytes += length;
        end++;
      }
      const part = waiting.slice(done, end);
      const ticket = this.#nextTicket;
      const item: Forward = {
        kind: "forward",
        group: this.#group,
        ticket,
        commands: part.map(({ command, reserve, isConfChange }) => ({
          data: command,
          reserve,
          isConfChange,
        })),
      };
      if (!this.#forwarding.tell(leader, item)) break;
      this.#nextTicket += part.length;
      for (const [i, proposal] of part.entries()) {
        proposal.isProposed = true;
        this.#open.set(ticket + i, { leader, proposal });
      }
      done = end;
    }
    return done;
  }

  /** Those that an answer of `from` is about, in their order. One that is not known waits no more. */
  take(from: NodeId, { ticket, count }: Placed | Declined): readonly (Proposal<Result> | null)[] {
    const taken: (Proposal<Result> | null)[] = [];
    // An answer about more than is open is about nothing: its sender errs.
    if (count > this.#open.size) return taken;
    for (let i = 0; i < count; i++) {
      const forwarded = this.#open.get(ticket + i);
      if (forwarded?.leader === from) this.#open.delete(ticket + i);
      taken.push(forwarded?.leader === from ? forwarded.proposal : null);
    }
    return taken;
  }

  /** The leader does not lead, and did not in this term. */
  declined(leader: NodeId, term: Term): void {
    this.#declinedBy = leader;
    this.#declinedIn = term;
  }

  /** Those whose place will not be told any more. */
  takeLost(leader: NodeId | null): readonly Proposal<Result>[] {
    const lost: Proposal<Result>[] = [];
    for (const [ticket, forwarded] of this.#open) {
      if (leader !== null && forwarded.leader !== leader) continue;
      this.#open.delete(ticket);
      lost.push(forwarded.proposal);
    }
    return lost;
  }
}
