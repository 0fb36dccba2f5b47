/**
 * A node that joins a cluster which exists (architecture section 8): it asks the members who they are, finds itself among
 * them by its peer URLs, pulls a snapshot, and makes its directory of that, so that it begins with the state and the
 * settings that the founders began with, and with a configuration that it is part of.
 *
 *     asked ──▶ found itself ──▶ JOINING ──▶ log, votes ──▶ snapshot pulled, installed ──▶ VERSION ──▶ a directory as any
 *
 * As long as there is a JOINING and no VERSION, nothing here was ever acknowledged: a join that was cut short starts over
 * with an empty directory. Afterwards the directory opens as every other.
 */
import { type ErrorCode, HarmonyError, writeU64 } from "../base/index.ts";
import type { JoinInfo, JoinMember } from "../codec/index.ts";
import {
  type Env,
  FileError,
  type Io,
  type Links,
  listDirectory,
  syncDirectory,
  unlinkIfThere,
} from "../env/index.ts";
import {
  helloTo,
  judgeWelcome,
  Membership,
  PeerCall,
  type Self,
  SnapshotPull,
} from "../replica/index.ts";
import { installSnapshot, SnapshotStore } from "../snapshot/index.ts";
import { type SnapshotRecord, VoteFile, Wal } from "../wal/index.ts";
import { encodeCheckpointPayload } from "./checkpoint-payload.ts";
import {
  assertOursOrEmpty,
  bootstrapIdentity,
  type Identity,
  type InitialMember,
  makeInnerDirectories,
  makePathDurable,
  writeVersion,
} from "./data-directory.ts";
import { MembersFile } from "./members-file.ts";
import { type NodeOptions, SEGMENT_DEFAULT_BYTES } from "./node-options.ts";
import { readSmallFile, replaceFile } from "./sealed-file.ts";

const JOINING = "JOINING";
const GROUP = 0;
/**
 * How often is tried what the others could not do. They may be starting, or be between two leaders, when somebody joins. A
 * refusal is tried again for a shorter time: who refuses may be behind and not know yet what was changed just now.
 */
const ROUNDS: { readonly [code in ErrorCode]?: number } = {
  UNREACHABLE: 20,
  PEER_FAILED: 20,
  JOIN_REFUSED: 10,
};
const PAUSE_MS = 500;
/** One call for what a cluster says of itself. */
const ASK_MS = 5_000;
/** Once somebody has answered: of several members one may be down. */
const ASK_MORE_MS = 1_000;

/** Makes the directory of a member that was added. Throws JOIN_REFUSED, UNREACHABLE, WRONG_CLUSTER, FileError. */
export function* join(env: Env, options: NodeOptions): Io<void> {
  const { links } = env;
  const { dataDir } = options;
  if (links === undefined)
    throw new HarmonyError("JOIN_REFUSED", "serve the node, where it can reach the others");
  yield* assertOursOrEmpty(env.files, dataDir);
  const { info, self, identity } = yield* persistently(env, () => ask(env, links, options));
  yield* makePathDurable(env.files, dataDir);
  yield* makeInnerDirectories(env.files, dataDir);
  yield* clear(env, dataDir);
  yield* makeDirectoryOf(env, links, options, { info, self, identity });
  yield* unlinkIfThere(env.files, `${dataDir}/${JOINING}`);
  env.log("info", "node", "has joined the cluster", {
    name: self.name,
    members: info.members.map((member) => (member.id === self.memberId ? self.name : member.name)),
  });
}

interface Found {
  readonly info: JoinInfo;
  readonly self: Self;
  readonly identity: Identity;
}

/** Tries again what another member could not do now. */
function* persistently<T>(env: Env, attempt: () => Io<T>): Io<T> {
  for (let round = 1; ; round++) {
    try {
      return yield* attempt();
    } catch (error) {
      if (!(error instanceof HarmonyError) || round >= (ROUNDS[error.code] ?? 0)) throw error;
      if (round === 1)
        env.log("warn", "node", "cannot join yet: tried again", { error: error.message });
    }
    yield (done) => env.timers.after(PAUSE_MS, () => done(null, undefined));
  }
}

/**
 * What the cluster says of itself, and who this node is in it. All members are asked, and who has applied most knows best:
 * one that is behind may name who had this address before, whose id belongs to a directory that is lost.
 */
