/**
 * The sockets of a door: listens on URLs, hands each connection over, and can cut them all. The library behind a door
 * is given connections instead of ports, so that a port in use is told by the system's name for it, and so that at
 * the end nothing is left open that nobody knows.
 */
import { readFileSync } from "node:fs";
import net from "node:net";

/** A URL cannot be listened on. `code` is the system's name for the reason: EADDRINUSE, EACCES, ENOTFOUND, ... */
export class ListenError extends Error {
  override readonly name = "ListenError" as const;
  readonly code: string;

  constructor(url: string, reason: string, code: string, cause?: unknown) {
    super(`cannot listen on ${url}: ${reason}`, { cause });
    this.code = code;
  }
}

export interface Listeners {
  /** The URLs with the ports that were chosen. */
  readonly addresses: readonly string[];
  /** Takes no more connections. Those that are open stay. */
  stop(): void;
  /** Closes every connection that is still open, at once. */
  cut(): void;
}

/**
 * So many connections as a share of the files that this process may have open. A log or a data file that finds no handle left
 * ends the node, and whoever does no more than connect must not bring that about: all shares together leave some over.
 */
export function shareOfHandles(share: number): number {
  return Math.floor(openFilesMax() * share);
}

/** Elsewhere than on Linux it is not known, and nothing is bounded by it. */
function openFilesMax(): number {
  try {
    const limits = readFileSync("/proc/self/limits", "latin1");
    const found = /^Max open files +(\d+)/m.exec(limits);
    return found === null ? Number.POSITIVE_INFINITY : Number(found[1]);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/**
 * Fails as listening would, and takes none of the URLs: asked before anything is made or changed. Gives the URLs with
 * ports that were free a moment ago.
 */
export async function checkListenable(urls: readonly string[]): Promise<readonly string[]> {
  const listeners = await listenOn(urls, (socket) => socket.destroy());
  listeners.stop();
  listeners.cut();
  return listeners.addresses;
}

/** Listens on each of `urls` (`http://host:port`, port 0 lets the system choose) or on none of them. */
export async function listenOn(
  urls: readonly string[],
  take: (socket: net.Socket) => void,
): Promise<Listeners> {
  const servers: net.Server[] = [];
  const sockets = new Set<net.Socket>();
  const stop = (): void => {
    for (const server of servers) server.close();
  };
  const addresses: string[] = [];
  for (const url of urls) {
    const server = net.createServer({ noDelay: true }, (socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      // Resets are every day's business; what there is to do about them is done on "close".
      socket.on("error", () => {});
      take(socket);
    });
    try {
      addresses.push(await listen(server, url));
    } catch (error) {
      stop();
      throw error;
    }
    servers.push(server);
  }
  return {
    addresses,
    stop,
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}

function listen(server: net.Server, url: string): Promise<string> {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (
    parsed === null ||
    parsed.protocol !== "http:" ||
    parsed.pathname !== "/" ||
    parsed.search !== ""
  ) {
    throw new ListenError(url, "the URL must be http://host:port", "EINVAL");
  }
  const host = parsed.hostname.replace(/^\[(.*)\]$/, "$1");
  // URL drops a port that is the default of its scheme.
  const port = parsed.port === "" ? 80 : Number(parsed.port);
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(new ListenError(url, error.message, error.code ?? "EIO", error));
    });
    server.listen(port, host, () => {
      server.removeAllListeners("error");
      // A failed accept (no file handles left) costs that connection only.
      server.on("error", () => {});
      resolve(`http://${parsed.hostname}:${(server.address() as net.AddressInfo).port}`);
    });
  });
}
