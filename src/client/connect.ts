/** A database whose nodes are elsewhere, from its first answer on. */
import { type DoorHost, type HarmonyDB, LinkedDatabase } from "../db/embedded/index.ts";
import type { Endpoint } from "./endpoints.ts";
import { RemoteAdmin } from "./remote-admin.ts";
import { RemoteLink } from "./remote-link.ts";

export interface RemoteOptions {
  readonly host: DoorHost;
  readonly endpoints: readonly Endpoint[];
  /** Until one of the endpoints has answered. */
  readonly connectTimeoutMs: number;
  readonly requestTimeoutMs: number;
}

/** Rejects with UNREACHABLE, which names each endpoint and its reason. */
export async function connectTo(options: RemoteOptions): Promise<HarmonyDB> {
  const link = new RemoteLink(options);
  const db = new LinkedDatabase({ link, admin: new RemoteAdmin(link), messages: null });
  try {
    await link.report({ timeoutMs: options.connectTimeoutMs });
  } catch (error) {
    await db.close();
    throw error;
  }
  return db;
}
