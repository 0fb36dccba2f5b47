/**
 * Concurrent clients of the cluster: each has one operation under way, sends it to one node, and gives up after a
 * while. What they saw is checked twice: at once, against the place in the log at which the oracle knows it to have
 * happened, and at the end by a search that knows nothing of the log (sim/linearizability).
 */
import type { HarmonyError } from "../src/base/index.ts";
import type { GroupId, LogIndex } from "../src/raft/index.ts";
import { CLUSTER_MARKS, type ClusterMark } from "./cluster-marks.ts";
import { encodeOp, type Op, type OpResult } from "./cluster-machine.ts";
import type { ClusterNode, GroupReplica } from "./cluster-node.ts";
import type { GroupOracle } from "./cluster-oracle.ts";
import { CLUSTER_MODEL, type ClientInput, type ClientOutput } from "./cluster-model.ts";
import { checkLinearizability } from "./linearizability/checker.ts";
import { HistoryRecorder } from "./linearizability/history.ts";
import { check } from "./violation.ts";

/** What a client does: plain data. */
export type Request = Op & {
  readonly client: number;
  readonly node: number;
  readonly group: GroupId;
  readonly sizeBytes: number;
  readonly timeoutMs: number;
};

export interface ClientSurroundings {
  readonly nowMs: number;
  readonly oracles: readonly GroupOracle[];
  node(id: number): ClusterNode;
  after(delayMs: number, fire: () => void): void;
  note(what: string, number: number, detail?: unknown): void;
  mark(name: ClusterMark): void;
  /** Runs a check whose exception would be swallowed by the node that calls. */
  guarded(judge: () => void): void;
}

interface Pending {
  readonly request: Request;
  readonly record: number;
  readonly invokedAtMs: number;
  /** What was committed when it was sent: nothing older may be seen. */
  readonly committedBefore: LogIndex;
  isOver: boolean;
}

export class Clients {
  acknowledged = 0;
  reads = 0;
  unknown = 0;
  refused = 0;
  readonly #world: ClientSurroundings;
  readonly #busy = new Map<number, Pending>();
  readonly #histories: HistoryRecorder<ClientInput, ClientOutput>[];
  /** By record, in each history, the id of the write. */
  readonly #ids: Map<number, number>[];
  /** The last value that was seen of a key, for compare-and-set. */
  readonly #seen = new Map<number, number>();

