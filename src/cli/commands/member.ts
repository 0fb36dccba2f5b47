/** member and move-leader: who belongs to the cluster, and who leads it. Simple output is etcdctl's. */
import { setTimeout as delay } from "node:timers/promises";
import { status as GrpcCode } from "@grpc/grpc-js";
import type { etcd } from "../../codec/messages/index.ts";
import { CommandError, Exit } from "../exit.ts";
import { duration, parseHostUrl, ValueProblem } from "../values.ts";
import { Client, RpcError } from "./client.ts";
import { badArguments, flagValue } from "./flags.ts";
import { table } from "./output.ts";
import {
  MEMBER_ADD,
  MEMBER_LIST,
  MEMBER_PROMOTE,
  MEMBER_REMOVE,
  MEMBER_REPLACE,
  MEMBER_UPDATE,
  MOVE_LEADER,
  STATUS,
} from "./rpcs.ts";
import type { Session } from "./session.ts";

export interface AddFlags {
  readonly peerUrls?: string;
  readonly learner?: boolean;
}

export interface ReplaceFlags {
  readonly peerUrls?: string;
  readonly wait: string;
}

const HEAD = ["ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"];
/** How often it is asked whether a learner has caught up. */
const LOOK_MS = 500;
const DAY_MS = 86_400_000;

export async function list(session: Session): Promise<void> {
  const answer = await listOf(session);
  if (session.form === "table") {
    session.streams.out(table(HEAD, answer.members.map(rowOf)));
    return;
  }
  session.print(answer, () => {
    for (const member of answer.members) session.streams.out(`${rowOf(member).join(", ")}\n`);
  });
}

export async function add(
  session: Session,
  [name = ""]: readonly string[],
  flags: AddFlags,
): Promise<void> {
  const peerURLs = urlsOf(flags.peerUrls);
  await refuseName(session, name);
  const client = await session.client();
  const isLearner = flags.learner === true;
  const answer = await client.unary(MEMBER_ADD, { peerURLs, isLearner });
  session.print(answer, () => {
    const id = hexId(answer.member?.ID ?? 0n);
    session.streams.out(
      `${isLearner ? "Learner" : "Member"} ${id} added to cluster ${clusterOf(answer)}\n\n`,
    );
    session.streams.out(startOf(name, answer.member, answer.members));
  });
}

export async function remove(session: Session, [which = ""]: readonly string[]): Promise<void> {
  const { ID } = await memberOf(session, which);
  const client = await session.client();
  const answer = await client.unary(MEMBER_REMOVE, { ID });
  session.print(answer, () =>
    session.streams.out(`Member ${hexId(ID)} removed from cluster ${clusterOf(answer)}\n`),
  );
}

export async function update(
  session: Session,
  [which = ""]: readonly string[],
  flags: AddFlags,
): Promise<void> {
  const peerURLs = urlsOf(flags.peerUrls);
  const { ID } = await memberOf(session, which);
  const client = await session.client();
  const answer = await client.unary(MEMBER_UPDATE, { ID, peerURLs });
  session.print(answer, () =>
    session.streams.out(`Member ${hexId(ID)} updated in cluster ${clusterOf(answer)}\n`),
  );
}

export async function promote(session: Session, [which = ""]: readonly string[]): Promise<void> {
  const { ID } = await memberOf(session, which);
  const client = await session.client();
  const answer = await client.unary(MEMBER_PROMOTE, { ID });
  session.print(answer, () =>
    session.streams.out(`Member ${hexId(ID)} promoted in cluster ${clusterOf(answer)}\n`),
  );
}

/**
 * The whole exchange of a member that is gone: the new one is added as a learner, which costs no quorum, and takes the
 * place of the old one in one step when it has caught up. Called again it goes on where it was.
 */
export async function replace(
  session: Session,
  [which = "", name = ""]: readonly string[],
  flags: ReplaceFlags,
): Promise<void> {
  const peerURLs = urlsOf(flags.peerUrls);
  const waitMs = flagValue("--wait", duration({ minMs: 0, maxMs: DAY_MS }), flags.wait);
  const old = await memberOf(session, which);
  const client = await session.client();
  const { members } = await listOf(session);
  const known = members.find(
    (member) =>
      member.isLearner && member.peerURLs.toSorted().join() === peerURLs.toSorted().join(),
  );
  const by = known ?? (await addLearner(session, client, name, peerURLs));
  session.streams.err(
    `waiting up to ${flags.wait} until ${name} (${hexId(by.ID)}) runs and has everything\n`,
  );
  const untilMs = Date.now() + waitMs;
  for (;;) {
    try {
      const answer = await client.unary(MEMBER_REPLACE, { id: old.ID, by: by.ID });
      session.print(answer, () =>
        session.streams.out(
          `Member ${hexId(old.ID)} replaced by ${hexId(by.ID)} in cluster ${hexId(answer.cluster_id)}\n`,
        ),
      );
      return;
    } catch (error) {
      if (!isTooEarly(error)) throw error;
      if (Date.now() > untilMs) {
        throw new CommandError(
          `${name} has not caught up within ${flags.wait}: it is a learner, and ${hexId(old.ID)} is still a member`,
          Exit.refused,
          ["the same command goes on from here; `harmonydb member remove` takes the learner back"],
        );
      }
    }
    await delay(LOOK_MS);
  }
}

