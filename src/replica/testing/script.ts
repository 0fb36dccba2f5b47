/**
 * Golden scripts: blocks of command lines, `----`, and what they printed, up to an empty line; `#` begins a comment.
 * After a change, run the tests with REWRITE=1, read the difference, and commit it only when every line of it is
 * understood and wanted.
 */

/** A line `propose a b group=7`: a name, words, and options. */
export interface Command {
  readonly name: string;
  readonly words: readonly string[];
  readonly options: ReadonlyMap<string, string>;
}

function parse(line: string): Command {
  const words: string[] = [];
  const options = new Map<string, string>();
  const [name = "", ...rest] = line.split(" ").filter((part) => part !== "");
  for (const part of rest) {
    const equals = part.indexOf("=");
    if (equals < 0) words.push(part);
    else options.set(part.slice(0, equals), part.slice(equals + 1));
  }
  return { name, words, options };
}

/** The script again, with what its commands print now. */
export function runScript(script: string, run: (command: Command) => string): string {
  const out: string[] = [];
  let printed: string[] | null = null;
  let isOutput = false;
  for (const line of script.split("\n")) {
    if (isOutput) {
      if (line !== "") continue;
      isOutput = false;
    } else if (line === "----") {
      out.push(line, ...(printed === null || printed.length === 0 ? ["ok"] : printed));
      printed = null;
      isOutput = true;
      continue;
    } else if (line !== "" && !line.startsWith("#")) {
      const text = run(parse(line));
      printed = [...(printed ?? []), ...(text === "" ? [] : text.split("\n"))];
    }
    out.push(line);
  }
  if (printed !== null) throw new Error("a block of commands ends with ----");
  return out.join("\n");
}
