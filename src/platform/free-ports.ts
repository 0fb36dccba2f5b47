/**
 * Ports for nodes that are about to start. Not those that the system gives away by itself: it may give the same one to a
 * connection before the node listens on it, or while the node is down (the range is 32768 to 60999 on Linux, and 49152
 * upward elsewhere).
 */
import { randomInt } from "node:crypto";
import { createServer } from "node:net";

const FIRST = 15_000;
const LAST = 32_000;

let next: number = randomInt(FIRST, LAST);

/** So many ports, no two alike, that were free a moment ago. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports: number[] = [];
  for (let tries = FIRST; tries <= LAST && ports.length < count; tries++) {
    const port = next;
    next = port === LAST ? FIRST : port + 1;
    if (await isFree(port)) ports.push(port);
  }
  if (ports.length < count) throw new Error(`no ${count} ports are free from ${FIRST} to ${LAST}`);
  return ports;
}

export async function freePort(): Promise<number> {
  return (await freePorts(1))[0] as number;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