async function addLearner(
  session: Session,
  client: Client,
  name: string,
  peerURLs: string[],
): Promise<etcd.Member> {
  await refuseName(session, name);
  const { member, members } = await client.unary(MEMBER_ADD, { peerURLs, isLearner: true });
  session.streams.err(`${startOf(name, member, members)}\n`);
  return member as etcd.Member;
}

/** It has not started, has not caught up, or there is no leader to say so. */
function isTooEarly(error: unknown): boolean {
  if (!(error instanceof RpcError)) return false;
  return (
    error.code === GrpcCode.UNAVAILABLE ||
    (error.code === GrpcCode.FAILED_PRECONDITION && error.message.endsWith("in sync with leader"))
  );
}

/** The lead passes to another member. Every endpoint is asked whether it leads, since only the leader hands over. */
export async function moveLeader(session: Session, [which = ""]: readonly string[]): Promise<void> {
  const target = await memberOf(session, which);
  const { members } = await listOf(session);
  const urls = members.flatMap(({ clientURLs }) => clientURLs.map((url) => parseHostUrl(url)));
  const others = urls.map(({ host, port }) => ({
    text: `${host.includes(":") ? `[${host}]` : host}:${port}`,
    host,
    port,
  }));
  for (const endpoint of [...session.endpoints, ...others]) {
    let client: Client;
    try {
      client = await Client.open([endpoint], session.times);
    } catch {
      continue;
    }
    try {
      const { leader, header } = await client.unary(STATUS, {});
      if (leader === 0n || leader !== header?.member_id) continue;
      await client.unary(MOVE_LEADER, { targetID: target.ID });
      session.streams.out(`Leadership transferred from ${hexId(leader)} to ${hexId(target.ID)}\n`);
      return;
    } finally {
      client.close();
    }
  }
  throw new CommandError("no leader could be reached", Exit.badConnection, [
    "`harmonydb endpoint status` shows who leads; name its endpoint with --endpoints",
  ]);
}

async function listOf(session: Session): Promise<etcd.MemberListResponse> {
  const client = await session.client();
  return client.unary(MEMBER_LIST, { linearizable: true });
}

/** By its id, hexadecimal as the list shows it, or by its name. */
async function memberOf(session: Session, which: string): Promise<etcd.Member> {
  const { members } = await listOf(session);
  const named = members.find(({ ID, name }) => hexId(ID) === which || name === which);
  if (named !== undefined) return named;
  throw new CommandError(`no member has the id or name "${which}"`, Exit.refused, [
    `members: ${members.map(({ ID, name }) => `${hexId(ID)} ${name || "(not started)"}`).join(", ")}`,
  ]);
}

/** Who has the name of another could not say it when it starts. */
async function refuseName(session: Session, name: string): Promise<void> {
  if (!/^[^\s,="]+$/.test(name)) throw badArguments(`"${name}" is no name for a member`);
  const { members } = await listOf(session);
  const other = members.find((member) => member.name === name);
  if (other !== undefined)
    throw new CommandError(`member ${hexId(other.ID)} is called ${name} already: choose another`);
}

function urlsOf(flag: string | undefined): string[] {
  const parts = (flag ?? "").split(",").filter((part) => part !== "");
  if (parts.length === 0)
    throw badArguments("--peer-urls says where other members reach it, as http://host:port");
  return parts.map((part) => {
    try {
      return parseHostUrl(part.trim()).text;
    } catch (error) {
      if (error instanceof ValueProblem) throw badArguments(`--peer-urls: ${error.message}`);
      throw error;
    }
  });
}

/** What etcdctl prints under names of etcd, and the command to type. */
function startOf(
  name: string,
  added: etcd.Member | undefined,
  members: readonly etcd.Member[],
): string {
  const urls = added?.peerURLs ?? [];
  const others = members.filter(({ ID }) => ID !== added?.ID);
  const named = [
    ...others.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    { name, peerURLs: urls },
  ];
  const cluster = named
    .flatMap((member) => member.peerURLs.map((url) => `${member.name}=${url}`))
    .join(",");
  return [
    "start it with its own data directory and client URLs, and:",
    `  harmonydb serve --name ${name} --initial-cluster-state existing \\`,
    `    --listen-peer-urls ${urls.join(",")} --initial-advertise-peer-urls ${urls.join(",")} \\`,
    `    --initial-cluster ${cluster}`,
    "",
  ].join("\n");
}

function rowOf({ ID, name, peerURLs, clientURLs, isLearner }: etcd.Member): string[] {
  const state = name === "" ? "unstarted" : "started";
  return [hexId(ID), state, name, peerURLs.join(","), clientURLs.join(","), String(isLearner)];
}

function clusterOf({ header }: { readonly header?: etcd.ResponseHeader | undefined }): string {
  return hexId(header?.cluster_id ?? 0n);
}

function hexId(id: bigint): string {
  return id.toString(16);
}
