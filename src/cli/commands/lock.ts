/**
 * lock NAME [command...]: takes a lock, holds it by extending it, and gives it back at the end.
 *
 * The holder believes in its lock a little shorter than the node promised it: counted from before the request that the
 * node confirmed last, and less the time that it takes to end a command. When that has passed without another
 * confirmation, or the node says that the lock is another's, the command is killed, for it would go on without the lock.
 *
 * A lock is its owner's whichever member says so, and asking twice for the same is asking once: so when a member does not
 * answer, the next of the endpoints is asked, and the lock outlives the member that gave it.
 *
 * Who waits watches the lock from the revision at which it was refused, so that no release goes unseen and nothing is
 * asked of the node meanwhile.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { type etcd, kv } from "../../codec/messages/index.ts";
import { CommandError, Exit } from "../exit.ts";
import { duration } from "../values.ts";
import { type Client, type Rpc, RpcError } from "./client.ts";
import { flagValue } from "./flags.ts";
import { bytesOf } from "./ranges.ts";
import { EXTEND_LOCK, LOCK, UNLOCK, WATCH } from "./rpcs.ts";
import type { Session } from "./session.ts";

export interface LockFlags {
  readonly ttl: string;
  readonly wait?: string;
}

const DAY_MS = 86_400_000;
const TTL = duration({ minMs: 1000, maxMs: DAY_MS }, 1000);
const WAIT = duration({ minMs: 0, maxMs: DAY_MS });
/** The least time between two attempts, whatever the watch says. */
const ATTEMPT_MS = 20;
/** A node that does not tell is asked again so long after the lock should have ended. */
const LATE_MS = 1000;
/** However long it may stay locked: timers take no more than some weeks. */
const LOOK_MS = 3_600_000;
/** Of the TTL: how much of it is kept to end the command in. */
const ENDING_SHARE = 0.1;
/** How long a command may take to end after SIGTERM. */
const KILL_AFTER_MS = 3000;

interface Held {
  readonly key: Uint8Array;
  readonly token: Uint8Array;
  readonly fence: bigint;
  /** When the command has to be ended, on this process's clock. */
  untilMs: number;
}

/** Returns what the process exits with: that of the command, if there is one. */
export async function lock(
  session: Session,
  args: readonly string[],
  flags: LockFlags,
): Promise<number> {
  const ttlMs = flagValue("--ttl", TTL, flags.ttl);
  const waitMs =
    flags.wait === undefined ? Number.POSITIVE_INFINITY : flagValue("--wait", WAIT, flags.wait);
  const [name, ...command] = args as [string, ...string[]];
  await session.client();
  const ending = new Ending();
  try {
    const held = await acquire(session, name, ttlMs, waitMs, ending);
    try {
      return await hold(session, name, held, ttlMs, command, ending);
    } finally {
      await release(session, held);
    }
  } finally {
    ending.close();
  }
}

/** Of one member after the other, each at most once, until one answers. */
async function ask<Request, Response>(
  session: Session,
  rpc: Rpc<Request, Response>,
  request: Request,
): Promise<Response> {
  for (let left = session.endpoints.length; ; left--) {
    const client = await session.client();
    try {
      return await client.unary(rpc, request);
    } catch (error) {
      if (left <= 1 || !(error instanceof RpcError) || !error.isPassing) throw error;
      await session.another();
    }
  }
}