function* ask(env: Env, links: Links, options: NodeOptions): Io<Found> {
  const { name = "default", peerUrls = [], clientUrls = [], initialCluster = [] } = options;
  const others = initialCluster.filter((member) => member.name !== name);
  const walId = env.entropy.bytes(16);
  const stranger: Self = {
    clusterId: 0,
    memberId: 0,
    walId,
    bootId: env.entropy.bytes(16),
    name,
    clientUrls,
    peerUrls,
  };
  const { tokenDigest } = bootstrapIdentity(env, {
    name,
    peerUrls,
    clusterToken: options.clusterToken,
  });
  const reasons: string[] = [];
  let newest: JoinInfo | null = null;
  for (const url of others.flatMap((member) => member.peerUrls)) {
    const waitMs: number = newest === null ? ASK_MS : ASK_MORE_MS;
    const answer: JoinInfo | HarmonyError = yield* askOne(env, links, url, stranger, waitMs);
    if (answer instanceof HarmonyError) {
      reasons.push(answer.message);
      continue;
    }
    if (options.clusterToken !== undefined && tokenDigest !== answer.tokenDigest) {
      throw new HarmonyError(
        "WRONG_CLUSTER",
        `the cluster at ${url} was made with another token than --initial-cluster-token says`,
      );
    }
    if (newest === null || newest.appliedIndex < answer.appliedIndex) newest = answer;
  }
  if (newest === null)
    throw new HarmonyError("UNREACHABLE", `nobody to join: ${reasons.join("; ")}`);
  const memberId = findSelf(newest, { name, peerUrls }, initialCluster);
  if (memberId instanceof HarmonyError) throw memberId;
  const { clusterId } = newest;
  return {
    info: newest,
    self: { ...stranger, clusterId, memberId },
    identity: { clusterId, memberId, walId, tokenDigest: newest.tokenDigest },
  };
}

/** What the node at this URL says of its cluster, or why it says nothing. */
export function* askOne(
  env: Env,
  links: Links,
  url: string,
  self: Self,
  waitMs: number = ASK_MS,
): Io<JoinInfo | HarmonyError> {
  const hello = { ...helloTo(self, 0), purpose: "join" as const };
  const call = new PeerCall({ env, links, url, hello, judge: () => null });
  const timer = env.timers.after(waitMs, () =>
    call.end(new HarmonyError("PEER_FAILED", `${url}: no answer in time`)),
  );
  try {
    yield* call.next();
    const frame = yield* call.next();
    if (frame.kind === "joinInfo") return frame;
    return new HarmonyError("PEER_FAILED", `${url}: it does not say who its members are`);
  } catch (error) {
    if (error instanceof HarmonyError) return error;
    throw error;
  } finally {
    timer.cancel();
    call.end(new HarmonyError("CLOSED"));
  }
}

const textOf = (urls: readonly string[]): string => [...urls].sort().join(",");

/** Which member this node is, or why what it was told does not fit (etcd's checks, and names): nothing is made then. */
function findSelf(
  { members }: JoinInfo,
  { name, peerUrls }: InitialMember,
  initialCluster: readonly InitialMember[],
): number | HarmonyError {
  const refuse = (what: string): HarmonyError => new HarmonyError("JOIN_REFUSED", what);
  const self = members.find((member) => textOf(member.peerUrls) === textOf(peerUrls));
  if (self === undefined) {
    return refuse(
      `no member has the peer URLs ${peerUrls.join(",")}: add this one first, with \`harmonydb member add ${name} --peer-urls ${peerUrls.join(",")}\``,
    );
  }
  if (self.name !== "")
    return refuse(
      `the member with the peer URLs ${peerUrls.join(",")} is ${self.name} and has run before, with another data directory: remove it and add it as a new one`,
    );
  const same = members.find((member) => member.name === name);
  if (same !== undefined)
    return refuse(`another member is called ${name}: give this one another --name`);
  for (const listed of initialCluster) {
    const isKnown = members.some((member) => textOf(member.peerUrls) === textOf(listed.peerUrls));
    if (!isKnown)
      return refuse(
        `--initial-cluster names ${listed.name}=${listed.peerUrls.join(",")}, and no member has that URL: compare it with \`harmonydb member list\``,
      );
  }
  const missing = members.find(
    (member) =>
      !initialCluster.some((listed) => textOf(listed.peerUrls) === textOf(member.peerUrls)),
  );
  if (missing !== undefined)
    return refuse(
      `--initial-cluster does not name the member ${missing.name}=${missing.peerUrls.join(",")}: name all there are`,
    );
  return self.id;
}

