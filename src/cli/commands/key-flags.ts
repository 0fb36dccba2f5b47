/** Flags of get, put and del: the same on the command line and in a line of a transaction. */
import type { Command } from "commander";

export function getOptions(command: Command): Command {
  return rangeOptions(command)
    .option("--limit <count>", "most keys to answer with; 0: no limit")
    .option("--order <order>", "ASCEND or DESCEND")
    .option("--sort-by <what>", "CREATE, KEY, MODIFY, VALUE or VERSION")
    .option("--rev <revision>", "as it was at this revision")
    .option("--consistency <l|s>", "l: linearizable (default); s: what this node knows now")
    .option("--keys-only", "leave the values out")
    .option("--count-only", "only how many keys there are")
    .option("--print-value-only", "leave the keys out");
}

export function putOptions(command: Command): Command {
  return command
    .option("--lease <id>", "attach the key to this lease (hexadecimal)")
    .option("--prev-kv", "answer with the key as it was before")
    .option("--ignore-value", "keep the value that is there")
    .option("--ignore-lease", "keep the lease that is there");
}

export function delOptions(command: Command): Command {
  return rangeOptions(command).option("--prev-kv", "answer with the keys as they were before");
}

export function rangeOptions(command: Command): Command {
  return command
    .option("--prefix", "every key that begins with the one given")
    .option("--from-key", "every key from the one given on");
}
