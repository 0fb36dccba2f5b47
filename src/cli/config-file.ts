/**
 * The configuration file: a flat YAML mapping from option names to values. Nothing is taken that is not understood;
 * every complaint names file and line, because that is what one needs to mend it.
 */
import { readFileSync, statSync } from "node:fs";
import { isMap, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
import { CommandError, describe } from "./exit.ts";
import { isLaterOption, optionByFlag, OPTION_NAMES, type OptionName, OPTIONS } from "./options.ts";
import { closest } from "./values.ts";

/** A value as text, and where it stands, for messages about it. */
export interface Written {
  readonly text: string;
  readonly where: string;
}

/** No honest configuration is longer, and a mistaken path may name anything. */
const FILE_SIZE_MAX_BYTES = 1024 * 1024;

/** Reads the file. Throws CommandError with every problem in it, not only with the first. */
export function readConfigFile(file: string): ReadonlyMap<OptionName, Written> {
  return parseConfig(readText(file), file);
}

function readText(file: string): string {
  try {
    const stat = statSync(file);
    if (!stat.isFile()) throw new CommandError(`configuration file ${file}: it is not a file`);
    if (stat.size > FILE_SIZE_MAX_BYTES) {
      throw new CommandError(
        `configuration file ${file}: ${stat.size} bytes are more than a configuration has`,
      );
    }
    return new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(file));
  } catch (error) {
    if (error instanceof CommandError) throw error;
    const reason =
      error instanceof TypeError ? "it is not UTF-8 text" : describe(error).replace(/^Error: /, "");
    throw new CommandError(`configuration file ${file} cannot be read: ${reason}`);
  }
}

export function parseConfig(source: string, file: string): ReadonlyMap<OptionName, Written> {
  const lines = new LineCounter();
  const document = parseDocument(source, {
    lineCounter: lines,
    prettyErrors: false,
    strict: true,
    uniqueKeys: true,
  });
  const at = (offset: number): string => `${file}:${lines.linePos(offset).line}`;
  const problems = document.errors.map((error) => `${at(error.pos[0])}: ${error.message}`);
  const found = new Map<OptionName, Written>();

  const root = document.contents;
  if (problems.length === 0 && root !== null && !(isScalar(root) && root.value === null)) {
    if (!isMap(root)) {
      problems.push(
        `${at(root.range?.[0] ?? 0)}: the file must be a mapping of option names to values`,
      );
    } else {
      for (const { key, value } of root.items) {
        const name = isScalar(key) ? String(key.value) : "";
        const where = at(isScalar(key) ? (key.range?.[0] ?? 0) : 0);
        const option = optionByFlag(name);
        if (option === undefined || option === "configFile") {
          problems.push(`${where}: ${unknownKey(name)}`);
          continue;
        }
        const text = valueText(value);
        if (text === null)
          problems.push(
            `${where}: ${name}: must be one value${OPTIONS[option].value === "urls" ? " or a list of URLs" : ""}`,
          );
        else found.set(option, { text, where });
      }
    }
  }
  if (problems.length > 0)
    throw new CommandError(`configuration file ${file} is refused`, undefined, problems);
  return found;
}

function unknownKey(name: string): string {
  if (isLaterOption(name)) return `${name} is not available in this version`;
  const near = closest(
    name,
    OPTION_NAMES.map((option) => OPTIONS[option].flag),
  );
  return `unknown option "${name}"${near === null ? "" : `; did you mean "${near}"?`}`;
}

/** Lists are joined as the flag would have them; anything deeper is no value. */
function valueText(node: unknown): string | null {
  if (isSeq(node)) {
    const parts = node.items.map((item) => valueText(item));
    return parts.every((part) => part !== null) ? parts.join(",") : null;
  }
  if (!isScalar(node)) return null;
  if (node.value === null) return "";
  // The source keeps "1.50" and long numbers as they were written; a number type would round them.
  if (typeof node.value === "number" && node.source !== undefined) return node.source;
  return typeof node.value === "string" || typeof node.value === "boolean"
    ? String(node.value)
    : null;
}
