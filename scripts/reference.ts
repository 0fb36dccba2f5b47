/** Renders the reference pages from the tables in the code, so that a page cannot say something else than the code. */
import { type ErrorCode, ERRORS, type Reaction } from "../src/base/index.ts";
import {
  type CommandPage,
  commandPages,
  environmentName,
  OPTION_NAMES,
  OPTIONS,
  type OptionSpec,
} from "../src/cli/index.ts";

/** Reference pages by path from the root of the repository. */
export function referencePages(): ReadonlyMap<string, string> {
  return new Map([
    ["docs/reference/errors.md", errorsPage()],
    ["docs/reference/configuration.md", configurationPage()],
    ["docs/reference/commands.md", commandsPage()],
  ]);
}

const WRITTEN_BY = "<!-- Written by `npm run reference` from the tables in the code. -->";

const REACTIONS: Readonly<Record<Reaction, { readonly title: string; readonly text: string }>> = {
  "fix-request": {
    title: "The request is wrong",
    text: "The same request never succeeds as long as the data is as it is. Change the request.",
  },
  retry: {
    title: "Not now",
    text: "The same request may succeed later. Where an error says that a write may have been applied, read before writing again.",
  },
  operator: {
    title: "Somebody has to look",
    text: "Configuration, disk, or damaged files: nothing that a client can mend.",
  },
};

export function errorsPage(): string {
  let out = `# Errors

${WRITTEN_BY}

Every error that the database reports on purpose has a code. Codes are never renamed and never get another meaning; the
sentences may become clearer. \`maybeApplied\` on an error says that the write may have happened: a timeout or a lost
connection leaves the outcome unknown, and nothing else does.

A *deterministic* error is a result of the command itself: it stands in the log like any other result and is the same
on every replica. All others say that the command was not applied, or that its outcome is unknown.
`;
  for (const [reaction, { title, text }] of Object.entries(REACTIONS)) {
    out += `\n## ${title}\n\n${text}\n\n| Code | Sentence | Deterministic |\n|---|---|---|\n`;
    for (const [code, info] of Object.entries(ERRORS) as [
      ErrorCode,
      (typeof ERRORS)[ErrorCode],
    ][]) {
      if (info.reaction === reaction)
        out += `| \`${code}\` | ${info.summary} | ${info.deterministic ? "yes" : "no"} |\n`;
    }
  }
  return out;
}

export function configurationPage(): string {
  let out = `# Configuration

${WRITTEN_BY}

\`harmonydb serve\` takes each option as a flag, from the environment, or from the YAML file that \`--config-file\` names. A
flag wins over the environment, the environment over the file, the file over the default. \`harmonydb config print\`
takes the same options and shows every value with its origin; \`harmonydb config validate\` says what is wrong.

- Names are etcd's where the meaning is etcd's. An option of etcd or of a later version that nothing answers to yet is
  refused by name, wherever it stands.
- A duration is a whole number of milliseconds or a text like \`100ms\`, \`5s\`, \`5m\`, \`1h30m\`. A size is a number of bytes
  or a text like \`64MiB\` (1024) or \`10MB\` (1000). In the file, several URLs may be a YAML list.
- An unknown flag or key of the file ends the start. An unknown variable that begins with \`HARMONYDB_\` is a warning. An
  empty variable counts as absent.
- A URL to listen on that others than this machine can reach is refused without \`--insecure\`: this version has neither
  TLS nor passwords.
`;
  let group = "";
  for (const name of OPTION_NAMES) {
    const spec: OptionSpec<unknown> = OPTIONS[name];
    if (spec.group !== group) {
      group = spec.group;
      out += `\n## ${group.replace(/:$/, "")}\n\n| Flag | Variable | Default | Meaning |\n|---|---|---|---|\n`;
    }
    const value = spec.value === "" ? "" : ` <${spec.value}>`;
    const fallback = spec.fallbackNote ?? (spec.fallback === "" ? "none" : `\`${spec.fallback}\``);
    out += `| \`--${spec.flag}${value}\` | \`${environmentName(spec.flag)}\` | ${fallback} | ${spec.help} |\n`;
  }
  return `${out}
## Exit codes

| Code | Meaning | What to do |
|---|---|---|
| 0 | done; for a server: stopped by SIGTERM or SIGINT, everything synced | |
| 1 | the start was refused: a wrong option, a locked directory, a port in use, a directory of another cluster | the message names it; nothing was changed |
| 70 | data that was proven durable is damaged | keep a copy of the directory, look at the disk, restore a backup; nothing is deleted or repaired by itself |
| 74 | a write or sync failed while running, or the disk answered with an error | look at the disk and the kernel's log, then start again; nothing was acknowledged after the failure |
| 130, 143 | a second SIGINT or SIGTERM ended the process at once | start again; what was acknowledged is durable |
| 134 | a defect of the program | report it with the log; starting again is safe |
`;
}

export function commandsPage(): string {
  const { shared, commands } = commandPages();
  const rows = (options: CommandPage["options"]): string =>
    options
      .map(({ flags, text }) => `| \`${flags.replaceAll("|", "\\|")}\` | ${text} |\n`)
      .join("");
  let out = `# Commands of a client

${WRITTEN_BY}

They speak to a node that runs. Words, flags, JSON and exit codes are etcdctl's where etcdctl has the command. Results go to
stdout, everything said to a person to stderr. A command sends a write once; where its outcome is unknown it says so.

| Flag | Meaning |
|---|---|
${rows(shared)}`;
  for (const { usage, summary, options, examples } of commands) {
    out += `\n## \`${usage}\`\n\n${summary}\n`;
    if (options.length > 0) out += `\n| Flag | Meaning |\n|---|---|\n${rows(options)}`;
    out += `\n\`\`\`sh\n${examples.join("\n")}\n\`\`\`\n`;
  }
  return `${out}
## \`harmonydb completion <bash|zsh|fish>\`

Prints a script that lets a shell complete commands and flags: \`source <(harmonydb completion bash)\`.

## Lines of dump and load

One key in each line. JSON: \`{"key":"a","value":"b"}\`; what is not valid UTF-8 stands as \`keyBase64\` or \`valueBase64\`;
\`lease\` (hexadecimal text) and \`ttlMs\` where there are any. TSV: key, tab, value, with \`\\\\ \\t \\n \\r \\xHH\` for what would
break a line; leases and TTLs have no place in it. \`load\` puts batches of up to 500 keys, each in one revision. It stops at the
first line that is wrong, names it, and goes on from there with \`--resume\`: \`FILE.load-state\` says how far it got, and goes
when all is loaded.

## Exit codes

| Code | Meaning |
|---|---|
| 0 | done |
| 1 | the node refused, an answer did not come in time, a condition did not hold, a lock is another's |
| 2 | no node was reached, or the connection was lost |
| 3 | a transaction or an import is not what it should be |
| 4 | the node does not know the request, or failed at it |
| 5 | an endpoint is not healthy |
| 6 | a file on this side could not be read or written |
| 128 | wrong arguments, or no such command |

\`lock\` with a command ends with the exit code of the command.
`;
}
