/**
 * Names of other members become addresses without standing in the way of the disk. The system's lookup occupies a thread
 * of the pool that also writes the log, for as long as a name server does not answer (fault-rules N10): so one lookup
 * runs at a time, which leaves the other threads alone, and what a name was last found to be is used at once, while the
 * next lookup runs behind it.
 */
import { lookup, type LookupAddress } from "node:dns";
import type { LookupFunction } from "node:net";

type Answer = (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void;
type Lookup = (name: string, answer: Answer) => void;

const systemLookup: Lookup = (name, answer) => lookup(name, { all: true }, answer);

export class AddressBook {
  readonly #lookup: Lookup;
  readonly #known: Map<string, LookupAddress[]> = new Map();
  /** Names that wait for their turn, and who waits for them; the first one is being looked up. */
  readonly #waiting: Map<string, Answer[]> = new Map();

  constructor(find: Lookup = systemLookup) {
    this.#lookup = find;
  }

  /** For `net.connect`. */
  readonly lookup: LookupFunction = (name, { all }, callback) => {
    this.#find(name, (error, addresses) => {
      const [first] = addresses;
      if (all === true) (callback as unknown as Answer)(error, addresses);
      else callback(error, first?.address ?? "", first?.family);
    });
  };

  #find(name: string, answer: Answer): void {
    const known = this.#known.get(name);
    if (known !== undefined) {
      setImmediate(() => answer(null, known));
      this.#ask(name, () => {});
    } else this.#ask(name, answer);
  }

  #ask(name: string, answer: Answer): void {
    const waiting = this.#waiting.get(name);
    if (waiting !== undefined) {
      waiting.push(answer);
      return;
    }
    this.#waiting.set(name, [answer]);
    if (this.#waiting.size === 1) this.#next();
  }

  #next(): void {
    const [first] = this.#waiting;
    if (first === undefined) return;
    const [name, answers] = first;
    this.#lookup(name, (error, addresses) => {
      if (error === null && addresses.length > 0) this.#known.set(name, addresses);
      this.#waiting.delete(name);
      this.#next();
      for (const answer of answers) answer(error, addresses ?? []);
    });
  }
}
