/**
 * A network of TCP proxies between the members, one in front of each: what a test cuts is silent, as a network that
 * drops packets is. A proxy knows whom it carries by the name in the caller's hello, the first thing that is said.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/** Tag and length of the name in a hello (proto/harmonydb/peer.proto): a name of two letters follows. */
const BEFORE_NAME: string = String.fromCharCode(0x42, 2);

function nameIn(said: string): string | null {
  const at = said.indexOf(`${BEFORE_NAME}n`);
  return at < 0 || said.length < at + 4 ? null : said.slice(at + 2, at + 4);
}

class Carried {
  readonly caller: Socket;
  readonly target: Socket;
  readonly to: string;
  /** Null until it has said so. */
  from: string | null = null;
  isHeld = false;
  #said = "";

  constructor(caller: Socket, target: Socket, to: string, isCut: (carried: Carried) => boolean) {
    this.caller = caller;
    this.target = target;
    this.to = to;
    const pass = (from: Socket, into: Socket): void => {
      from.on("data", (chunk: Buffer) => {
        if (from === caller && this.from === null) {
          this.#said += chunk.toString("latin1");
          this.from = nameIn(this.#said);
          if (isCut(this)) this.hold();
        }
        // Of a way that is cut nothing arrives any more; of the link that is on it nothing is resumed either.
        if (!this.isHeld && !into.destroyed) into.write(chunk);
      });
      from.on("error", () => {});
      from.on("close", () => {
        if (!this.isHeld) into.destroy();
      });
    };
    pass(caller, target);
    pass(target, caller);
  }

  hold(): void {
    this.isHeld = true;
  }

  end(): void {
    this.caller.destroy();
    this.target.destroy();
  }
}

export class ProxyNetwork {
  readonly #servers: Server[] = [];
  readonly #carried = new Set<Carried>();
  #cut: ReadonlySet<string> = new Set();

  /** A proxy in front of the member `name`, which listens on `port`. Gives the port of the proxy. */
  async front(name: string, port: number): Promise<number> {
    const server = createServer((caller) => {
      const target = connect(port, "127.0.0.1");
      const carried = new Carried(caller, target, name, (of) => this.#isCut(of));
      this.#carried.add(carried);
      caller.on("close", () => this.#carried.delete(carried));
      if (this.#isCut(carried)) carried.hold();
    });
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (server.address() as AddressInfo).port;
  }

  /** These members hear nothing of the others, and the others nothing of them. */
  cut(...names: readonly string[]): void {
    this.#cut = new Set(names);
    for (const carried of this.#carried) if (this.#isCut(carried)) carried.hold();
  }

  /** The network is whole again; links over what was cut have to be made anew. */
  heal(): void {
    this.#cut = new Set();
    for (const carried of this.#carried) if (carried.isHeld) carried.end();
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const carried of this.#carried) carried.end();
  }

  #isCut({ from, to }: Carried): boolean {
    if (this.#cut.size === 0) return false;
    // One that has not said who it is cannot be told apart, and waits where either end is cut.
    return from === null ? this.#cut.has(to) : this.#cut.has(to) !== this.#cut.has(from);
  }
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
