/**
 * `--initial-cluster`: the first members as all of them are told, `n1=http://a:2380,n2=http://b:2380`. What could not
 * work, or would make another cluster than was meant, is refused here, before anything is made: ids and directories keep
 * what they were made with.
 */
import type { InitialMember } from "../db/index.ts";
import type { ServeConfig } from "./options.ts";
import { parseHostUrl, ValueProblem } from "./values.ts";

type ClusterConfig = Pick<
  ServeConfig,
  | "name"
  | "initialCluster"
  | "initialClusterState"
  | "initialAdvertisePeerUrls"
  | "fsyncIntervalMs"
  | "disablePersistence"
>;

/** The first members; empty when this one is alone. Of a configuration that has been checked. */
export function initialMembers(config: ClusterConfig): readonly InitialMember[] {
  const members = parse(config.initialCluster, []);
  return members.length > 1 ? members : [];
}

export function checkCluster(config: ClusterConfig, problems: string[]): void {
  if (config.initialClusterState === "existing" && parse(config.initialCluster, []).length < 2) {
    problems.push(
      "--initial-cluster-state existing: --initial-cluster names the members that there are, and this one: n1=http://host:port,n2=...",
    );
  }
  if (config.initialCluster === "") return;
  const found: string[] = [];
  const members = parse(config.initialCluster, found);
  problems.push(...found);
  if (found.length > 0) return;
  const self = members.find(({ name }) => name === config.name);
  const names = members.map(({ name }) => name).join(", ");
  if (self === undefined) {
    problems.push(
      members.length === 1
        ? `--initial-cluster names "${names}" but --name is "${config.name}": a lone member's cluster is itself`
        : `--initial-cluster names ${names}, and none of them is --name "${config.name}"`,
    );
    return;
  }
  const advertised = [...config.initialAdvertisePeerUrls].toSorted().join();
  const listed = self.peerUrls.toSorted().join();
  if (listed !== advertised) {
    problems.push(
      `--initial-cluster gives ${config.name} the URLs ${self.peerUrls.join(",")}, --initial-advertise-peer-urls gives ${config.initialAdvertisePeerUrls.join(",")}`,
    );
  }
  if (members.length > 1) checkMember(config, members, problems);
}

function checkMember(
  config: ClusterConfig,
  members: readonly InitialMember[],
  problems: string[],
): void {
  const why = `the cluster has ${members.length} members, and one that forgets what it acknowledged could undo what the others rely on`;
  if (config.fsyncIntervalMs > 0)
    problems.push(`--fsync-interval-ms ${config.fsyncIntervalMs} is for a lone member: ${why}`);
  if (config.disablePersistence)
    problems.push(`--disable-persistence is for a lone member: ${why}`);
  for (const { name, peerUrls } of members) {
    for (const url of peerUrls) {
      if (parseHostUrl(url).port === 0)
        problems.push(`--initial-cluster: ${name}=${url}: the others need the real port`);
    }
  }
}

/** As far as it makes sense; what does not is said in `problems`. */
function parse(text: string, problems: string[]): readonly InitialMember[] {
  const members: { name: string; peerUrls: string[] }[] = [];
  const owners = new Map<string, string>();
  for (const part of text === "" ? [] : text.split(",")) {
    const split = part.indexOf("=");
    if (split < 1) {
      problems.push(`--initial-cluster: "${part}" is not of the form name=http://host:port`);
      continue;
    }
    const name = part.slice(0, split).trim();
    let url: string;
    try {
      url = parseHostUrl(part.slice(split + 1).trim()).text;
    } catch (error) {
      if (!(error instanceof ValueProblem)) throw error;
      problems.push(`--initial-cluster: ${error.message}`);
      continue;
    }
    const owner = owners.get(url);
    if (owner !== undefined) {
      problems.push(
        owner === name
          ? `--initial-cluster has ${name}=${url} twice`
          : `--initial-cluster gives ${url} to ${owner} and to ${name}: each member has its own`,
      );
    }
    owners.set(url, name);
    const known = members.find((member) => member.name === name);
    if (known === undefined) members.push({ name, peerUrls: [url] });
    else known.peerUrls.push(url);
  }
  // A lone member may list all its URLs. Among several a name that comes again is a slip: three would become two.
  if (members.length > 1) {
    for (const { name, peerUrls } of members) {
      if (peerUrls.length > 1)
        problems.push(
          `--initial-cluster names ${name} ${peerUrls.length} times (${peerUrls.join(", ")}): each member has a name of its own and one URL`,
        );
    }
  }
  return members;
}
