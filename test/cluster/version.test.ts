/**
 * A member whose program speaks another version of what members say to each other, played by this test on the port of a
 * real one: both sides refuse by name, and the others go on. Bounded in time; needs the build, which `npm test` makes.
 */
import { expect, it } from "vitest";
import {
  decodePeerFrame,
  encodePeerFrame,
  type Hello,
  type PeerFrame,
} from "../../src/codec/index.ts";
import { listenForPeers, type PeerLinks } from "../../src/server/index.ts";
import { TestCluster, until } from "./cluster.ts";
import type { Member } from "./member.ts";

const NEWER = { versionMin: 2, versionMax: 3 };

/** What a call with this hello is answered. */
function answerTo(links: PeerLinks, url: string, hello: Hello): Promise<PeerFrame> {
  return new Promise((resolve, reject) => {
    const link = links.dial(url, {
      frame: (bytes) => resolve(decodePeerFrame(bytes)),
      drained: () => {},
      closed: (why) => reject(new Error(why)),
    });
    link.send(encodePeerFrame(hello));
  });
}

it("a member of another version is refused by name, by either side, and taken when it is as the others again", async () => {
  const cluster = await TestCluster.start();
  let links: PeerLinks | null = null;
  try {
    const leader = await cluster.leader();
    const [strange] = cluster.others(leader) as [Member];
    await leader.put("k", "1");
    const portOf = (member: Member): number =>
      cluster.peerPorts[cluster.members.indexOf(member)] as number;
    await strange.stop("SIGKILL");

    // Its successor says that it does not speak what the leader speaks.
    links = await listenForPeers([`http://127.0.0.1:${portOf(strange)}`], () => {});
    const hellos: Hello[] = [];
    links.accept((link) => ({
      frame: (bytes) => {
        const hello = decodePeerFrame(bytes);
        if (hello.kind === "hello") hellos.push(hello);
        const detail = "this member speaks versions 2 to 3";
        link.send(encodePeerFrame({ kind: "refusal", code: "WRONG_VERSION", detail }));
        link.close();
      },
      drained: () => {},
      closed: () => {},
    }));
    const hello = await until(
      "a call of the leader",
      async () => hellos.find(({ name }) => name === leader.name) ?? null,
    );
    await until("the refusal in the leader's log", async () =>
      leader.log.includes("this member speaks versions 2 to 3") ? true : null,
    );

    // The other way the leader refuses it.
    const { clusterId, from, to } = hello;
    const answer = await answerTo(links, `http://127.0.0.1:${portOf(leader)}`, {
      ...hello,
      ...NEWER,
      clusterId,
      from: to,
      to: from,
      name: strange.name,
    });
    expect(answer).toMatchObject({
      kind: "refusal",
      code: "WRONG_VERSION",
      detail: expect.stringMatching(/versions 1 to 1, the caller 2 to 3: upgrade the older one$/),
    });
    await until("the refusal of the caller in the leader's log", async () =>
      leader.log.includes(`a node that calls itself ${strange.name} was refused`) ? true : null,
    );
    await leader.put("k", "2");

    await links.close();
    await strange.start();
    await until("the value at the one that is as the others again", async () =>
      (await strange.all("k", true)).get("k") === "2" ? true : null,
    );
    await until("that in the leader's log", async () =>
      leader.log.includes(`${strange.name} is not refused any more`) ? true : null,
    );
  } finally {
    await links?.close();
    await cluster.close();
  }
}, 90_000);