/** SIGINT and SIGTERM end what is under way, whatever that is. */
class Ending {
  isAsked = false;
  #onAsk: ((signal: NodeJS.Signals) => void) | null = null;
  readonly #handle = (signal: NodeJS.Signals): void => {
    this.isAsked = true;
    this.#onAsk?.(signal);
  };

  constructor() {
    process.on("SIGINT", this.#handle).on("SIGTERM", this.#handle);
  }

  onAsk(listener: (signal: NodeJS.Signals) => void): void {
    this.#onAsk = listener;
  }

  close(): void {
    process.off("SIGINT", this.#handle).off("SIGTERM", this.#handle);
  }
}

/** Throws a CommandError when the time to wait is over, or when the process is told to end. */
async function acquire(
  session: Session,
  name: string,
  ttlMs: number,
  waitMs: number,
  ending: Ending,
): Promise<Held> {
  const key = bytesOf(name);
  const token = bytesOf(randomBytes(16).toString("hex"));
  const giveUpMs = performance.now() + waitMs;
  for (let isFirst = true; ; isFirst = false) {
    const beganMs = performance.now();
    const answer = await ask(session, LOCK, { key, token, ttl_ms: BigInt(ttlMs) });
    const held = { key, token, fence: answer.fence, untilMs: believed(beganMs, ttlMs) };
    if (ending.isAsked) {
      if (answer.acquired) await release(session, held);
      throw new CommandError(`stopped while waiting for the lock ${name}`, Exit.refused);
    }
    if (answer.acquired) return held;
    const leftMs = giveUpMs - performance.now();
    if (leftMs <= 0) {
      throw new CommandError(
        `${name} is locked by another (fence ${answer.fence}) for ${answer.left_ms} ms more`,
        Exit.refused,
        ["wait longer with --wait"],
      );
    }
    if (isFirst)
      session.streams.err(
        `harmonydb: waiting for ${name}, which another holds (fence ${answer.fence})\n`,
      );
    const longestMs = Math.min(leftMs, Number(answer.left_ms) + LATE_MS, LOOK_MS);
    await Promise.all([
      released(await session.client(), key, answer.revision + 1n, longestMs, ending),
      sleep(ATTEMPT_MS),
    ]);
  }
}

function believed(beganMs: number, ttlMs: number): number {
  return beganMs + ttlMs * (1 - ENDING_SHARE);
}

/** Resolves when the key is deleted in `revision` or later, after `timeoutMs`, or when the process is told to end. */
function released(
  client: Client,
  key: Uint8Array,
  revision: bigint,
  timeoutMs: number,
  ending: Ending,
): Promise<void> {
  return new Promise((resolve) => {
    const stream = client.stream(WATCH);
    const timer = setTimeout(() => stream.cancel(), timeoutMs);
    ending.onAsk(() => stream.cancel());
    stream.on("data", (answer: etcd.WatchResponse) => {
      if (answer.canceled || answer.events.some(({ type }) => type === kv.Event_EventType.DELETE))
        stream.cancel();
    });
    // Every end of the stream comes this way, and the next attempt says what is wrong with the node.
    stream.on("error", () => undefined);
    stream.on("status", () => {
      clearTimeout(timer);
      resolve();
    });
    const create = {
      key,
      range_end: new Uint8Array(0),
      start_revision: revision,
      progress_notify: false,
    };
    stream.write({
      create_request: { ...create, filters: [], prev_kv: false, watch_id: 0n, fragment: false },
    });
  });
}

async function release(session: Session, { key, token, fence }: Held): Promise<void> {
  try {
    await ask(session, UNLOCK, { key, token, fence });
  } catch {
    // It ends with its TTL; what the command did is told by its exit code.
  }
}

async function hold(
  session: Session,
  name: string,
  held: Held,
  ttlMs: number,
  command: readonly string[],
  ending: Ending,
): Promise<number> {
  const renewing = new AbortController();
  let lost: string | null = null;
  const child = command.length === 0 ? null : start(session, name, held, command);
  const finished = child === null ? asked(ending) : ended(child, ending);
  if (child === null) {
    if (session.form === "json")
      session.streams.out(`${JSON.stringify({ key: name, fence: Number(held.fence) })}\n`);
    else session.streams.out(`${name}\n${held.fence}\n`);
  }
  const renewal = renew(session, held, ttlMs, renewing.signal).then((reason) => {
    lost = reason;
    return null;
  });
  let exit: number | null;
  try {
    exit = await Promise.race([finished, renewal]);
  } finally {
    renewing.abort();
  }
  if (exit !== null) return exit;
  if (child !== null) await kill(child);
  throw new CommandError(
    `the lock ${name} was lost: ${lost ?? "unknown reason"}`,
    Exit.refused,
    child === null ? [] : ["the command was killed; what it did after the loss was not protected"],
  );
}

/** Extends at a third of the TTL. Resolves with the reason when the lock is lost; never after `signal`. */
async function renew(
  session: Session,
  held: Held,
  ttlMs: number,
  signal: AbortSignal,
): Promise<string> {
  const { key, token, fence } = held;
  let nextMs = performance.now() + ttlMs / 3;
  let reason = "its time was over";
  for (;;) {
    const waitMs = Math.min(nextMs, held.untilMs) - performance.now();
    try {
      await sleep(Math.max(0, waitMs), undefined, { signal });
    } catch {
      return new Promise<never>(() => {});
    }
    const beganMs = performance.now();
    if (beganMs >= held.untilMs) return reason;
    try {
      // An answer after the end of the lock would come too late to be of use.
      const timeoutMs = Math.max(1, Math.min(held.untilMs - beganMs, ttlMs / 3));
      const client = await session.client();
      const answer = await client.unary(
        EXTEND_LOCK,
        { key, token, fence, ttl_ms: BigInt(ttlMs) },
        timeoutMs,
      );
      if (!answer.extended) return "another holds it, or it was deleted";
      held.untilMs = believed(beganMs, ttlMs);
      nextMs = beganMs + ttlMs / 3;
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error);
      if (!(error instanceof RpcError)) return reason;
      if (error.isPassing) await session.another(Math.ceil(ttlMs / 10));
      nextMs = performance.now() + Math.min(500, ttlMs / 10);
    }
  }
}

function start(
  session: Session,
  name: string,
  held: Held,
  command: readonly string[],
): ChildProcess {
  return spawn(command[0] as string, command.slice(1), {
    stdio: "inherit",
    // A group of its own: what the command has started is ended with it.
    detached: true,
    env: {
      ...session.streams.environment,
      HARMONYDB_LOCK_KEY: name,
      HARMONYDB_LOCK_FENCE: String(held.fence),
    },
  });
}

function asked(ending: Ending): Promise<number> {
  return new Promise((resolve) => ending.onAsk(() => resolve(Exit.ok)));
}

/** The exit code of the command, as a shell gives it. A signal to this process goes on to the command. */
function ended(child: ChildProcess, ending: Ending): Promise<number> {
  ending.onAsk((signal) => signalGroup(child, signal));
  return new Promise((resolve, reject) => {
    child.once("error", (error: NodeJS.ErrnoException) =>
      reject(
        new CommandError(`the command cannot be started: ${error.message}`, Exit.badArguments),
      ),
    );
    child.once("exit", (code, signal) =>
      resolve(code ?? 128 + (constants.signals[signal ?? "SIGKILL"] ?? 9)),
    );
  });
}

/** Ends the command and everything of its group: first asked, then made to. */
async function kill(child: ChildProcess): Promise<void> {
  const isRunning = child.exitCode === null && child.signalCode === null;
  const gone = new Promise<void>((resolve) => {
    if (isRunning) child.once("exit", () => resolve());
    else resolve();
  });
  signalGroup(child, "SIGTERM");
  const timer = setTimeout(() => signalGroup(child, "SIGKILL"), KILL_AFTER_MS);
  await gone;
  clearTimeout(timer);
  signalGroup(child, "SIGKILL");
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // Nobody is left in the group.
  }
}
