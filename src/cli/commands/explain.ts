/**
 * Why a call got no answer. A node that knows no leader keeps a request for longer than a command waits, so the command
 * sees nothing but silence: it asks each endpoint, when the call has failed, how it stands, which needs no leader.
 */
import { status as GrpcCode } from "@grpc/grpc-js";
import { Client, type ClientTimes, RpcError } from "./client.ts";
import { CommandError } from "../exit.ts";
import type { Endpoint } from "./flags.ts";
import { STATUS } from "./rpcs.ts";

/** Who has not said it by then says nothing, however short a time the command was given. */
const TIMES: ClientTimes = { dialTimeoutMs: 2_000, commandTimeoutMs: 2_000 };

/** How an endpoint stands. */
interface Standing {
  readonly text: string;
  readonly isLeaderless: boolean;
  readonly answers: boolean;
}

/** The error with how each endpoint stands, where it says no more than that no answer came; any other as it is. */
export async function explained(error: unknown, endpoints: readonly Endpoint[]): Promise<unknown> {
  if (!(error instanceof RpcError) || !SILENT.has(error.code)) return error;
  const standings = await Promise.all(endpoints.map(standingOf));
  const answering = standings.filter(({ answers }) => answers);
  const isLeaderless = answering.length > 0 && answering.every((one) => one.isLeaderless);
  const lines = standings.map(({ text }, i) => `${endpoints[i]?.text} ${text}`);
  return new RpcError(
    error.code,
    isLeaderless ? `no leader: ${error.message}` : error.message,
    error.exit,
    [...lines, ...error.lines],
  );
}

const SILENT: ReadonlySet<number> = new Set([GrpcCode.DEADLINE_EXCEEDED, GrpcCode.UNAVAILABLE]);

/** As it says itself, which needs no leader. */
async function standingOf(endpoint: Endpoint): Promise<Standing> {
  let client: Client;
  try {
    client = await Client.open([endpoint], TIMES);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return { text: "cannot be reached", isLeaderless: false, answers: false };
  }
  try {
    const { leader, header, raftTerm, isLearner } = await client.unary(STATUS, {});
    const isLeaderless = leader === 0n;
    const what = isLeaderless
      ? "knows no leader"
      : leader === header?.member_id
        ? "leads"
        : `${isLearner ? "learns from" : "follows"} ${leader.toString(16)}`;
    return { text: `${what} in term ${raftTerm}`, isLeaderless, answers: true };
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return { text: "takes connections and does not answer", isLeaderless: false, answers: false };
  } finally {
    client.close();
  }
}
