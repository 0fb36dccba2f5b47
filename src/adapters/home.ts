/** The database that an adapter stands on. */
import { HarmonyError } from "../base/index.ts";
import { type HarmonyDB, open, type OpenOptions } from "../index.ts";

/**
 * One database, given or opened.
 *
 * Invariants:
 * 1. A database that was given is never opened and never closed here.
 * 2. A directory is opened at most once at a time, however many ask meanwhile; a failure is told to all of them, and
 *    whoever asks next tries again.
 */
export class Home {
  readonly #given: HarmonyDB | null;
  readonly #directory: string;
  readonly #options: OpenOptions;
  #opening: Promise<HarmonyDB> | null = null;
  #opened: HarmonyDB | null = null;
  #hasEnded = false;

  constructor(place: HarmonyDB | string, options: OpenOptions = {}) {
    if (typeof place === "string") {
      this.#given = null;
      this.#directory = place;
    } else {
      if (typeof place !== "object" || place === null || typeof place.scope !== "function")
        throw new HarmonyError("INVALID_ARGUMENT", "an adapter takes a database or a directory");
      if (Object.keys(options).length > 0)
        throw new HarmonyError(
          "INVALID_ARGUMENT",
          "a database that is open takes no options of open",
        );
      this.#given = place;
      this.#directory = "";
    }
    this.#options = options;
  }

  /** Where the adapter opens its own database; null for one that it shares. */
  get directory(): string | null {
    return this.#given === null ? this.#directory : null;
  }

  /** The database, if there is one at this moment. */
  get current(): HarmonyDB | null {
    return this.#given ?? this.#opened;
  }

  /** Opens the directory if that has not happened. */
  open(): Promise<HarmonyDB> {
    if (this.#given !== null) return Promise.resolve(this.#given);
    this.#opening ??= open(this.#directory, this.#options).then(
      (db) => {
        this.#opened = db;
        return db;
      },
      (error: unknown) => {
        this.#opening = null;
        throw error;
      },
    );
    return this.#opening;
  }

  /** The same, for an adapter that has only one life: CLOSED after `end`. */
  async use(): Promise<HarmonyDB> {
    if (this.#hasEnded) throw new HarmonyError("CLOSED", "the adapter is disconnected");
    const db = this.#given ?? (await this.open());
    if (db.status !== "open") throw new HarmonyError("CLOSED");
    return db;
  }

  /** Gives the directory back; it may be opened again. */
  async close(): Promise<void> {
    const opening = this.#opening;
    if (opening === null) return;
    const db = await opening.catch(() => null);
    await db?.close();
    if (this.#opening !== opening) return;
    this.#opening = null;
    this.#opened = null;
  }

  /** Closes for good. */
  end(): Promise<void> {
    this.#hasEnded = true;
    return this.close();
  }
}

/** A prefix is text; an empty one is the whole database. */
export function assertPrefix(prefix: string): string {
  if (typeof prefix !== "string") throw new HarmonyError("INVALID_ARGUMENT", "prefix is text");
  return prefix;
}
