/**
 * Puts a configuration together: flag over environment over file over default, each value with its origin, then the
 * rules that tie options to each other. Every problem is collected, so that one start shows all of them.
 */
import { readConfigFile, type Written } from "./config-file.ts";
import { CommandError } from "./exit.ts";
import { checkCluster } from "./initial-cluster.ts";
import {
  ENVIRONMENT_PREFIX,
  environmentName,
  isLaterOption,
  OPTION_NAMES,
  type OptionName,
  OPTIONS,
  type ServeConfig,
} from "./options.ts";
import {
  closest,
  duration,
  isLoopback,
  parseHostUrl,
  ValueProblem,
  wholeNumber,
} from "./values.ts";

export type Origin = "flag" | "environment" | "file" | "default";

export interface ResolvedConfig {
  readonly config: ServeConfig;
  /** The values as they were written. */
  readonly texts: Readonly<Record<OptionName, string>>;
  readonly origins: Readonly<Record<OptionName, Origin>>;
  /** Sentences for the log: nothing that hinders the start. */
  readonly warnings: readonly string[];
}

/** Variables with our prefix that are not options of the server. */
const OTHER_VARIABLES: ReadonlySet<string> = new Set([
  "HARMONYDB_ENDPOINTS",
  "HARMONYDB_LOCK_KEY",
  "HARMONYDB_LOCK_FENCE",
]);

/** `flags` by option as typed; `environment` as the process has it. Throws CommandError with all problems. */
export function resolveConfig(
  flags: ReadonlyMap<OptionName, string>,
  environment: Readonly<Record<string, string | undefined>>,
): ResolvedConfig {
  const problems: string[] = [];
  const { values: fromEnvironment, warnings } = readEnvironment(environment, problems);
  const configFile = flags.get("configFile") ?? fromEnvironment.get("configFile")?.text ?? "";
  const fromFile = configFile === "" ? new Map<OptionName, Written>() : readConfigFile(configFile);

  const origins: Partial<Record<OptionName, Origin>> = {};
  const texts: Partial<Record<OptionName, string>> = {};
  const values: Partial<Record<OptionName, unknown>> = {};
  for (const name of OPTION_NAMES) {
    const option = OPTIONS[name];
    const flag = flags.get(name);
    const written = fromEnvironment.get(name) ?? fromFile.get(name);
    const text = flag ?? written?.text ?? option.fallback;
    texts[name] = text;
    origins[name] =
      flag !== undefined
        ? "flag"
        : fromEnvironment.has(name)
          ? "environment"
          : fromFile.has(name)
            ? "file"
            : "default";
    try {
      values[name] = option.read(text);
    } catch (error) {
      if (!(error instanceof ValueProblem)) throw error;
      const where =
        flag !== undefined || written === undefined
          ? `--${option.flag}`
          : `${written.where}: ${option.flag}`;
      problems.push(`${where}: ${error.message}`);
    }
  }
  if (origins.initialAdvertisePeerUrls === "default" && origins.listenPeerUrls !== "default")
    values.initialAdvertisePeerUrls = reachable(values as Partial<ServeConfig>);
  if (problems.length === 0) checkTogether(values as unknown as ServeConfig, problems);
  if (problems.length > 0)
    throw new CommandError("the configuration is refused", undefined, problems);
  return {
    config: values as unknown as ServeConfig,
    texts: texts as Record<OptionName, string>,
    origins: origins as Record<OptionName, Origin>,
    warnings,
  };
}

/** Who says where it listens for others and not how they reach it is reached there, unless that is everywhere. */
function reachable({
  listenPeerUrls = [],
  initialAdvertisePeerUrls,
}: Partial<ServeConfig>): readonly string[] | undefined {
  const isEverywhere = listenPeerUrls.some((url) =>
    ["0.0.0.0", "::"].includes(parseHostUrl(url).host),
  );
  return isEverywhere ? initialAdvertisePeerUrls : listenPeerUrls;
}

function readEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  problems: string[],
): { readonly values: ReadonlyMap<OptionName, Written>; readonly warnings: readonly string[] } {
  const values = new Map<OptionName, Written>();
  const byVariable = new Map(
    OPTION_NAMES.map((name) => [environmentName(OPTIONS[name].flag), name]),
  );
  const warnings: string[] = [];
  for (const [variable, text] of Object.entries(environment)) {
    // An empty variable counts as absent, as in etcd: that is how one unsets it in a unit file.
    if (!variable.startsWith(ENVIRONMENT_PREFIX) || text === undefined || text === "") continue;
    const name = byVariable.get(variable);
    if (name !== undefined) {
      values.set(name, { text, where: `environment ${variable}` });
    } else if (
      isLaterOption(variable.slice(ENVIRONMENT_PREFIX.length).toLowerCase().replaceAll("_", "-"))
    ) {
      problems.push(`environment ${variable}: this option is not available in this version`);
    } else if (!OTHER_VARIABLES.has(variable)) {
      const near = closest(variable, byVariable.keys());
      warnings.push(
        `unknown environment variable ${variable} is ignored${near === null ? "" : `; did you mean ${near}?`}`,
      );
    }
  }
  return { values, warnings };
}

/** The log writes whole sectors. */
const SECTOR_BYTES = 512;

function checkTogether(config: ServeConfig, problems: string[]): void {
  if (config.electionTimeoutMs < 5 * config.heartbeatIntervalMs) {
    problems.push(
      `--election-timeout ${config.electionTimeoutMs}ms must be at least five times --heartbeat-interval ${config.heartbeatIntervalMs}ms`,
    );
  }
  if (config.walSegmentBytes % SECTOR_BYTES !== 0) {
    problems.push(
      `--wal-segment-bytes ${config.walSegmentBytes} must be a multiple of ${SECTOR_BYTES}`,
    );
  }
  if (config.disablePersistence && config.fsyncIntervalMs > 0) {
    problems.push(
      `--fsync-interval-ms ${config.fsyncIntervalMs} says when to sync, and --disable-persistence that there is nothing to sync: leave one of them out`,
    );
  }
  checkBind(config, problems);
  checkCluster(config, problems);
  try {
    retentionOf(config);
  } catch (error) {
    if (!(error instanceof ValueProblem)) throw error;
    problems.push(`--auto-compaction-retention: ${error.message}`);
  }
}

/** Nobody is asked who he is and nothing is encrypted, so the network must not reach us by accident (security T1). */
function checkBind(config: ServeConfig, problems: string[]): void {
  if (config.insecure) return;
  for (const url of config.listenClientUrls) {
    const { host } = parseHostUrl(url);
    if (!isLoopback(host)) {
      problems.push(
        `--listen-client-urls ${url}: others than this machine could reach it, and this version has neither TLS nor ` +
          "passwords: listen on 127.0.0.1, or say --insecure if the network is yours alone",
      );
    }
  }
  // Also without other members on the command line: a directory remembers that it belongs to one of several.
  for (const url of config.listenPeerUrls) {
    if (isLoopback(parseHostUrl(url).host)) continue;
    problems.push(
      `--listen-peer-urls ${url}: others than this machine could reach it, and this version neither encrypts nor asks ` +
        "members for proof: listen on 127.0.0.1, or say --insecure if the network is yours alone",
    );
  }
}

/** How much history a new database keeps. Null: all of it, for ever, as etcd does with a retention of 0. */
export type Retention =
  | { readonly mode: "periodic"; readonly ms: number }
  | { readonly mode: "revision"; readonly revisions: number };

const HOUR_MS = 3_600_000;
const TEN_YEARS_MS = 3650 * 24 * HOUR_MS;

export function retentionOf(
  config: Pick<ServeConfig, "autoCompactionMode" | "autoCompactionRetention">,
): Retention | null {
  const text = config.autoCompactionRetention;
  if (config.autoCompactionMode === "revision") {
    const revisions = wholeNumber({ min: 0, max: Number.MAX_SAFE_INTEGER })(text);
    return revisions === 0 ? null : { mode: "revision", revisions };
  }
  const ms = duration({ minMs: 0, maxMs: TEN_YEARS_MS }, HOUR_MS)(text);
  return ms === 0 ? null : { mode: "periodic", ms };
}

/** The URLs that clients are told: the listen URLs unless others are given. */
export function advertisedUrls(config: ServeConfig): readonly string[] {
  return config.advertiseClientUrls.length > 0
    ? config.advertiseClientUrls
    : config.listenClientUrls;
}
