/** completion bash|zsh|fish: a script for the shell, made of the commands as they are. */
import type { Command } from "commander";
import { oneOf } from "../values.ts";
import { flagValue } from "./flags.ts";

export type Shell = "bash" | "zsh" | "fish";

export function shellOf(text: string): Shell {
  return flagValue("the shell", oneOf("bash", "zsh", "fish"), text);
}

interface Place {
  /** The words that lead to it: "" for the program, "lease grant" for a command of a command. */
  readonly path: string;
  readonly description: string;
  readonly words: readonly string[];
}

/** Each command, and what may stand behind it. */
function placesOf(command: Command, path: string): readonly Place[] {
  const children = command.commands;
  const options = command.options.flatMap(({ long, hidden }) =>
    long === undefined || hidden ? [] : [long],
  );
  const own: Place = {
    path,
    description: command.description().split(/[.\n]/)[0] as string,
    words: [...children.map((child) => child.name()), ...options, "--help"],
  };
  return [own, ...children.flatMap((child) => placesOf(child, `${path} ${child.name()}`.trim()))];
}

export function completionScript(program: Command, shell: Shell): string {
  const places = placesOf(program, "");
  if (shell === "bash") return bash(places);
  return shell === "zsh" ? zsh(places) : fish(places);
}

/** The longest path of commands that the line begins with decides what is offered. */
function bash(places: readonly Place[]): string {
  const cases = places.map(({ path, words }) => `    "${path}") words="${words.join(" ")}" ;;`);
  const paths = places.filter(({ path }) => path !== "").map(({ path }) => `"${path}"`);
  return `# bash completion of harmonydb; load it with: source <(harmonydb completion bash)
_harmonydb() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path="" word next words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    next="\${path:+$path }$word"
    case "$next" in ${paths.join("|")}) path="$next" ;; esac
  done
  case "$path" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ \${#COMPREPLY[@]} -gt 0 ]] || COMPREPLY=($(compgen -f -- "$current"))
}
complete -o filenames -F _harmonydb harmonydb hdb
`;
}

function zsh(places: readonly Place[]): string {
  return `#compdef harmonydb hdb
# zsh completion of harmonydb; load it with: source <(harmonydb completion zsh)
autoload -U +X bashcompinit && bashcompinit
${bash(places).split("\n").slice(1).join("\n")}`;
}

function fish(places: readonly Place[]): string {
  const lines = places.flatMap(({ path, words }) =>
    words.map((word) => {
      const seen =
        path === ""
          ? "__fish_use_subcommand"
          : path
              .split(" ")
              .map((part) => `__fish_seen_subcommand_from ${part}`)
              .join("; and ");
      const child = places.find((place) => place.path === `${path} ${word}`.trim());
      const what = word.startsWith("--")
        ? `-l ${word.slice(2)}`
        : `-f -a ${word}${child === undefined ? "" : ` -d '${child.description.replaceAll("'", "")}'`}`;
      return `complete -c harmonydb -n '${seen}' ${what}`;
    }),
  );
  return `# fish completion of harmonydb; load it with: harmonydb completion fish | source
${lines.join("\n")}
complete -c hdb -w harmonydb
`;
}
