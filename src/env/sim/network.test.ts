import { beforeEach, describe, expect, it } from "vitest";
import { text, utf8 } from "../../base/index.ts";
import type { Env, Link, LinkEvents } from "../index.ts";
import { SimEnv, SimNetwork, SimScheduler } from "./index.ts";

const A = "http://a:2380";
const B = "http://b:2380";

describe("the simulated network", () => {
  let scheduler: SimScheduler;
  let network: SimNetwork;
  let machineA: SimEnv;
  let machineB: SimEnv;
  let envA: Env;
  let envB: Env;
  let heard: string[];
  let accepted: Link[];

  const listener = (name: string): LinkEvents => ({
    frame: (bytes) => heard.push(`${name}: ${text(bytes)}`),
    drained: () => {},
    closed: (why) => heard.push(`${name} closed: ${why}`),
  });
  const machine = (url: string, seed: number): SimEnv =>
    new SimEnv({ seed, scheduler, network: { of: network, url } });
  const dial = (env: Env, url: string): Link => env.links?.dial(url, listener("caller")) as Link;
  const pass = (ms: number): string[] => {
    scheduler.runUntil(scheduler.nowMs + ms);
    return heard.splice(0);
  };
  const serve = (env: Env): void =>
    env.links?.accept((link) => {
      accepted.push(link);
      return listener("called");
    });

  beforeEach(() => {
    scheduler = new SimScheduler(1);
    network = new SimNetwork(scheduler, 1);
    machineA = machine(A, 1);
    machineB = machine(B, 2);
    envA = machineA.boot();
    envB = machineB.boot();
    heard = [];
    accepted = [];
    serve(envB);
  });

  it("carries frames both ways, whole and in order, and never within the call", () => {
    const link = dial(envA, B);
    for (let i = 0; i < 20; i++) link.send(utf8(`${i}`));
    expect(heard).toEqual([]);
    expect(pass(10)).toEqual(Array.from({ length: 20 }, (_, i) => `called: ${i}`));
    accepted[0]?.send(utf8("back"));
    expect(pass(10)).toEqual(["caller: back"]);
    link.close();
    expect(pass(10)).toEqual(["called closed: closed"]);
  });

  it("refuses where nobody accepts", () => {
    envB.links?.accept(null);
    dial(envA, B);
    expect(pass(10)).toEqual(["caller closed: refused"]);
  });

  it("tells of a process that was killed, and not of a machine without power", () => {
    dial(envA, B).send(utf8("1"));
    pass(10);
    machineB.kill();
    expect(pass(10)).toEqual(["caller closed: reset"]);
    serve(machineB.boot());
    const link = dial(envA, B);
    pass(10);
    machineB.losePower();
    link.send(utf8("2"));
    expect(pass(60_000)).toEqual([]);
    // The machine is there again and knows nothing of the link.
    machineB.boot();
    link.send(utf8("3"));
    expect(pass(10)).toEqual(["caller closed: reset"]);
  });

  it("holds back one way that is cut and lets it through afterwards", () => {
    const link = dial(envA, B);
    pass(10);
    network.setWeather(A, B, { isCut: true });
    link.send(utf8("late"));
    accepted[0]?.send(utf8("back"));
    expect(pass(1000)).toEqual(["caller: back"]);
    expect(link.unsentBytes).toBe(4);
    network.setWeather(A, B, { isCut: false });
    expect(pass(10)).toEqual(["called: late"]);
    expect(link.unsentBytes).toBe(0);
  });

  it("keeps the order when the way becomes faster", () => {
    const link = dial(envA, B);
    pass(10);
    network.setWeather(A, B, { delayMs: 500 });
    link.send(utf8("1"));
    network.setWeather(A, B, { delayMs: 1 });
    link.send(utf8("2"));
    expect(pass(490)).toEqual([]);
    expect(pass(20)).toEqual(["called: 1", "called: 2"]);
  });

  it("keeps the order of what is sent before, while and after the way is cut", () => {
    const link = dial(envA, B);
    pass(10);
    network.setWeather(A, B, { delayMs: 100 });
    link.send(utf8("1"));
    network.setWeather(A, B, { isCut: true });
    link.send(utf8("2"));
    pass(50);
    link.send(utf8("3"));
    expect(pass(1000)).toEqual([]);
    link.send(utf8("4"));
    network.setWeather(A, B, { isCut: false, delayMs: 0 });
    link.send(utf8("5"));
    expect(pass(1000)).toEqual(Array.from({ length: 5 }, (_, i) => `called: ${i + 1}`));
  });

  it("lets a narrow way pass what it can, and shows what waits", () => {
    network.setWeather(A, B, { bytesPerMs: 1 });
    const link = dial(envA, B);
    for (let i = 0; i < 5; i++) link.send(new Uint8Array(100));
    pass(250);
    expect(link.unsentBytes).toBe(300);
  });

  it("makes nobody wait on a way that is wide again for what it was too narrow for", () => {
    network.setWeather(A, B, { bytesPerMs: 1 });
    const link = dial(envA, B);
    pass(10);
    link.send(new Uint8Array(100_000));
    network.setWeather(A, B, { bytesPerMs: 0 });
    network.clear(A, B);
    network.clear(B, A);
    expect(pass(10).toSorted()).toEqual(["called closed: reset", "caller closed: reset"]);
    dial(envA, B).send(utf8("now"));
    expect(pass(10)).toEqual(["called: now"]);
  });

  it("breaks links: what was on its way never arrives", () => {
    const link = dial(envA, B);
    pass(10);
    link.send(utf8("lost"));
    network.breakLinks(A, B);
    expect(pass(10).toSorted()).toEqual(["called closed: reset", "caller closed: reset"]);
  });

  it("lets a machine call itself, and both ends go with its process", () => {
    const link = dial(envB, B);
    pass(10);
    link.send(utf8("self"));
    accepted[0]?.send(utf8("back"));
    expect(pass(10).toSorted()).toEqual(["called: self", "caller: back"]);
    machineB.kill();
    expect(pass(10)).toEqual([]);
    serve(machineB.boot());
    dial(envA, B).send(utf8("again"));
    expect(pass(10)).toEqual(["called: again"]);
  });

  it("flips bits where it is told to", () => {
    network.setWeather(A, B, { flipPercent: 100 });
    dial(envA, B).send(utf8("abcd"));
    expect(pass(10)).not.toContain("called: abcd");
    expect(network.stats.flipped).toBe(1);
  });
});
