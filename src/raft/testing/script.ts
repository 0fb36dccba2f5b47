/**
 * Golden scripts: a text file of commands and what they print. A block is a few command lines, `----`, and the output
 * up to an empty line; `#` begins a comment. After a change, run the tests with REWRITE=1, read the diff, and commit
 * it only if every line of it is understood and wanted.
 */

/** One command line: `propose 1 x=1 n=3` has the words [1, x=1, n=3], of which n=3 is also an option. */
export class Command {
  readonly name: string;
  readonly words: readonly string[];

  constructor(line: string) {
    const [name = "", ...words] = line.split(/\s+/).filter((word) => word !== "");
    this.name = name;
    this.words = words;
  }

  /** The words that are no options, in order. */
  plain(): string[] {
    return this.words.filter((word) => !/^[a-zA-Z]+=/.test(word));
  }

  option(name: string): string | undefined {
    return this.words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
  }

  number(name: string, otherwise: number): number {
    const value = this.option(name);
    return value === undefined ? otherwise : Number(value);
  }

  numbers(name: string): number[] {
    const value = this.option(name);
    return value === undefined || value === "" ? [] : value.split(",").map(Number);
  }
}

/** Runs a script and gives its text with the output that the commands print now. */
export function runScript(script: string, run: (command: Command) => string): string {
  const out: string[] = [];
  const lines = script.split("\n");
  let at = 0;
  while (at < lines.length) {
    const line = lines[at++] as string;
    if (line.trim() === "" || line.startsWith("#")) {
      out.push(line);
      continue;
    }
    const commands = [line];
    while (at < lines.length && lines[at] !== "----") commands.push(lines[at++] as string);
    if (at === lines.length) throw new Error(`no ---- after: ${line}`);
    at++;
    while (at < lines.length && lines[at] !== "") at++;
    out.push(...commands, "----", ...runBlock(commands, run));
  }
  return out.join("\n");
}

function runBlock(commands: readonly string[], run: (command: Command) => string): string[] {
  const printed: string[] = [];
  for (const line of commands) {
    if (line.startsWith("#")) continue;
    let output: string;
    try {
      output = run(new Command(line));
    } catch (error) {
      output = `error: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (output !== "") printed.push(...output.split("\n"));
  }
  return printed.length === 0 ? ["ok"] : printed;
}
