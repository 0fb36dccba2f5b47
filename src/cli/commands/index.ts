/**
 * Commands of a client: what they take, and help that teaches. Each one's code is loaded when it is called, so that
 * `--help` and a mistyped option answer without the libraries of a client.
 *
 * Words, flags and simple output are etcdctl's where etcdctl has the command; exit codes too (exit.ts). A result goes to
 * stdout, everything said to a person to stderr. A write is sent once: what may have been applied is never repeated
 * behind the caller's back. Left out: users, roles, elections, `watch` with a command of its own,
 * transactions typed at a prompt.
 */
import { Command, Option } from "commander";
import type { Streams } from "../streams.ts";
import type { BenchFlags } from "./bench.ts";
import type { DumpFlags } from "./dump.ts";
import { type ClientFlags, clientOptions } from "./flags.ts";
import { delOptions, getOptions, putOptions, rangeOptions } from "./key-flags.ts";
import type { LoadFlags } from "./load.ts";
import type { LockFlags } from "./lock.ts";
import type { AddFlags, ReplaceFlags } from "./member.ts";
import type { Session } from "./session.ts";
import type { RestoreFlags } from "./snapshot.ts";

interface Spec {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly arguments?: readonly string[];
  readonly summary: string;
  readonly examples: readonly string[];
  readonly options?: (command: Command) => Command;
  /** A number is what the process exits with; false: 1. */
  readonly run: (session: Session, args: readonly string[], flags: object) => Promise<unknown>;
}

function clusterOption(command: Command): Command {
  return command.option(
    "--cluster",
    "all members of the cluster, as one of the endpoints knows them",
  );
}

