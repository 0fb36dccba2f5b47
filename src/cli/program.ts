/**
 * The commands and their help. Each command is loaded when it is called, so `--help` and a mistyped option answer at
 * once and without the server's libraries.
 */
import { Command, CommanderError, Option } from "commander";
import { flagValue } from "./commands/flags.ts";
import { addClientCommands, CLIENT_WORDS } from "./commands/index.ts";
import { type ResolvedConfig, resolveConfig } from "./config.ts";
import { CommandError, endingOf, Exit } from "./exit.ts";
import {
  environmentName,
  isLaterOption,
  optionByFlag,
  OPTION_NAMES,
  type OptionName,
  OPTIONS,
  type OptionSpec,
} from "./options.ts";
import type { Streams, WriteOut } from "./streams.ts";
import { byteSize, closest, duration, wholeNumber } from "./values.ts";
import { VERSION } from "./version.ts";

/** Words that etcdctl's users type and that this version leaves to etcdctl. */
const LEFT_TO_ETCDCTL: readonly string[] = ["alarm", "auth", "defrag", "elect", "role", "user"];

interface Outcome {
  serving: boolean;
  /** Of a command that ended without an error. */
  exit: number;
}

/** Runs one command line. The exit code, or null when the process goes on serving and will end itself. */
export async function run(args: readonly string[], streams: Streams): Promise<number | null> {
  const outcome: Outcome = { serving: false, exit: Exit.ok };
  let dataDir = "";
  const program = build(streams, outcome, (dir) => (dataDir = dir));
  try {
    refuseLater(args);
    const line = args[0] === undefined || isServeFlag(args[0]) ? ["serve", ...args] : [...args];
    refuseUnknownCommand(line, program);
    await program.parseAsync(line, { from: "user" });
    return outcome.serving ? null : outcome.exit;
  } catch (error) {
    // Commander has written its own message by now.
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return Exit.ok;
      return CLIENT_WORDS.has(args[0] ?? "") ? Exit.badArguments : Exit.refused;
    }
    const ending = endingOf(error, dataDir);
    streams.err(`harmonydb: ${ending.message}\n`);
    const advice = error instanceof CommandError ? error.lines : [ending.advice];
    for (const line of advice) streams.err(`  ${line}\n`);
    return ending.exit;
  }
}

/** `harmonydb --data-dir d` means serve; the program's own flags stay with the program. */
function isServeFlag(arg: string): boolean {
  return arg.startsWith("-") && !["-h", "--help", "-V", "--version"].includes(arg);
}

function refuseLater(args: readonly string[]): void {
  // Commands of clients have words of their own.
  if (CLIENT_WORDS.has(args[0] ?? "")) return;
  for (const arg of args) {
    const flag = /^--([a-z-]+)/.exec(arg)?.[1];
    if (flag !== undefined && isLaterOption(flag))
      throw new CommandError(`option --${flag} is not available in this version`);
  }
}

function refuseUnknownCommand(line: readonly string[], program: Command): void {
  const word = line[0] as string;
  if (word.startsWith("-")) return;
  const known = program.commands.flatMap((command) => [command.name(), ...command.aliases()]);
  if (known.includes(word) || word === "help") return;
  if (LEFT_TO_ETCDCTL.includes(word)) {
    throw new CommandError(`${word} is not among the commands of this version`, Exit.badArguments, [
      `use etcdctl, which speaks to this server: etcdctl ${line.join(" ")}`,
    ]);
  }
  const near = closest(word, known);
  throw new CommandError(
    `unknown command "${word}"${near === null ? "" : `; did you mean "${near}"?`}`,
    Exit.badArguments,
    ["harmonydb --help lists the commands"],
  );
}