/** What an earlier attempt left. Anything else that lies here without VERSION is refused where the log is made. */
function* clear(env: Env, dataDir: string): Io<void> {
  const { files } = env;
  if ((yield* readSmallFile(files, `${dataDir}/${JOINING}`, 64)) !== null) {
    for (const name of ["VOTE", "MANIFEST", "MEMBERS"])
      yield* unlinkIfThere(files, `${dataDir}/${name}`);
    const groups = yield* listIfThere(env, `${dataDir}/snap`);
    const folders = ["wal", "db", "tmp", ...groups.map((group) => `snap/${group}`)];
    for (const folder of folders) {
      const path = `${dataDir}/${folder}`;
      for (const name of yield* listIfThere(env, path))
        yield* unlinkIfThere(files, `${path}/${name}`);
      if (folder !== "tmp") yield* syncDirectory(files, path);
    }
    yield* syncDirectory(files, dataDir);
  }
  for (const folder of ["wal", "db"]) {
    if ((yield* listDirectory(files, `${dataDir}/${folder}`)).length > 0)
      throw new HarmonyError(
        "JOIN_REFUSED",
        `${dataDir} holds data and no VERSION: join with a directory that is empty`,
      );
  }
  yield* replaceFile(files, dataDir, JOINING, "joining");
}

function* listIfThere(env: Env, path: string): Io<readonly string[]> {
  try {
    return yield* listDirectory(env.files, path);
  } catch (error) {
    if (error instanceof FileError && error.code === "ENOENT") return [];
    throw error;
  }
}

function* makeDirectoryOf(env: Env, links: Links, options: NodeOptions, found: Found): Io<void> {
  const { dataDir } = options;
  const { identity, info } = found;
  const walOptions = {
    directory: dataDir,
    segmentSizeBytes: options.walSegmentBytes ?? SEGMENT_DEFAULT_BYTES,
  };
  const clusterId = new Uint8Array(8);
  writeU64(clusterId, 0, identity.clusterId);
  const walIdentity = { clusterId, memberId: identity.memberId, walId: identity.walId };
  const wal = yield* Wal.create(env, walOptions, walIdentity);
  try {
    const store = yield* SnapshotStore.open(env, dataDir);
    const { meta } = yield* persistently(env, () =>
      pullAndInstall(env, links, dataDir, found, wal, store),
    );
    const state = { term: meta.term, vote: 0, incarnation: 1 };
    const votes = yield* VoteFile.create(env, walOptions, walIdentity, new Map([[GROUP, state]]));
    yield* votes.close();
  } finally {
    yield* wal.close();
  }
  yield* new MembersFile(env, dataDir, info.members, new Map()).write();
  yield* writeVersion(env.files, dataDir, identity);
}

/** From the first member that gives one. Voters first: they are likelier to be up to date. */
function* pullAndInstall(
  env: Env,
  links: Links,
  dataDir: string,
  { info, self, identity }: Found,
  wal: Wal,
  store: SnapshotStore,
): Io<SnapshotRecord> {
  const membership = new Membership({
    members: info.members,
    remember: (_id, _walId, done) => done(null),
  });
  const into = store.temporaryPath({ group: GROUP, term: 0, index: info.appliedIndex });
  const others = info.members.filter(({ id, name }) => id !== self.memberId && name !== "");
  const byVote = (a: JoinMember, b: JoinMember): number =>
    Number(a.isLearner) - Number(b.isLearner);
  let failed = new HarmonyError("UNREACHABLE", "no other member has started");
  for (const { id, peerUrls } of others.toSorted(byVote)) {
    const pull = new SnapshotPull({
      env,
      links,
      self,
      from: id,
      urls: peerUrls,
      judge: (welcome) => judgeWelcome(welcome, id, membership),
      group: GROUP,
      indexAtLeast: info.appliedIndex,
      into,
    });
    try {
      yield* pull.run();
      const record = yield* installSnapshot(into, {
        env,
        directory: dataDir,
        group: GROUP,
        fileId: identity.walId,
        walLsn: wal.durableLsn,
        payload: ({ meta, machine }) =>
          encodeCheckpointPayload({ incarnation: 1, confState: meta.confState, machine }),
        store,
        clusterId: identity.clusterId,
        commit: 0,
        keep: 1,
        record: (snapshot) => recordOf(wal, snapshot),
      });
      pull.taken();
      return record;
    } catch (error) {
      if (!(error instanceof HarmonyError)) throw error;
      pull.refuse(error);
      failed = error;
    }
  }
  throw failed;
}

function* recordOf(wal: Wal, snapshot: SnapshotRecord): Io<void> {
  const { term, index } = snapshot.meta;
  const hardState = { term, vote: 0, commit: index };
  yield (done) =>
    wal.append(
      [{ group: GROUP, snapshot, entries: [], hardState }],
      // Errors of the log travel through an Io as they are; the type of the channel is the file's.
      (error) => done(error as unknown as FileError | null, undefined),
      { sync: true, reserve: true },
    );
}
