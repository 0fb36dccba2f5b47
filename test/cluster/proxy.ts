/**
 * A network of TCP proxies between the members, one in front of each. What a test cuts is late and not lost, as with
 * TCP over a network that drops packets: the proxy stops reading on that way, and what was said meanwhile arrives when
 * the network is whole again, however old it is. A proxy knows whom it carries by the name in the caller's hello, the
 * first thing that is said, and carries nothing before.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/** Tag and length of the name in a hello (proto/harmonydb/peer.proto): a name of two letters follows. */
const BEFORE_NAME: string = String.fromCharCode(0x42, 2);

function nameIn(said: string): string | null {
  const at = said.indexOf(`${BEFORE_NAME}n`);
  return at < 0 || said.length < at + 4 ? null : said.slice(at + 2, at + 4);
}

/** Whether what `from` says does not reach `to`. */
type Cut = (from: string, to: string) => boolean;

class Carried {
  readonly #caller: Socket;
  readonly #target: Socket;
  readonly #to: string;
  readonly #cut: () => Cut;
  /** Null until it has said so. */
  #from: string | null = null;
  #said: Buffer[] = [];

  constructor(caller: Socket, target: Socket, to: string, cut: () => Cut) {
    this.#caller = caller;
    this.#target = target;
    this.#to = to;
    this.#cut = cut;
    // Until the caller is known nobody can say whether the called one is heard by it.
    target.pause();
    this.#pass(caller, target, (chunk) => this.#greet(chunk));
    this.#pass(target, caller, (chunk) => void caller.write(chunk));
  }

  /** What is cut is not read; what is not is read again, with all that has gathered. */
  look(): void {
    if (this.#from === null) return;
    const isCut = this.#cut();
    turn(this.#caller, isCut(this.#from, this.#to));
    turn(this.#target, isCut(this.#to, this.#from));
  }

  end(): void {
    this.#caller.destroy();
    this.#target.destroy();
  }

  #pass(from: Socket, into: Socket, take: (chunk: Buffer) => void): void {
    from.on("data", take);
    from.on("error", () => {});
    from.on("close", () => into.end());
  }

  #greet(chunk: Buffer): void {
    if (this.#from !== null) {
      this.#target.write(chunk);
      return;
    }
    this.#said.push(chunk);
    const said = Buffer.concat(this.#said);
    this.#from = nameIn(said.toString("latin1"));
    if (this.#from === null) return;
    this.#said = [];
    // In this order: what is given back to a socket that is read comes again at once.
    this.look();
    if (this.#caller.isPaused()) this.#caller.unshift(said);
    else this.#target.write(said);
  }
}

function turn(socket: Socket, isCut: boolean): void {
  if (isCut) socket.pause();
  else socket.resume();
}

const NOTHING: Cut = () => false;

export class ProxyNetwork {
  readonly #servers: Server[] = [];
  readonly #carried = new Set<Carried>();
  #cut: Cut = NOTHING;

  /** A proxy in front of the member `name`, which listens on `port`. Gives the port of the proxy. */
  async front(name: string, port: number): Promise<number> {
    const server = createServer((caller) => {
      const target = connect(port, "127.0.0.1");
      const carried = new Carried(caller, target, name, () => this.#cut);
      this.#carried.add(carried);
      caller.on("close", () => this.#carried.delete(carried));
    });
    this.#servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (server.address() as AddressInfo).port;
  }

  /** These members hear nothing of the others, and the others nothing of them. */
  cut(...names: readonly string[]): void {
    this.cutWhere((from, to) => names.includes(from) !== names.includes(to));
  }

  /** In place of whatever was cut before. */
  cutWhere(cut: Cut): void {
    this.#cut = cut;
    for (const carried of this.#carried) carried.look();
  }

  /** The network is whole again, and what was late arrives. */
  heal(): void {
    this.cutWhere(NOTHING);
  }

  close(): void {
    for (const server of this.#servers) server.close();
    for (const carried of this.#carried) carried.end();
  }
}