const GROUPS: readonly {
  readonly name: string;
  readonly summary: string;
  readonly specs: readonly Spec[];
}[] = [
  {
    name: "member",
    summary: "Members of the cluster: who there is, who comes, who goes.",
    specs: [
      {
        name: "list",
        summary: "Show the members: id, state, name, URLs, whether it is a learner.",
        examples: ["harmonydb member list", "harmonydb member list -w table"],
        run: async (session) => (await import("./member.ts")).list(session),
      },
      {
        name: "add",
        arguments: ["<name>"],
        summary:
          "Add a member and say how it is started. As a learner it costs no quorum until it has caught up.",
        examples: [
          "harmonydb member add n4 --peer-urls http://10.0.0.4:2380 --learner",
          "harmonydb member add n4 --peer-urls http://10.0.0.4:2380",
        ],
        options: (command) =>
          peerUrlsOption(command).option("--learner", "it gets everything and does not vote"),
        run: async (session, args, flags) =>
          (await import("./member.ts")).add(session, args, flags as AddFlags),
      },
      {
        name: "remove",
        arguments: ["<member>"],
        summary: "Remove a member, by id or name. It stops, and its id never comes back.",
        examples: ["harmonydb member remove n3", "harmonydb member remove 1a2b3c4d5e6f7"],
        run: async (session, args) => (await import("./member.ts")).remove(session, args),
      },
      {
        name: "update",
        arguments: ["<member>"],
        summary: "Say where other members reach a member from now on.",
        examples: ["harmonydb member update n3 --peer-urls http://10.0.0.7:2380"],
        options: peerUrlsOption,
        run: async (session, args, flags) =>
          (await import("./member.ts")).update(session, args, flags as AddFlags),
      },
      {
        name: "promote",
        arguments: ["<member>"],
        summary: "Make a voter of a learner that has caught up.",
        examples: ["harmonydb member promote n4"],
        run: async (session, args) => (await import("./member.ts")).promote(session, args),
      },
      {
        name: "replace",
        arguments: ["<member>", "<name>"],
        summary:
          "Exchange a member that is gone for a new one: add it as a learner, wait until it has everything, and let it take the place in one step.",
        examples: ["harmonydb member replace n3 n4 --peer-urls http://10.0.0.4:2380"],
        options: (command) =>
          peerUrlsOption(command).option(
            "--wait <duration>",
            "how long the new one may take to start and catch up",
            "10m",
          ),
        run: async (session, args, flags) =>
          (await import("./member.ts")).replace(session, args, flags as ReplaceFlags),
      },
    ],
  },
  {
    name: "lease",
    summary: "Leases: keys that are attached to one go when it ends.",
    specs: [
      {
        name: "grant",
        arguments: ["<ttl>"],
        summary: "Make a lease that ends after so many seconds without a renewal.",
        examples: [
          "harmonydb lease grant 60",
          "harmonydb put --lease 694d7f1a2b3c4d5e session alive",
        ],
        options: (command) => command.option("--id <id>", "take this id (hexadecimal)"),
        run: async (session, args, flags) =>
          (await import("./lease.ts")).grant(session, args, flags),
      },
      {
        name: "revoke",
        arguments: ["<lease>"],
        summary: "End a lease and delete the keys that are attached to it.",
        examples: ["harmonydb lease revoke 694d7f1a2b3c4d5e"],
        run: async (session, args) => (await import("./lease.ts")).revoke(session, args),
      },
      {
        name: "timetolive",
        arguments: ["<lease>"],
        summary: "How long a lease still has.",
        examples: ["harmonydb lease timetolive --keys 694d7f1a2b3c4d5e"],
        options: (command) => command.option("--keys", "name the keys that are attached to it"),
        run: async (session, args, flags) =>
          (await import("./lease.ts")).timeToLive(session, args, flags),
      },
      {
        name: "list",
        summary: "The ids of all leases.",
        examples: ["harmonydb lease list"],
        run: async (session) => (await import("./lease.ts")).list(session),
      },
      {
        name: "keep-alive",
        arguments: ["<lease>"],
        summary: "Renew a lease until this command is ended.",
        examples: [
          "harmonydb lease keep-alive 694d7f1a2b3c4d5e",
          "harmonydb lease keep-alive --once 694d7f1a2b3c4d5e",
        ],
        options: (command) => command.option("--once", "renew it once"),
        run: async (session, args, flags) =>
          (await import("./lease.ts")).keepAlive(session, args, flags),
      },
    ],
  },
  {
    name: "endpoint",
    summary: "Ask each of the endpoints how it is.",
    specs: [
      {
        name: "status",
        summary: "Version, size, leader and log position of each endpoint.",
        examples: [
          "harmonydb endpoint status -w table",
          "harmonydb endpoint status --cluster            # of all members, whichever is asked",
        ],
        options: clusterOption,
        run: async (session, _args, flags) => (await import("./status.ts")).status(session, flags),
      },
      {
        name: "health",
        summary: "Whether each endpoint answers a linearizable read. Exit 5 if one does not.",
        examples: [
          "harmonydb endpoint health --endpoints 127.0.0.1:2379,127.0.0.1:3379",
          "harmonydb endpoint health --cluster",
        ],
        options: clusterOption,
        run: async (session, _args, flags) => (await import("./status.ts")).health(session, flags),
      },
      {
        name: "hashkv",
        summary:
          "A hash of the keys of one revision, of each endpoint: the newest that all have, if none is named. Exit 5 if they differ.",
        examples: ["harmonydb endpoint hashkv --cluster", "harmonydb endpoint hashkv --rev 1000"],
        options: (command) => clusterOption(command).option("--rev <revision>", "of this revision"),
        run: async (session, _args, flags) => (await import("./status.ts")).hashKv(session, flags),
      },
    ],
  },
  {
    name: "snapshot",
    summary: "Backups: the whole state of a node as one file, and a node from it again.",
    specs: [
      {
        name: "save",
        arguments: ["<file>"],
        summary:
          "Have the node make a snapshot and write it to a file, which appears whole or not at all.",
        examples: ["harmonydb snapshot save backup.snap"],
        run: async (session, args) => (await import("./snapshot.ts")).save(session, args),
      },
      {
        name: "status",
        arguments: ["<file>"],
        summary: "Check every byte of a snapshot and say what it is. No node is needed.",
        examples: ["harmonydb snapshot status backup.snap -w table"],
        run: async (session, args) => (await import("./snapshot.ts")).status(session, args),
      },
      {
        name: "restore",
        arguments: ["<file>"],
        summary:
          "Make a new data directory of a snapshot: a node of its own, in a cluster of its own. Members of the old cluster are not asked and not joined.",
        examples: [
          "harmonydb snapshot restore backup.snap --data-dir ./restored",
          "harmonydb snapshot restore backup.snap --data-dir d --bump-revision 1000000 --mark-compacted",
        ],
        options: (command) =>
          command
            .requiredOption("--data-dir <dir>", "the directory to make; it must not exist")
            .option("--name <name>", "of the new member", "default")
            .option("--initial-advertise-peer-urls <urls>", "as the member will be served with")
            .option("--initial-cluster-token <token>", "of the new cluster")
            .option("--bump-revision <count>", "go on so many revisions later", "0")
            .option(
              "--mark-compacted",
              "let nobody read or watch from a revision before: who still knows the old cluster is told",
            ),
        run: async (session, args, flags) =>
          (await import("./snapshot.ts")).restore(session, args, flags as RestoreFlags),
      },
    ],
  },
];