  constructor(world: ClientSurroundings, groups: number) {
    this.#world = world;
    this.#histories = Array.from(
      { length: groups },
      () => new HistoryRecorder<ClientInput, ClientOutput>(),
    );
    this.#ids = Array.from({ length: groups }, () => new Map<number, number>());
  }

  isBusy(client: number): boolean {
    return this.#busy.has(client);
  }

  get busy(): number {
    return this.#busy.size;
  }

  seen(group: GroupId, key: number): number {
    return this.#seen.get(group * 256 + key) ?? 0;
  }

  /** Writes under way at a node. */
  writesAt(node: ClusterNode, group: GroupId): number {
    let count = 0;
    for (const { request } of this.#busy.values())
      if (request.node === node.id && request.group === group && request.kind !== "read") count++;
    return count;
  }

  send(request: Request): void {
    const { client, group, node } = request;
    if (this.#busy.has(client)) return;
    const world = this.#world;
    const { kind, key, a, b } = request;
    const record = this.#history(group).invoke(client, { kind, key, a, b }, world.nowMs);
    if (kind !== "read") this.#ids[group]?.set(record, request.id);
    const pending: Pending = {
      request,
      record,
      invokedAtMs: world.nowMs,
      committedBefore: this.#oracle(group).commit,
      isOver: false,
    };
    this.#busy.set(client, pending);
    world.note(`client ${client} sends`, request.id, request);
    let cancel = (): boolean => false;
    const target = world.node(node);
    target.input(() => {
      const replica = target.groups[group] as GroupReplica;
      if (kind === "read") this.#read(pending, replica);
      else cancel = this.#write(pending, replica);
    });
    world.after(request.timeoutMs, () => {
      if (pending.isOver) return;
      if (cancel()) {
        this.#oracle(group).never(request.id);
        this.#failed(pending);
        world.mark(CLUSTER_MARKS.givenUp);
      } else this.#unknown(pending);
    });
  }

  /** The connections to a node break. */
  disconnect(node: ClusterNode): void {
    for (const pending of this.#busy.values())
      if (pending.request.node === node.id) this.#unknown(pending);
  }

  /** A black box: only what clients sent and saw, and which unanswered writes never happened. */
  checkHistories(): void {
    for (const [group, history] of this.#histories.entries()) {
      const oracle = this.#oracle(group);
      const operations = history.operations().filter(({ id, outcome }) => {
        const write = this.#ids[group]?.get(id);
        if (outcome !== "unknown") return true;
        return write !== undefined && oracle.appliedAt(write) !== undefined;
      });
      const verdict = checkLinearizability(CLUSTER_MODEL, operations);
      check(
        verdict.kind === "linearizable",
        "what clients saw is linearizable",
        () => `group ${group}: ${JSON.stringify(verdict).slice(0, 2000)}`,
      );
    }
  }

  #write(pending: Pending, { replica }: GroupReplica): () => boolean {
    const { request } = pending;
    if (replica === null) return () => false;
    const proposal = replica.propose(encodeOp(request, request.sizeBytes), false, (error, result) =>
      this.#world.guarded(() => this.#answered(pending, error, result ?? null)),
    );
    return () => proposal.cancel();
  }

  #read(pending: Pending, at: GroupReplica): void {
    const { replica, machine } = at;
    if (replica === null || machine === null) return;
    const { group, key } = pending.request;
    replica.readBarrier((error) =>
      this.#world.guarded(() => {
        const index = machine.appliedIndex;
        if (error === null && !at.isLeader) this.#world.mark(CLUSTER_MARKS.followerRead);
        if (error === null)
          check(
            index >= pending.committedBefore,
            "a read sees everything that was committed before it",
            () =>
              `group ${group}: node ${pending.request.node} reads at ${index}, ${pending.committedBefore} were committed`,
          );
        this.#answered(pending, error, { index, ok: true, value: machine.read(key) });
      }),
    );
  }

  #answered(pending: Pending, error: HarmonyError | null, result: OpResult | null): void {
    const { request } = pending;
    const { id, group, client, kind, key } = request;
    const oracle = this.#oracle(group);
    if (error !== null && !error.maybeApplied && kind !== "read") oracle.never(id);
    if (error === null && kind !== "read")
      check(
        result !== null &&
          oracle.appliedAt(id) === result.index &&
          result.index > pending.committedBefore,
        "an acknowledged command stands in the log, after what was committed before it",
        () =>
          `group ${group}: ${id} at ${oracle.appliedAt(id)}, told ${result?.index}, ${pending.committedBefore} were committed`,
      );
    if (pending.isOver) return;
    this.#world.note(`client ${client} hears`, id, error === null ? result : error.code);
    if (error !== null) {
      if (error.code === "LEADER_CHANGED")
        this.#world.mark(
          error.maybeApplied ? CLUSTER_MARKS.displaced : CLUSTER_MARKS.lostForCertain,
        );
      if (error.maybeApplied) this.#unknown(pending);
      else this.#failed(pending);
      return;
    }
    this.#end(pending);
    const { ok, value } = result as OpResult;
    if (kind === "read") this.reads++;
    else this.acknowledged++;
    if (typeof value === "number") this.#seen.set(group * 256 + key, value);
    this.#history(group).ok(pending.record, { ok, value }, this.#world.nowMs);
  }

  #unknown(pending: Pending): void {
    this.unknown++;
    this.#end(pending);
    this.#history(pending.request.group).unknown(pending.record, this.#world.nowMs);
  }

  #failed(pending: Pending): void {
    this.refused++;
    this.#end(pending);
    this.#history(pending.request.group).fail(pending.record, this.#world.nowMs);
  }

  #end(pending: Pending): void {
    pending.isOver = true;
    this.#busy.delete(pending.request.client);
  }

  #history(group: GroupId): HistoryRecorder<ClientInput, ClientOutput> {
    return this.#histories[group] as HistoryRecorder<ClientInput, ClientOutput>;
  }

  #oracle(group: GroupId): GroupOracle {
    return this.#world.oracles[group] as GroupOracle;
  }
}
