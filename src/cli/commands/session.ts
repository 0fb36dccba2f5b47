/** One call of a client command: its flags as read, its node, and its way to answer. */
import { CommandError } from "../exit.ts";
import type { Streams } from "../streams.ts";
import { Client, type ClientTimes } from "./client.ts";
import { type ClientFlags, type Endpoint, endpointsOf, type Form, timeoutMs } from "./flags.ts";
import { bytesText, fieldsText, jsonText, type Message, tableText } from "./output.ts";

export class Session {
  readonly streams: Streams;
  readonly endpoints: readonly Endpoint[];
  readonly times: ClientTimes;
  readonly form: Form;
  readonly hex: boolean;
  #client: Client | null = null;

  constructor(streams: Streams, flags: ClientFlags) {
    this.streams = streams;
    this.endpoints = endpointsOf(flags.endpoints, streams.environment);
    this.times = {
      commandTimeoutMs: timeoutMs("--command-timeout", flags.commandTimeout),
      dialTimeoutMs: timeoutMs("--dial-timeout", flags.dialTimeout),
    };
    this.form = flags.writeOut;
    this.hex = flags.hex ?? false;
  }

  /** Connects at the first call. */
  async client(): Promise<Client> {
    this.#client ??= await Client.open(this.endpoints, this.times);
    return this.#client;
  }

  /** Goes over to another of the endpoints: the next that can be reached, or the same one again while none can. */
  async another(dialTimeoutMs: number = this.times.dialTimeoutMs): Promise<Client> {
    const client = await this.client();
    const at = this.endpoints.indexOf(client.endpoint);
    const others = [...this.endpoints.slice(at + 1), ...this.endpoints.slice(0, at)];
    if (others.length === 0) return client;
    try {
      this.#client = await Client.open(others, { ...this.times, dialTimeoutMs });
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      return client;
    }
    client.close();
    return this.#client;
  }

  close(): void {
    this.#client?.close();
  }

  /** Keys and values as they are, or in hexadecimal where that was asked for. A line each. */
  line(bytes: Uint8Array): void {
    this.streams.out(bytesText(bytes, this.hex));
    this.streams.out("\n");
  }

  /** A message in the form that was asked for; `simple` prints it for eyes. */
  print(message: Message, simple: () => void): void {
    if (this.form === "simple") simple();
    else if (this.form === "json") this.streams.out(`${jsonText(message, this.hex)}\n`);
    else if (this.form === "fields") this.streams.out(fieldsText(message, this.hex));
    else this.streams.out(tableText(message, this.hex));
  }
}
