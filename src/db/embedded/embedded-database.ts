/** A whole database over a link: the store of all keys, and what it has beyond keys. */
import { EMPTY_BYTES, HarmonyError } from "../../base/index.ts";
import type { Node } from "../node.ts";
import type { Call, Value } from "./api.ts";
import type {
  Admin,
  DatabaseEvents,
  HarmonyDB,
  Lease,
  Session,
  SubscribeOptions,
  Subscription,
} from "./api-database.ts";
import { NodeAdmin } from "./admin.ts";
import { CALL, callOf, invalid, NO_OPTIONS } from "./arguments.ts";
import { grantLease } from "./lease.ts";
import type { Link } from "./link.ts";
import { COUNT_NO_KEY } from "../point.ts";
import { Locks } from "./lock.ts";
import { Messages } from "./messages.ts";
import { type Host, NodeLink } from "./node-link.ts";
import { openSession } from "./session.ts";
import { type Conversion, Space } from "./space.ts";
import { EmbeddedStore } from "./store.ts";
import { DELETE_NOTHING } from "./txn-request.ts";

const PLAIN: Conversion<Uint8Array, Value> = {
  name: "bytes",
  // Read within the call, so the caller's memory will do.
  encode: (value) => value as Uint8Array,
  decode: (bytes) => bytes,
};

const EVENTS: readonly (keyof DatabaseEvents)[] = ["error", "close"];

type Listener = (what: never) => void;

/** What differs with where the node is. */
export interface DatabaseParts {
  readonly link: Link;
  readonly admin: Admin;
  /** Null: messages are of a process that has a node. */
  readonly messages: Messages | null;
  /** Ended before the link is: doors through which others come. */
  readonly closeFirst?: () => Promise<void>;
}

export class LinkedDatabase extends EmbeddedStore<Uint8Array, Value> implements HarmonyDB {
  readonly #link: Link;
  readonly #messages: Messages | null;
  readonly #closeFirst: (() => Promise<void>) | undefined;
  readonly #listeners: Readonly<Record<keyof DatabaseEvents, Set<Listener>>> = {
    error: new Set(),
    close: new Set(),
  };
  readonly admin: Admin;
  #status: "open" | "closing" | "closed" = "open";
  #closed: Promise<void> | null = null;

  constructor({ link, admin, messages, closeFirst }: DatabaseParts) {
    super({ link, locks: new Locks(link) }, new Space(EMPTY_BYTES, PLAIN, undefined));
    this.#link = link;
    this.#messages = messages;
    this.#closeFirst = closeFirst;
    this.admin = admin;
    link.onFatal((error) => {
      this.#end(error, error);
      this.#tell("error", error);
    });
  }

  get status(): "open" | "closing" | "closed" {
    return this.#status;
  }

  get role(): "leader" | "follower" | "client" {
    return this.#link.role;
  }

  lease(
    ttlMs: number,
    options: Call & { readonly keepAlive?: boolean | undefined } = NO_OPTIONS,
  ): Promise<Lease> {
    return grantLease(this.#link, ttlMs, options);
  }

  session(options: Call = NO_OPTIONS): Promise<Session> {
    return openSession(this.#link, options);
  }

  async publish(channel: string, message: string | Uint8Array): Promise<number> {
    return this.#messagesHere.publish(channel, message);
  }

  subscribe(
    patterns: string | readonly string[],
    options: SubscribeOptions = NO_OPTIONS,
  ): Subscription {
    return this.#messagesHere.subscribe(patterns, options);
  }

  async barrier(options: Call = NO_OPTIONS): Promise<number> {
    return (await this.#link.range(COUNT_NO_KEY, callOf(options, CALL))).revision;
  }

  async flush(options: Call = NO_OPTIONS): Promise<void> {
    // Applied after all that stands before it in the log.
    const call = callOf(options, CALL);
    await this.#link.write(DELETE_NOTHING, call);
    await this.#link.sync(call);
  }

  on<E extends keyof DatabaseEvents>(event: E, listener: (what: DatabaseEvents[E]) => void): this {
    if (!EVENTS.includes(event)) throw invalid(`there is no event "${String(event)}"`);
    if (typeof listener !== "function") throw invalid("a listener is a function");
    this.#listeners[event].add(listener as Listener);
    return this;
  }

  off<E extends keyof DatabaseEvents>(event: E, listener: (what: DatabaseEvents[E]) => void): this {
    if (EVENTS.includes(event)) this.#listeners[event].delete(listener as Listener);
    return this;
  }

  close(): Promise<void> {
    if (this.#closed === null) {
      this.#status = "closing";
      this.#end(new HarmonyError("CLOSED"), null);
      this.#closed = this.#closeAll().finally(() => {
        this.#status = "closed";
        this.#tell("close", undefined);
      });
    }
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #closeAll(): Promise<void> {
    try {
      // Without doors the node is told within the call.
      if (this.#closeFirst !== undefined) await this.#closeFirst();
    } finally {
      await this.#link.close();
    }
  }

  get #messagesHere(): Messages {
    if (this.#link.ended !== null) throw this.#link.ended;
    if (this.#messages === null)
      throw new HarmonyError("UNSUPPORTED", "messages stay in the process of a node");
    return this.#messages;
  }

  /** Everybody who waits in this door is told `error`; subscribers hear of it only if it is a `failure`. */
  #end(error: HarmonyError, failure: HarmonyError | null): void {
    this.#messages?.end(failure);
    this.#link.end(error);
  }

  #tell<E extends keyof DatabaseEvents>(event: E, what: DatabaseEvents[E]): void {
    for (const listener of this.#listeners[event]) {
      try {
        (listener as (what: DatabaseEvents[E]) => void)(what);
      } catch (thrown) {
        this.#link.env.log("error", "embedded", `a listener of "${event}" threw`, {
          error: String(thrown),
        });
      }
    }
  }
}

/** A database whose node is in this process. */
export class EmbeddedDatabase extends LinkedDatabase {
  /** `closeFirst`: doors of the node through which others come. */
  constructor(node: Node, host: Host, closeFirst?: () => Promise<void>) {
    const link = new NodeLink(node, host);
    const messages = new Messages(link);
    super({
      link,
      admin: new NodeAdmin(link, messages),
      messages,
      ...(closeFirst === undefined ? {} : { closeFirst }),
    });
  }
}
