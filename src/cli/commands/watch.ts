/** watch: events as they happen, until the process is told to end or the watch is cancelled. */
import type { etcd } from "../../codec/messages/index.ts";
import { CommandError, Exit } from "../exit.ts";
import { count } from "./flags.ts";
import { rangeOf, type RangeFlags } from "./ranges.ts";
import { WATCH } from "./rpcs.ts";
import type { Session } from "./session.ts";

export interface WatchFlags extends RangeFlags {
  readonly rev?: string;
  readonly prevKv?: boolean;
  readonly progressNotify?: boolean;
}

export async function watch(
  session: Session,
  args: readonly string[],
  flags: WatchFlags,
): Promise<void> {
  const create = {
    ...rangeOf(args[0] as string, args[1], flags),
    start_revision: count("--rev", flags.rev ?? "0"),
    prev_kv: flags.prevKv ?? false,
    progress_notify: flags.progressNotify ?? false,
    filters: [],
    watch_id: 0n,
    fragment: false,
  };
  const client = await session.client();
  const stream = client.stream(WATCH);
  let isStopped = false;
  const stop = (): void => {
    isStopped = true;
    stream.cancel();
  };
  process.once("SIGINT", stop).once("SIGTERM", stop);
  stream.write({ create_request: create });
  let next = create.start_revision;
  try {
    for await (const message of stream) {
      const answer = message as etcd.WatchResponse;
      if (answer.canceled) throw cancelled(answer);
      print(session, answer);
      // Whoever does not read holds the stream, and the node holds the events.
      await session.streams.drained();
      const last = answer.events.at(-1)?.kv;
      if (last !== undefined) next = last.mod_revision + 1n;
    }
    if (!isStopped)
      throw new CommandError("the node ended the watch", Exit.badConnection, goOn(next));
  } catch (error) {
    if (isStopped) return;
    const ending = client.endingOf(error);
    if (ending instanceof CommandError && ending.exit === Exit.badConnection)
      throw new CommandError(ending.message, ending.exit, goOn(next));
    throw ending;
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
    stream.cancel();
  }
}

function goOn(next: bigint): readonly string[] {
  return next > 0n ? [`nothing is missed when it goes on with --rev ${next}`] : [];
}

function cancelled(answer: etcd.WatchResponse): CommandError {
  if (answer.compact_revision > 0n) {
    return new CommandError(
      `the watch was canceled: the history before revision ${answer.compact_revision} is gone`,
      Exit.refused,
      ["read the keys as they are now and watch from the revision of that answer"],
    );
  }
  return new CommandError(
    `the watch was canceled: ${answer.cancel_reason || "no reason given"}`,
    Exit.refused,
  );
}

function print(session: Session, answer: etcd.WatchResponse): void {
  if (answer.created || session.form === "json" || session.form === "fields") {
    if (!answer.created) session.print(answer, () => undefined);
    return;
  }
  if (answer.events.length === 0 && session.form === "simple")
    session.streams.out(`progress notify: ${answer.header?.revision ?? 0n}\n`);
  for (const { type, kv, prev_kv } of answer.events) {
    session.streams.out(type === 1 ? "DELETE\n" : "PUT\n");
    if (prev_kv !== undefined) {
      session.line(prev_kv.key);
      session.line(prev_kv.value);
    }
    if (kv === undefined) continue;
    session.line(kv.key);
    session.line(kv.value);
  }
}