const SPECS: readonly Spec[] = [
  {
    name: "get",
    arguments: ["<key>", "[end]"],
    summary: "Read a key, or the keys of a range.",
    examples: [
      "harmonydb get greeting",
      "harmonydb get --prefix users/ --keys-only",
      "harmonydb get --prefix '' --count-only          # how many keys are there?",
      "harmonydb get greeting --rev 42 -w json         # as it was at revision 42",
    ],
    options: getOptions,
    run: async (session, args, flags) => (await import("./kv.ts")).get(session, args, flags),
  },
  {
    name: "put",
    arguments: ["<key>", "[value]"],
    summary: "Write a key. Without a value, standard input is the value.",
    examples: [
      "harmonydb put greeting hello",
      "harmonydb put picture < picture.png",
      "harmonydb put -- -key value",
    ],
    options: putOptions,
    run: async (session, args, flags) => (await import("./kv.ts")).put(session, args, flags),
  },
  {
    name: "del",
    arguments: ["<key>", "[end]"],
    summary: "Delete a key, or the keys of a range; prints how many were there.",
    examples: ["harmonydb del greeting", "harmonydb del --prefix users/"],
    options: delOptions,
    run: async (session, args, flags) => (await import("./kv.ts")).del(session, args, flags),
  },
  {
    name: "txn",
    summary:
      "Run a transaction that is read from standard input: compares, then operations if they hold, then if not.",
    examples: [
      `printf 'mod("a") = "0"\\n\\nput a first\\n\\nget a\\n\\n' | harmonydb txn`,
      "# compares: mod, create, version, value, lease; = != < >. An empty line ends each of the three parts.",
    ],
    run: async (session) => (await import("./txn.ts")).txn(session),
  },
  {
    name: "watch",
    arguments: ["<key>", "[end]"],
    summary: "Print changes as they happen.",
    examples: [
      "harmonydb watch --prefix users/",
      "harmonydb watch greeting --rev 42       # from that revision on",
    ],
    options: (command) =>
      rangeOptions(command)
        .option("--rev <revision>", "begin with the changes of this revision")
        .option("--prev-kv", "print the key as it was before, too")
        .option("--progress-notify", "say from time to time how far the watch is"),
    run: async (session, args, flags) => (await import("./watch.ts")).watch(session, args, flags),
  },
  {
    name: "incr",
    arguments: ["<key>", "[number]"],
    summary: "Add to a counter of 64 bits and print the sum.",
    examples: [
      "harmonydb incr hits",
      "harmonydb incr hits 10",
      "harmonydb incr stock --by=-3 --min 0",
      "harmonydb incr rate/alice --ttl 1m",
    ],
    options: counterOptions,
    run: async (session, args, flags) => (await import("./native.ts")).incr(session, args, flags),
  },
  {
    name: "decr",
    arguments: ["<key>", "[number]"],
    summary: "Subtract from a counter of 64 bits and print the difference.",
    examples: ["harmonydb decr stock --min 0", "harmonydb decr stock 5 --min 0"],
    options: counterOptions,
    run: async (session, args, flags) => (await import("./native.ts")).decr(session, args, flags),
  },
  {
    name: "mset",
    arguments: ["<pairs...>"],
    summary:
      "Write many keys in one revision, or none of them. Exit 1 if the condition does not hold.",
    examples: ["harmonydb mset a 1 b 2", "harmonydb mset --if-absent a 1 b 2"],
    options: (command) =>
      command
        .option("--if-absent", "only if none of the keys is there")
        .option("--if-present", "only if all of the keys are there")
        .option("--lease <id>", "attach the keys to this lease (hexadecimal)")
        .option("--ttl <duration>", "the keys go after this time"),
    run: async (session, args, flags) => (await import("./native.ts")).mset(session, args, flags),
  },
  {
    name: "lock",
    arguments: ["<name>", "[command...]"],
    summary:
      "Take a lock and hold it while a command runs, or until this one is ended. The command finds the fencing token in HARMONYDB_LOCK_FENCE; when the lock is lost it is killed. The exit code is that of the command.",
    examples: [
      "harmonydb lock deploy -- ./deploy.sh --all",
      "harmonydb lock deploy --wait 0 -- ./deploy.sh     # exit 1 if another holds it",
      "harmonydb lock deploy --endpoints a:2379,b:2379 -- ./deploy.sh     # b is asked when a does not answer",
      "harmonydb lock deploy                             # prints name and fence, holds it until Ctrl-C",
    ],
    options: (command) =>
      command
        .option(
          "--ttl <duration>",
          "how long it stays locked when this process dies; a bare number is seconds",
          "60",
        )
        .option("--wait <duration>", "how long to wait for it (default: without end)"),
    run: async (session, args, flags) =>
      (await import("./lock.ts")).lock(session, args, flags as LockFlags),
  },
  {
    name: "compact",
    aliases: ["compaction"],
    arguments: ["<revision>"],
    summary: "Forget the history before a revision.",
    examples: ["harmonydb compact 1000"],
    options: (command) =>
      command.option("--physical", "answer when the old versions are gone from the trees"),
    run: async (session, args, flags) => (await import("./kv.ts")).compact(session, args, flags),
  },
  {
    name: "status",
    summary: "Version, size, leader and log position of each endpoint (endpoint status).",
    examples: ["harmonydb status", "harmonydb status -w table"],
    run: async (session) => (await import("./status.ts")).status(session, {}),
  },
  {
    name: "checkpoint",
    summary:
      "Make the trees durable in the data file now, so that the next start has little to replay.",
    examples: ["harmonydb checkpoint --command-timeout 1m"],
    run: async (session) => (await import("./native.ts")).checkpoint(session),
  },
  {
    name: "dump",
    arguments: ["[file]"],
    summary:
      "Write every key of one revision, a line each, to standard output or to a file, which appears whole or not at all. Locks are left out.",
    examples: [
      "harmonydb dump backup.jsonl",
      "harmonydb dump --prefix users/ | jq -r .key",
      "harmonydb dump --format tsv                       # key, tab, value",
    ],
    options: (command) =>
      command
        .option("--prefix <prefix>", "only keys that begin with this")
        .option("--rev <revision>", "as they were at this revision")
        .addOption(formatOption()),
    run: async (session, args, flags) =>
      (await import("./dump.ts")).dump(session, args, flags as DumpFlags),
  },
  {
    name: "load",
    arguments: ["<file>"],
    summary:
      "Put what the lines of a file say (- is standard input), in batches of one revision each. A load that was stopped leaves FILE.load-state and goes on with --resume.",
    examples: [
      "harmonydb load backup.jsonl",
      "harmonydb load --resume backup.jsonl",
      'echo \'{"key":"a","value":"1"}\' | harmonydb load -     # also keyBase64, valueBase64, lease, ttlMs',
    ],
    options: (command) =>
      command
        .addOption(formatOption())
        .option("--strict", "stop at the first line that is wrong (the default)")
        .option("--skip-bad-lines", "pass over lines that are wrong, and name them")
        .option("--resume", "go on where the last load of this file was stopped")
        .option("--from-line <number>", "begin with this line")
        .option("--no-leases", "do not attach keys to the leases that the file names")
        .option("--max-line-bytes <size>", "longest line that is taken", "8MiB"),
    run: async (session, args, flags) =>
      (await import("./load.ts")).load(session, args, flags as LoadFlags),
  },
  {
    name: "move-leader",
    arguments: ["<member>"],
    summary: "Hand the lead to another member, by id or name.",
    examples: ["harmonydb move-leader n2"],
    run: async (session, args) => (await import("./member.ts")).moveLeader(session, args),
  },
  {
    name: "bench",
    arguments: ["<work>"],
    summary:
      "Measure put, get or mixed: throughput and latencies. It writes keys under --prefix. A client that loses its node goes on with the next of the endpoints, and errors are counted.",
    examples: [
      "harmonydb bench put --clients 64 --duration 10s",
      "harmonydb bench mixed --reads 90 --count 100000 -w json",
      "harmonydb bench put --door embedded               # in this process, in a directory that goes afterwards",
    ],
    options: (command) =>
      command
        .addOption(
          new Option("--door <door>", "over gRPC, or in this process")
            .choices(["grpc", "embedded"])
            .default("grpc"),
        )
        .option("--clients <count>", "connections", "16")
        .option("--pipeline <count>", "requests that each client has under way", "1")
        .option("--value-size <size>", "bytes of a value", "128")
        .option("--keys <count>", "how many different keys", "100000")
        .option("--prefix <prefix>", "what the keys begin with", "bench/")
        .option("--duration <duration>", "how long, unless --count is given", "5s")
        .option("--count <count>", "how many requests")
        .option("--reads <percent>", "share of gets in mixed", "50")
        .option("--seed <number>", "of the order of keys", "1")
        .option("--data-dir <dir>", "directory of the embedded database, which stays"),
    run: async (session, args, flags) =>
      (await import("./bench.ts")).bench(session, args, flags as BenchFlags),
  },
];

