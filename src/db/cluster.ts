/** What a node needs besides itself when it is one of several: its links, and the way of commands to the leader. */
import { assert } from "../base/index.ts";
import type { Env } from "../env/index.ts";
import type { Message } from "../raft/index.ts";
import {
  type Forwarding,
  Membership,
  Peers,
  type PeerStatus,
  type ReplicaHost,
} from "../replica/index.ts";
import type { Identity } from "./data-directory.ts";
import type { MembersFile } from "./members-file.ts";

/** Absent for a node that is alone, so that nothing of it is in its way. */
export class ClusterLinks {
  readonly name: string;
  readonly forwarding: Forwarding;
  readonly #peers: Peers;

  constructor(config: {
    readonly env: Env;
    readonly identity: Identity;
    readonly members: MembersFile;
    readonly clientUrls: readonly string[];
    readonly host: () => ReplicaHost;
  }) {
    const { env, identity, members, clientUrls, host } = config;
    const { clusterId, memberId, walId } = identity;
    const { links } = env;
    const self = members.members.find(({ id }) => id === memberId);
    assert(links !== undefined, "a member of a cluster has links");
    assert(self !== undefined, "a member of a cluster is one of its members");
    this.name = self.name;
    const bootId = env.entropy.bytes(16);
    const peers = new Peers({
      env,
      links,
      self: { clusterId, memberId, walId, bootId, name: self.name, clientUrls },
      membership: new Membership(members),
      deliver: (item, from) => host().deliver(item, from),
      lost: (member) => host().lost(member),
      linked: () => host().wake(),
    });
    this.#peers = peers;
    this.forwarding = {
      canReach: (member) => peers.isLinked(member),
      tell: (member, item) => peers.tell(member, item),
      answer: (member, item) => peers.tellForSure(member, item),
    };
  }

  start(): void {
    this.#peers.start();
  }

  send(message: Message): void {
    this.#peers.send(message);
  }

  /** At the end of a turn. */
  flush(): void {
    this.#peers.flush();
  }

  status(): readonly PeerStatus[] {
    return this.#peers.status();
  }

  end(): void {
    this.#peers.end();
  }
}
