/** lease grant, revoke, timetolive, list, keep-alive. Ids are hexadecimal, TTLs seconds, as in etcdctl. */
import { CommandError, Exit } from "../exit.ts";
import { count, leaseId, leaseText } from "./flags.ts";
import { bytesText } from "./output.ts";
import {
  LEASE_GRANT,
  LEASE_KEEP_ALIVE,
  LEASE_LEASES,
  LEASE_REVOKE,
  LEASE_TIME_TO_LIVE,
} from "./rpcs.ts";
import type { Session } from "./session.ts";

export async function grant(
  session: Session,
  args: readonly string[],
  flags: { readonly id?: string },
): Promise<void> {
  const TTL = count("TTL", args[0] as string);
  const ID = flags.id === undefined ? 0n : leaseId("--id", flags.id);
  const response = await (await session.client()).unary(LEASE_GRANT, { TTL, ID });
  session.print(response, () =>
    session.streams.out(`lease ${leaseText(response.ID)} granted with TTL(${response.TTL}s)\n`),
  );
}

export async function revoke(session: Session, args: readonly string[]): Promise<void> {
  const ID = leaseId("lease", args[0] as string);
  const response = await (await session.client()).unary(LEASE_REVOKE, { ID });
  session.print(response, () => session.streams.out(`lease ${leaseText(ID)} revoked\n`));
}

export async function timeToLive(
  session: Session,
  args: readonly string[],
  flags: { readonly keys?: boolean },
): Promise<void> {
  const ID = leaseId("lease", args[0] as string);
  const keys = flags.keys ?? false;
  const response = await (await session.client()).unary(LEASE_TIME_TO_LIVE, { ID, keys });
  session.print(response, () => {
    if (response.TTL < 0n) {
      session.streams.out(`lease ${leaseText(ID)} already expired\n`);
      return;
    }
    session.streams.out(
      `lease ${leaseText(ID)} granted with TTL(${response.grantedTTL}s), remaining(${response.TTL}s)`,
    );
    if (keys) {
      const names = response.keys.map((key) =>
        Buffer.from(bytesText(key, session.hex)).toString("utf8"),
      );
      session.streams.out(`, attached keys([${names.join(" ")}])`);
    }
    session.streams.out("\n");
  });
}

export async function list(session: Session): Promise<void> {
  const response = await (await session.client()).unary(LEASE_LEASES, {});
  session.print(response, () => {
    session.streams.out(`found ${response.leases.length} leases\n`);
    for (const { ID } of response.leases) session.streams.out(`${leaseText(ID)}\n`);
  });
}

/** Renews at a third of the TTL until the lease is gone or the process is told to end. */
export async function keepAlive(
  session: Session,
  args: readonly string[],
  flags: { readonly once?: boolean },
): Promise<void> {
  const ID = leaseId("lease", args[0] as string);
  const client = await session.client();
  const stream = client.stream(LEASE_KEEP_ALIVE);
  let timer: NodeJS.Timeout | undefined;
  let deadline: NodeJS.Timeout | undefined;
  let isLate = false;
  const renew = (): void => {
    deadline = setTimeout(() => {
      isLate = true;
      stream.cancel();
    }, session.times.commandTimeoutMs);
    stream.write({ ID });
  };
  const stop = (): void => {
    stream.cancel();
  };
  let isStopped = false;
  const onSignal = (): void => {
    isStopped = true;
    stop();
  };
  process.once("SIGINT", onSignal).once("SIGTERM", onSignal);
  renew();
  try {
    for await (const message of stream) {
      clearTimeout(deadline);
      const response = message as { readonly ID: bigint; readonly TTL: bigint };
      if (response.TTL <= 0n)
        throw new CommandError(`lease ${leaseText(ID)} expired or revoked`, Exit.refused);
      session.print(response, () =>
        session.streams.out(`lease ${leaseText(ID)} keepalived with TTL(${response.TTL})\n`),
      );
      if (flags.once === true) break;
      timer = setTimeout(renew, Math.max(500, (Number(response.TTL) * 1000) / 3));
    }
  } catch (error) {
    if (isLate) {
      throw new CommandError(
        `no answer from ${client.endpoint.text} within ${session.times.commandTimeoutMs} ms`,
        Exit.refused,
        ["the lease may end; ask with `harmonydb lease timetolive`"],
      );
    }
    if (!isStopped) throw client.endingOf(error);
  } finally {
    clearTimeout(timer);
    clearTimeout(deadline);
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
    stop();
  }
}