function build(streams: Streams, outcome: Outcome, useDataDir: (dir: string) => void): Command {
  const program = new Command("harmonydb")
    .description("A replicated, durable, ordered key-value database that speaks the etcd v3 API.")
    .version(`harmonydb ${VERSION}`, "-V, --version", "print the version")
    .helpOption("-h, --help", "show help")
    .helpCommand("help [command]", "show help of a command")
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => streams.out(text),
      writeErr: (text) => streams.err(text),
      outputError: (text, write) => write(text.replace(/^error: /, "harmonydb: ")),
      // One width everywhere: help that is compared in a test and pasted into documents reads alike.
      getOutHelpWidth: () => 100,
      getErrHelpWidth: () => 100,
    })
    .addHelpText(
      "after",
      `
Examples:
  harmonydb serve                              one durable node: data in ./data, clients on 127.0.0.1:2379
  harmonydb put greeting hello                 write to it; etcdctl put greeting hello does, too
  harmonydb get --prefix '' --count-only       how many keys are there?
  harmonydb serve --data-dir /var/lib/hdb --listen-client-urls http://127.0.0.1:3379
  harmonydb check --data-dir ./data            is everything on a stopped node's disk sound?

With flags only, serve is meant: harmonydb --data-dir /var/lib/hdb
Exit codes: 0 done, 1 refused, 70 damaged data, 74 the disk failed, 134 a defect. Clients' commands
have etcdctl's as well: 2 no connection, 3 wrong input, 4 the node failed, 5 unhealthy, 6 a file
failed, 128 wrong arguments.`,
    );

  const inherit = (command: Command): Command => command.copyInheritedSettings(program);

  const serve = inherit(new Command("serve"))
    .description(
      "Run a node until SIGTERM or SIGINT. One JSON line on stdout says that it is ready; logs go to stderr.",
    )
    .allowExcessArguments(false);
  addServeOptions(serve).addHelpText(
    "after",
    `
Every option can also stand in the environment (--data-dir as HARMONYDB_DATA_DIR) and in the file of
--config-file (data-dir: /var/lib/hdb). A flag wins over the environment, that over the file.
Durations are milliseconds, or 100ms, 5s, 5m, 1h30m. Sizes are bytes, or 64MiB, 2GiB.

Examples:
  harmonydb serve --data-dir /var/lib/hdb --name n1
  harmonydb serve --listen-client-urls http://127.0.0.1:0            a free port; the ready line names it
  HARMONYDB_LOG_FORMAT=console harmonydb serve --auto-compaction-retention 1h
  harmonydb config print --config-file hdb.yaml                      what would it run with, and why?`,
  );
  serve.action(async (_options, command: Command) => {
    const resolved = resolve(command, streams);
    outcome.serving = true;
    streams.onServe();
    useDataDir(resolved.config.dataDir);
    const door = await import("./serve.ts");
    await door.serve(resolved);
  });

  const version = inherit(new Command("version")).description(
    "Print the version of this program and of Node.js.",
  );
  version.addOption(writeOutOption()).action((options: { writeOut: WriteOut }) => {
    const facts = {
      version: VERSION,
      node: process.version,
      platform: `${process.platform}-${process.arch}`,
    };
    streams.out(
      options.writeOut === "json"
        ? `${JSON.stringify(facts)}\n`
        : `harmonydb ${facts.version}\nNode.js ${facts.node} on ${facts.platform}\n`,
    );
  });

  const config = inherit(new Command("config")).description(
    "Show or check the configuration that serve would use.",
  );
  const print = inherit(new Command("print")).description(
    "Print every option with its value and where the value comes from.",
  );
  addServeOptions(print)
    .addOption(writeOutOption())
    .addHelpText(
      "after",
      "\nThe simple form is a configuration file: harmonydb config print --name n1 > hdb.yaml",
    )
    .action((options: { writeOut: WriteOut }, command: Command) => {
      streams.out(printConfig(resolve(command, streams), options.writeOut));
    });
  const validate = inherit(new Command("validate")).description(
    "Exit 0 if serve would accept the configuration, 1 with the reasons if not.",
  );
  addServeOptions(validate).action((_options, command: Command) => {
    for (const warning of resolve(command, streams).warnings)
      streams.err(`harmonydb: ${warning}\n`);
    streams.out("the configuration is valid\n");
  });
  config.addCommand(print).addCommand(validate);

  program.addCommand(serve).addCommand(version).addCommand(config);
  for (const command of inspectors(inherit, streams, useDataDir)) program.addCommand(command);
  program.addCommand(localCluster(inherit, streams, (exit) => (outcome.exit = exit)));
  addClientCommands(program, streams, (exit) => (outcome.exit = exit));
  return program;
}

