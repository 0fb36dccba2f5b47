/** A local cluster for eyes: a table that stays in its place on a terminal, lines of what changes anywhere else. */
import { table } from "../commands/output.ts";
import type { ChildState } from "./child.ts";

export interface Row {
  readonly name: string;
  readonly url: string;
  readonly pid: number | null;
  readonly state: ChildState;
  /** What it says of itself; null while it does not answer. */
  readonly report: {
    readonly term: number;
    readonly isLeader: boolean;
    readonly hasLeader: boolean;
    readonly commit: number;
    readonly applied: number;
  } | null;
}

export interface Screen {
  readonly isTTY: boolean;
  write(text: string): void;
}

const HEAD = ["NAME", "ENDPOINT", "PID", "STATE", "ROLE", "TERM", "COMMIT", "APPLIED", "LAG"];
/** Of what has happened, above the table. */
const NEWS_SHOWN = 5;

export class View {
  readonly #screen: Screen;
  readonly #news: string[] = [];
  /** Lines of the table on the screen. */
  #drawn = 0;
  #leader = "";

  constructor(screen: Screen) {
    this.#screen = screen;
  }

  /** Something has happened. */
  tell(line: string): void {
    if (!this.#screen.isTTY) {
      this.#screen.write(`${line}\n`);
      return;
    }
    this.#news.push(line);
    this.#news.splice(0, this.#news.length - NEWS_SHOWN);
  }

  show(rows: readonly Row[]): void {
    const leader = rows.find(({ report }) => report?.isLeader === true);
    const said = leader === undefined ? "" : `${leader.name} leads in term ${leader.report?.term}`;
    if (said !== this.#leader) {
      this.#leader = said;
      if (said !== "") this.tell(said);
    }
    this.#draw(`${tableOf(rows)}Ctrl-C stops all of them\n`);
  }

  /** All of them are stopped. */
  end(rows: readonly Row[]): void {
    this.#draw(tableOf(rows));
  }

  #draw(below: string): void {
    if (!this.#screen.isTTY) return;
    const text = `${this.#news.map((line) => `${line}\n`).join("")}${below}`;
    // Up to where the last one began, and away with it.
    const back = this.#drawn === 0 ? "" : `\u001b[${this.#drawn}A\u001b[J`;
    this.#drawn = text.split("\n").length - 1;
    this.#screen.write(back + text);
  }
}

/** How many entries each is behind the one that knows most to be committed. */
export function tableOf(rows: readonly Row[]): string {
  const most = Math.max(0, ...rows.map(({ report }) => report?.commit ?? 0));
  return table(
    HEAD,
    rows.map(({ name, url, pid, state, report }) => [
      name,
      url.replace("http://", ""),
      pid === null ? "" : String(pid),
      state,
      report === null ? "" : roleOf(report),
      report === null ? "" : String(report.term),
      report === null ? "" : String(report.commit),
      report === null ? "" : String(report.applied),
      report === null ? "" : String(Math.max(0, most - report.applied)),
    ]),
  );
}

function roleOf(report: NonNullable<Row["report"]>): string {
  if (report.isLeader) return "leader";
  return report.hasLeader ? "follower" : "no leader";
}
