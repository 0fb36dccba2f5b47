/** Sessions: numbers for writes that may be sent again (data-model.md, exactly once). */
import { HarmonyError } from "../../base/index.ts";
import type { Call } from "./api.ts";
import type { Session } from "./api-database.ts";
import { CALL, callOf, NO_OPTIONS } from "./arguments.ts";
import type { Link } from "./link.ts";

export async function openSession(link: Link, options: Call): Promise<Session> {
  const { session } = await link.write({ kind: "sessionOpen", session: 0 }, callOf(options, CALL));
  return new OpenSession(link, session);
}

class OpenSession implements Session {
  readonly #link: Link;
  readonly id: number;
  #number = 0;

  constructor(link: Link, id: number) {
    this.#link = link;
    this.id = id;
  }

  requestId(): string {
    this.#number++;
    return `${this.id}/${this.#number}`;
  }

  async close(options: Call = NO_OPTIONS): Promise<void> {
    await this.#link.write({ kind: "sessionClose", session: this.id }, callOf(options, CALL));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.close();
    } catch (error) {
      // Unused it ends by itself.
      if (!(error instanceof HarmonyError)) throw error;
    }
  }
}