/** Several nodes on this machine. */
function localCluster(
  inherit: (command: Command) => Command,
  streams: Streams,
  finish: (exit: number) => void,
): Command {
  const dataDir = (): Option =>
    new Option("--data-dir <dir>", "directory of the cluster").default("./cluster");
  const cluster = inherit(new Command("cluster")).description(
    "Run a cluster on this machine, each node in a process of its own.",
  );
  const start = inherit(new Command("start"))
    .description(
      "Start the nodes and show how they are until Ctrl-C or SIGTERM, which stop all of them. A node that dies is started again. On the same directory the same cluster comes back.",
    )
    .argument("[serve options...]", "options of serve for every node, behind --")
    .addOption(dataDir())
    .option("--nodes <count>", "how many (default: 3, or as the directory has it)")
    .option(
      "--base-port <port>",
      "n1 takes this port for clients and the next one for members, n2 the two after them, and so on (default: free ports)",
    )
    .addHelpText(
      "after",
      "\nLogs: <dir>/n1.log and so on.\n\nExamples:\n  harmonydb cluster start --nodes 3 --data-dir D\n  harmonydb cluster start --data-dir D --base-port 12379 -- --election-timeout 500ms",
    );
  start.action(
    async (
      serveArgs: readonly string[],
      options: { dataDir: string; nodes?: string; basePort?: string },
    ) => {
      const { startCluster } = await import("./local/start.ts");
      finish(
        await startCluster(
          {
            dataDir: options.dataDir,
            nodes: options.nodes === undefined ? null : flagValue("--nodes", NODES, options.nodes),
            basePort:
              options.basePort === undefined
                ? null
                : flagValue("--base-port", PORT, options.basePort),
            serveArgs,
          },
          streams,
        ),
      );
    },
  );
  const stop = inherit(new Command("stop"))
    .description("Stop a cluster from elsewhere; answers when nothing of it runs any more.")
    .addOption(dataDir())
    .option("--timeout <duration>", "how long that may take", "30s")
    .allowExcessArguments(false)
    .addHelpText("after", "\nExample:\n  harmonydb cluster stop --data-dir D");
  stop.action(async (options: { dataDir: string; timeout: string }) => {
    const { stopCluster } = await import("./local/stop.ts");
    finish(
      await stopCluster(options.dataDir, flagValue("--timeout", TIMEOUT, options.timeout), streams),
    );
  });
  return cluster.addCommand(start).addCommand(stop);
}

const NODES = wholeNumber({ min: 1, max: 9 });
const PORT = wholeNumber({ min: 1024, max: 65_500 });
const TIMEOUT = duration({ minMs: 1, maxMs: 3_600_000 });