function peerUrlsOption(command: Command): Command {
  return command.option("--peer-urls <urls>", "where other members reach it, with commas between");
}

function counterOptions(command: Command): Command {
  return command
    .option("--by <number>", "how much, as the number behind the key (default: 1)")
    .option("--min <number>", "refuse to go below")
    .option("--max <number>", "refuse to go above")
    .option("--saturate", "stop at the bound instead of being refused")
    .option("--ttl <duration>", "the key goes after this time");
}

function formatOption(): Option {
  return new Option("--format <format>", "of the lines").choices(["json", "tsv"]).default("json");
}

export const CLIENT_EXIT_CODES =
  "Exit codes: 0 done, 1 refused, 2 no connection, 3 wrong input, 4 the node failed, 5 unhealthy,\n6 a file failed, 128 wrong arguments.";

/** The first words of the commands here. */
export const CLIENT_WORDS: ReadonlySet<string> = new Set([
  ...SPECS.flatMap(({ name, aliases = [] }) => [name, ...aliases]),
  ...GROUPS.map(({ name }) => name),
  "completion",
]);

/** A command as the reference page shows it. */
export interface CommandPage {
  /** As it is typed, with its arguments. */
  readonly usage: string;
  readonly summary: string;
  readonly options: readonly { readonly flags: string; readonly text: string }[];
  readonly examples: readonly string[];
}

