/** A cluster that a golden script drives by hand. Nothing moves unless a command moves it. */
import {
  type ConfChangeSingle,
  type ConfChangeTransition,
  type ConfChangeType,
  describeConfState,
  describeEntries,
  describeHardState,
  describeMessage,
  describeReady,
  describeStatus,
  type Entry,
  EntryType,
  MESSAGE_VERSION,
  type Message,
  type NodeId,
} from "../index.ts";
import type { Command } from "./script.ts";
import { DEFAULT_OPTIONS, simpleConf, TestNode, type TestNodeOptions } from "./test-node.ts";

const ROUNDS_MAX = 200;

export class Transcript {
  readonly #nodes: Map<NodeId, TestNode> = new Map();
  #network: Message[] = [];

  run(command: Command): string {
    const { name } = command;
    switch (name) {
      // cluster voters=1,2,3 [learners=4] [joiners=5] [preVote=off] [checkQuorum=off] [lease=3] [inflight=2] [messageBytes=1] ...
      case "cluster":
        return this.#cluster(command);
      // log 1 terms=1,1,4 [term=4] [vote=1] [commit=2]: what a node that is down finds on its disk
      case "log":
        return this.#setLog(command);
      // start 1
      case "start":
        this.#node(command).start();
        return "";
      // campaign 1
      case "campaign":
        this.#node(command).node.campaign();
        return "";
      // tick 1 [n=10]
      case "tick":
        for (let i = command.number("n", 1); i > 0; i--) this.#node(command).node.tick();
        return "";
      // propose 1 hello
      case "propose": {
        const data = new TextEncoder().encode(command.plain()[1] ?? "");
        const result = this.#node(command).node.propose(data);
        return result.ok
          ? `${result.index}/${result.term}`
          : `refused: ${result.reason}, leader=${result.leader}`;
      }
      // propose-conf-change 1 addNode(4) removeNode(1) [transition=jointExplicit]; without a change it leaves a joint one
      case "propose-conf-change": {
        const result = this.#node(command).node.proposeConfChange({
          transition: (command.option("transition") ?? "auto") as ConfChangeTransition,
          changes: command.plain().slice(1).map(readChange),
          context: new Uint8Array(0),
        });
        return result.ok
          ? `${result.index}/${result.term}`
          : `refused: ${result.reason}, leader=${result.leader}`;
      }
      // refuse 1 index=4: the host's own rule against the change in that entry
      case "refuse": {
        const index = command.number("index", 0);
        this.#node(command).refuses = (entry): boolean => entry.index === index;
        return "";
      }
      // transfer 1 to=2
      case "transfer":
        return this.#node(command).node.transferLeader(command.number("to", 0));
      // forget-leader 2
      case "forget-leader":
        this.#node(command).node.forgetLeader();
        return "";
      // leader-gone 2 id=1: the host of 2 knows that 1 is gone
      case "leader-gone":
        this.#node(command).node.leaderGone(command.number("id", 0));
        return "";
      // lose-lease 1: the host has missed ticks
      case "lose-lease":
        this.#node(command).node.loseLease();
        return "";
      // unreachable 1 id=3
      case "unreachable":
        this.#node(command).node.reportUnreachable(command.number("id", 0));
        return "";
      // snapshot-report 1 id=3 arrived=yes
      case "snapshot-report":
        this.#node(command).node.reportSnapshot(
          command.number("id", 0),
          command.option("arrived") === "yes",
        );
        return "";
      // snapshots 1 are=off
      case "snapshots":
        this.#node(command).hasSnapshots = command.option("are") !== "off";
        return "";
      // conf: every node's configuration as far as it has applied
      case "conf":
        return [...this.#nodes.values()]
          .map((node) => `${node.id}: ${describeConfState(node.confState)}`)
          .join("\n");
      // read 1 77
      case "read":
        return this.#node(command).node.readIndex(Number(command.plain()[1])) ? "" : "refused";
      // ready 1: takes a Ready; what may leave at once is on the network, the rest waits for `persist`
      case "ready":
        return this.#ready(this.#node(command));
      // persist 1 [n=2]: the oldest n Readys (all of them) become durable
      case "persist":
        return this.#persist(this.#node(command), command.number("n", ROUNDS_MAX));
      // deliver [1->2] [type=append] [n=1], drop ..., duplicate ...
      case "deliver":
      case "drop":
      case "duplicate":
        return this.#move(command);
      // hand 3 from=1 term=2 prev=1/1 entries=2/2:a,3/2:b [commit=1]: an append that nobody sent
      case "hand":
        return this.#handAppend(command);
      // hand-snapshot 3 from=1 term=2 at=9/2 voters=1,2,3: a snapshot that nobody sent
      case "hand-snapshot":
        return this.#handSnapshot(command);
      // stabilize [1 2] [quiet=yes]: until nothing moves any more (among these nodes; other messages wait)
      case "stabilize":
        return this.#stabilize(command);
      // crash 1 [written=1] [entries=1]
      case "crash":
        this.#node(command).crash(command.number("written", 0), command.number("entries", 0));
        return "";
      // checkpoint 1 [compact=yes]: what is applied survives crashes, and the log before it may go
      case "checkpoint": {
        const node = this.#node(command);
        node.takeCheckpoint();
        if (command.option("compact") === "yes") node.disk.compact(node.checkpoint);
        return "";
      }
      // wipe 3: an empty disk instead of its own, for a node that is down
      case "wipe":
        this.#node(command).wipe();
        return "";
      // incarnation 2 is=2: from the next start on
      case "incarnation":
        this.#node(command).incarnation = command.number("is", 1);
        return "";
      // quarantine 2 [incarnation=2] [from=start], readmit 2
      case "quarantine": {
        const node = this.#node(command);
        node.startsQuarantined = command.option("from") === "start";
        if (node.startsQuarantined) return "";
        node.node.quarantine();
        node.incarnation++;
        node.node.beginIncarnation(node.incarnation);
        return "";
      }
      case "readmit":
        this.#node(command).node.readmit();
        return "";
      // status 1
      case "status":
        return describeStatus(this.#node(command).node.status());
      // disk 1
      case "disk": {
        const node = this.#node(command);
        return `${describeHardState(node.hardState)} ${describeEntries(node.durable())}`;
      }
      // logs: every node's log as index/term, with what is applied
      case "logs":
        return [...this.#nodes.values()].map(describeLog).join("\n");
      default:
        throw new Error(`unknown command ${name}`);
    }
  }

  #cluster(command: Command): string {
    this.#nodes.clear();
    this.#network = [];
    const voters = command.numbers("voters");
    const learners = command.numbers("learners");
    const base = DEFAULT_OPTIONS;
    // `joiners` know the founders and take no part yet.
    for (const id of [...voters, ...learners, ...command.numbers("joiners")]) {
      const options: TestNodeOptions = {
        ...base,
        id,
        confState: simpleConf(voters, learners),
        seed: id,
        preVote: command.option("preVote") !== "off",
        electionTicks: command.number("electionTicks", base.electionTicks),
        checkQuorum: command.option("checkQuorum") !== "off",
        leaseTicks: command.number("lease", 0),
        maxInflightMessages: command.number("inflight", base.maxInflightMessages),
        maxEntriesBytesPerMessage: command.number("messageBytes", base.maxEntriesBytesPerMessage),
        maxUncommittedBytes: command.number("uncommittedBytes", base.maxUncommittedBytes),
        maxCommittedBytesPerReady: command.number("committedBytes", base.maxCommittedBytesPerReady),
      };
      const node = new TestNode(options);
      this.#nodes.set(id, node);
      if (command.option("start") !== "no") node.start();
    }
    return "";
  }

  #setLog(command: Command): string {
    const node = this.#node(command);
    const terms = command.numbers("terms");
    const entries: Entry[] = terms.map((term, i) => ({
      index: i + 1,
      term,
      type: EntryType.normal,
      data: new TextEncoder().encode(`${i + 1}@${term}`),
    }));
    node.disk.append(entries);
    node.hardState = {
      term: command.number("term", terms.at(-1) ?? 0),
      vote: command.number("vote", 0),
      commit: command.number("commit", 0),
    };
    return "";
  }

  #ready(node: TestNode): string {
    if (!node.node.hasReady()) return `${node.id}: nothing`;
    const ready = node.takeReady();
    node.advance();
    this.#network.push(...ready.messages);
    return `${node.id}: ${describeReady(ready)}`;
  }

  #persist(node: TestNode, count: number): string {
    const taken = node.inFlight.slice(0, count);
    const messages = node.persist(count);
    this.#network.push(...messages);
    const last = taken.at(-1);
    if (last === undefined) return `${node.id}: nothing to persist`;
    return [
      `${node.id}: persisted ${last.number}`,
      ...messages.map((m) => `  send ${describeMessage(m)}`),
    ].join("\n");
  }

  #move(command: Command): string {
    const { name } = command;
    const route = command.plain()[0];
    const type = command.option("type");
    let left = command.number("n", Number.MAX_SAFE_INTEGER);
    const chosen: Message[] = [];
    const others: Message[] = [];
    for (const message of this.#network) {
      const fits =
        left > 0 &&
        (route === undefined || matches(route, message)) &&
        (type === undefined || type === message.type);
      (fits ? chosen : others).push(message);
      if (fits) left--;
    }
    if (name === "duplicate") {
      this.#network.push(...chosen);
      return chosen.map((m) => `again ${describeMessage(m)}`).join("\n");
    }
    this.#network = others;
    return chosen
      .map((message) => {
        if (name === "drop") return `lost ${describeMessage(message)}`;
        this.#hand(message);
        return describeMessage(message);
      })
      .join("\n");
  }

  #handAppend(command: Command): string {
    const [prevIndex = 0, prevTerm = 0] = (command.option("prev") ?? "0/0").split("/").map(Number);
    const entries = (command.option("entries") ?? "")
      .split(",")
      .filter((word) => word !== "")
      .map((word): Entry => {
        const [place = "", data = ""] = word.split(":");
        const [index = 0, term = 0] = place.split("/").map(Number);
        return { index, term, type: EntryType.normal, data: new TextEncoder().encode(data) };
      });
    const node = this.#node(command);
    const message: Message = {
      type: "append",
      group: 1,
      incarnation: 1,
      version: MESSAGE_VERSION,
      from: command.number("from", 0),
      to: node.id,
      term: command.number("term", 0),
      prevIndex,
      prevTerm,
      entries,
      commit: command.number("commit", 0),
    };
    node.node.step(message);
    return describeMessage(message);
  }

  #handSnapshot(command: Command): string {
    const [index = 0, term = 0] = (command.option("at") ?? "").split("/").map(Number);
    const node = this.#node(command);
    const message: Message = {
      type: "snapshot",
      group: 1,
      incarnation: 1,
      version: MESSAGE_VERSION,
      from: command.number("from", 0),
      to: node.id,
      term: command.number("term", 0),
      meta: { index, term, confState: simpleConf(command.numbers("voters")) },
    };
    node.node.step(message);
    return describeMessage(message);
  }

  #stabilize(command: Command): string {
    const ids = command.plain().map(Number);
    const among = (id: NodeId): boolean => ids.length === 0 || ids.includes(id);
    const nodes = [...this.#nodes.values()].filter((node) => among(node.id) && node.running);
    const out: string[] = [];
    for (let round = 0; round < ROUNDS_MAX; round++) {
      let moved = false;
      for (const node of nodes) {
        for (let readys = 0; node.node.hasReady(); readys++) {
          if (readys > ROUNDS_MAX) throw new Error(`node ${node.id} does not come to rest`);
          out.push(this.#ready(node));
          out.push(this.#persist(node, ROUNDS_MAX));
          moved = true;
        }
      }
      const messages = this.#network.filter((m) => among(m.from) && among(m.to));
      this.#network = this.#network.filter((m) => !(among(m.from) && among(m.to)));
      for (const message of messages) {
        out.push(describeMessage(message));
        this.#hand(message);
        moved = true;
      }
      if (!moved) return command.option("quiet") === "yes" ? "" : out.join("\n");
    }
    throw new Error("the cluster does not come to rest");
  }

  #hand(message: Message): void {
    const node = this.#nodes.get(message.to);
    if (node?.running) node.node.step(message);
  }

  #node(command: Command): TestNode {
    const node = this.#nodes.get(Number(command.plain()[0]));
    if (node === undefined) throw new Error(`no node ${command.plain()[0]}`);
    return node;
  }
}

/** `addNode(4)`. */
function readChange(word: string): ConfChangeSingle {
  const [type = "", nodeId = ""] = word.replace(")", "").split("(");
  return { type: type as ConfChangeType, nodeId: Number(nodeId) };
}

/** `1->2`, `*->2` or `1->*`. */
function matches(route: string, message: Message): boolean {
  const [from, to] = route.split("->");
  return (
    (from === "*" || Number(from) === message.from) && (to === "*" || Number(to) === message.to)
  );
}

function describeLog(node: TestNode): string {
  const places = node.view().map((entry) => `${entry.index}/${entry.term}`);
  const state = node.running ? describeHardState(node.node.status().hardState) : "down";
  return `${node.id}: ${places.join(" ")} (${state} applied=${node.applied.length})`;
}