function inspectors(
  inherit: (command: Command) => Command,
  streams: Streams,
  useDataDir: (dir: string) => void,
): readonly Command[] {
  const dataDir = (): Option =>
    new Option("--data-dir <dir>", "directory of a stopped node")
      .default("./data")
      .env(environmentName("data-dir"));

  const wal = inherit(new Command("wal")).description(
    "Look at the log of a stopped node. Nothing is changed.",
  );
  const dump = inherit(new Command("dump"))
    .description(
      "Print every frame of the log and what it holds: positions, groups, entries. Values are not shown.",
    )
    .addOption(dataDir())
    .addOption(writeOutOption())
    .addHelpText(
      "after",
      "\nExample:\n  harmonydb wal dump --data-dir ./data -w json | jq 'select(.kind == \"frame\") | .lsn'",
    );
  dump.action(async (options: { dataDir: string; writeOut: WriteOut }) => {
    useDataDir(options.dataDir);
    const { dumpWal } = await import("./inspect.ts");
    await dumpWal(options.dataDir, options.writeOut, streams);
  });
  const verify = inherit(new Command("verify"))
    .description(
      "Check every checksum and every link of the log. Exit 0 if all is sound, 70 if something is damaged.",
    )
    .addOption(dataDir())
    .addOption(writeOutOption());
  verify.action(async (options: { dataDir: string; writeOut: WriteOut }) => {
    useDataDir(options.dataDir);
    const { verifyWalFiles } = await import("./inspect.ts");
    await verifyWalFiles(options.dataDir, options.writeOut, streams);
  });
  wal.addCommand(dump).addCommand(verify);

  const check = inherit(new Command("check"))
    .description(
      "Check the trees, the log, and that they agree. Exit 0 if all is sound, 70 if something is damaged.",
    )
    .addOption(dataDir())
    .addOption(writeOutOption());
  check.action(async (options: { dataDir: string; writeOut: WriteOut }) => {
    useDataDir(options.dataDir);
    const { checkNode } = await import("./inspect.ts");
    await checkNode(options.dataDir, options.writeOut, streams);
  });

  const stats = inherit(new Command("stats"))
    .description(
      "Print each group's place in the log of a stopped node: how far it came, from where on it needs the log, and how much of the log it keeps from going.",
    )
    .addOption(dataDir())
    .option("--group <id>", "only this group")
    .option("--lag-bytes <bytes>", "a group that keeps more than this lags", LAG_DEFAULT)
    .addOption(writeOutOption())
    .addHelpText(
      "after",
      "\nThe same of a running node: harmonydb_wal_backlog_bytes{group=...} in /metrics.\n\nExample:\n  harmonydb stats --data-dir ./data -w json | jq '.groups[] | select(.isLagging)'",
    );
  stats.action(async (options: StatsFlags) => {
    useDataDir(options.dataDir);
    const { showStats } = await import("./inspect.ts");
    await showStats(
      options.dataDir,
      {
        writeOut: options.writeOut,
        group: options.group === undefined ? null : flagValue("--group", GROUP, options.group),
        lagBytes: flagValue("--lag-bytes", LAG, options.lagBytes),
      },
      streams,
    );
  });
  return [check, wal, stats];
}

interface StatsFlags {
  readonly dataDir: string;
  readonly group?: string;
  readonly lagBytes: string;
  readonly writeOut: WriteOut;
}

/** Three checkpoints of 256 MiB: what a node warns of unless its checkpoints are set otherwise. */
const LAG_DEFAULT = "768MiB";
const GROUP = wholeNumber({ min: 0, max: 0xffff_ffff });
const LAG = byteSize({ min: 0, max: Number.MAX_SAFE_INTEGER });

function writeOutOption(): Option {
  return new Option("-w, --write-out <form>", "simple for eyes, json for programs")
    .choices(["simple", "json"])
    .default("simple");
}

function addServeOptions(command: Command): Command {
  for (const name of OPTION_NAMES) {
    const spec: OptionSpec<unknown> = OPTIONS[name];
    const flags =
      spec.value === "" ? `--${spec.flag} [true|false]` : `--${spec.flag} <${spec.value}>`;
    command.addOption(new Option(flags, `${spec.help}${defaultNote(spec)}`).helpGroup(spec.group));
  }
  return command;
}

function defaultNote(spec: OptionSpec<unknown>): string {
  if (spec.fallbackNote !== undefined) return ` (default: ${spec.fallbackNote})`;
  return spec.fallback === "" || spec.fallback === "false" ? "" : ` (default: ${spec.fallback})`;
}

function resolve(command: Command, streams: Streams): ResolvedConfig {
  const flags = new Map<OptionName, string>();
  for (const option of command.options) {
    const name = optionByFlag((option.long ?? "").slice(2));
    const value = command.getOptionValue(option.attributeName()) as unknown;
    // A switch without a value arrives as true.
    if (name !== undefined && (typeof value === "string" || value === true))
      flags.set(name, String(value));
  }
  return resolveConfig(flags, streams.environment);
}

function printConfig({ texts, origins }: ResolvedConfig, writeOut: WriteOut): string {
  if (writeOut === "json") {
    const rows = OPTION_NAMES.map((name) => [
      OPTIONS[name].flag,
      { value: texts[name], origin: origins[name] },
    ]);
    return `${JSON.stringify(Object.fromEntries(rows))}\n`;
  }
  let out = "";
  for (const name of OPTION_NAMES) {
    // The file cannot name itself, and quoted text is YAML as well as JSON.
    if (name === "configFile") continue;
    out += `${`${OPTIONS[name].flag}: ${JSON.stringify(texts[name])}`.padEnd(60)} # ${origins[name]}\n`;
  }
  return out;
}