/** What all commands take, and each of them with what it takes beside that. */
export function commandPages(): {
  readonly shared: CommandPage["options"];
  readonly commands: readonly CommandPage[];
} {
  const page = (spec: Spec, group: string): CommandPage => {
    const command = new Command(spec.name);
    spec.options?.(command);
    return {
      usage: ["harmonydb", group, spec.name, ...(spec.arguments ?? [])].filter(Boolean).join(" "),
      summary: spec.summary,
      options: command.options.map(optionRow),
      examples: spec.examples,
    };
  };
  return {
    shared: clientOptions().map(optionRow),
    commands: [
      ...SPECS.map((spec) => page(spec, "")),
      ...GROUPS.flatMap(({ name, specs }) => specs.map((spec) => page(spec, name))),
    ],
  };
}

function optionRow({ flags, description, defaultValue }: Option): CommandPage["options"][number] {
  const isGiven = typeof defaultValue === "string";
  return { flags, text: isGiven ? `${description} (default: ${defaultValue})` : description };
}

/** `finish` is told what the process exits with, where that is not 0. */
export function addClientCommands(
  program: Command,
  streams: Streams,
  finish: (exit: number) => void,
): void {
  const inherit = (name: string): Command => new Command(name).copyInheritedSettings(program);
  const build = (spec: Spec): Command => {
    const command = inherit(spec.name)
      .description(spec.summary)
      .aliases(spec.aliases ?? []);
    for (const argument of spec.arguments ?? []) command.argument(argument);
    spec.options?.(command);
    for (const option of clientOptions()) command.addOption(option);
    command.allowExcessArguments(false);
    command.addHelpText(
      "after",
      `\nExamples:\n  ${spec.examples.join("\n  ")}\n\n${CLIENT_EXIT_CODES}`,
    );
    return command.action(async () => {
      const { Session } = await import("./session.ts");
      const flags = command.opts();
      const session = new Session(streams, flags as ClientFlags);
      try {
        const result = await spec.run(session, command.args, flags);
        if (result === false) finish(1);
        else if (typeof result === "number" && result !== 0) finish(result);
      } catch (error) {
        const { explained } = await import("./explain.ts");
        throw await explained(error, session.endpoints);
      } finally {
        session.close();
      }
    });
  };
  for (const spec of SPECS) program.addCommand(build(spec));
  for (const { name, summary, specs } of GROUPS) {
    const group = inherit(name).description(summary);
    for (const spec of specs) group.addCommand(build(spec));
    program.addCommand(group);
  }
  const completion = inherit("completion")
    .description("Print a script that lets a shell complete commands and options.")
    .argument("<shell>", "bash, zsh or fish")
    .addHelpText(
      "after",
      "\nExamples:\n  source <(harmonydb completion bash)\n  harmonydb completion fish | source",
    )
    .action(async (shell: string) => {
      const { completionScript, shellOf } = await import("./completion.ts");
      streams.out(completionScript(program, shellOf(shell)));
    });
  program.addCommand(completion);
}
