/** Sends the steps of a recording to a server, one after the other on one connection, and says what came otherwise. */
import {
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceError,
  type StatusObject,
} from "@grpc/grpc-js";
import type { RecordedStatus, Step, StreamStep, UnaryStep } from "./transcript.ts";
import { compareViews, encodeRequest, viewResponse } from "./view.ts";

/** How long an answer may take that is expected. */
const ANSWER_MS = 3000;
/** How long is listened for what is not expected. */
const QUIET_MS = 40;

const identity = (bytes: Buffer): Buffer => bytes;

interface OpenStream {
  readonly call: ClientDuplexStream<Buffer, Buffer>;
  readonly received: Buffer[];
  status: StatusObject | null;
  /** Called when something came. */
  wake: () => void;
}

export class Replayer {
  readonly #client: Client;
  readonly #streams = new Map<string, OpenStream>();

  /** `address` is `http://host:port`. */
  constructor(address: string) {
    this.#client = new Client(new URL(address).host, credentials.createInsecure(), {
      "grpc.max_receive_message_length": -1,
      "grpc.max_send_message_length": -1,
    });
  }

  close(): void {
    for (const { call } of this.#streams.values()) call.cancel();
    this.#client.close();
  }

  /** The differences of one step; none when it was answered alike. */
  async replay(step: Step): Promise<string[]> {
    if (step.delayBeforeMs !== undefined) await sleep(step.delayBeforeMs);
    return step.stream === undefined ? this.#unary(step) : this.#stream(step);
  }

  /** Sends a request and resolves with the bytes of the answer, or the error. */
  call(
    method: string,
    request: Uint8Array,
    metadata = new Metadata(),
  ): Promise<Buffer | ServiceError> {
    return new Promise((resolve) => {
      const deadline = Date.now() + ANSWER_MS;
      this.#client.makeUnaryRequest(
        method,
        identity,
        identity,
        Buffer.from(request),
        metadata,
        { deadline },
        (error, response) => resolve(error ?? (response as Buffer)),
      );
    });
  }

  async #unary(step: UnaryStep): Promise<string[]> {
    const request =
      step.requestBytes === null
        ? encodeRequest(step.method, step.request)
        : fromBase64(step.requestBytes);
    const answer = await this.call(step.method, request, metadataOf(step));
    if (answer instanceof Error)
      return compareStatus(step.error, { code: answer.code, details: answer.details });
    if (step.error !== null)
      return [`status: ${step.error.code} ${step.error.message} recorded, OK came`];
    const view = viewResponse(step.method, answer);
    if (step.response !== null && view !== null) return compareViews(step.response, view);
    const came = answer.toString("base64");
    return came === step.responseBytes
      ? []
      : [`bytes: ${step.responseBytes} recorded, ${came} came`];
  }

  async #stream(step: StreamStep): Promise<string[]> {
    if (step.open === true) this.#streams.set(step.stream, this.#open(step));
    const stream = this.#streams.get(step.stream);
    if (stream === undefined)
      throw new Error(`step ${step.step}: the stream ${step.stream} is not open`);
    for (const { requestBytes } of step.send) stream.call.write(fromBase64(requestBytes));
    if (step.halfClose === true) stream.call.end();
    const isDone = (): boolean =>
      stream.status !== null ||
      (stream.received.length >= step.receive.length && step.end === null);
    await waitFor(stream, isDone, ANSWER_MS);
    await sleep(QUIET_MS);
    const received = stream.received.splice(0);
    const differences = compareViews(
      step.receive.map(({ response }) => response),
      received.map((bytes) => viewResponse(step.method, bytes)),
      "receive",
    );
    const { status } = stream;
    if (status === null)
      return step.end === null
        ? differences
        : [...differences, `end: ${step.end.code} recorded, none came`];
    return [...differences, ...compareStatus(step.end, status)];
  }

  #open(step: StreamStep): OpenStream {
    const call = this.#client.makeBidiStreamRequest(
      step.method,
      identity,
      identity,
      metadataOf(step),
    );
    const stream: OpenStream = { call, received: [], status: null, wake: () => {} };
    call.on("data", (bytes: Buffer) => {
      stream.received.push(bytes);
      stream.wake();
    });
    call.on("status", (status) => {
      stream.status = status;
      stream.wake();
    });
    // Every error comes as a status too.
    call.on("error", () => {});
    return stream;
  }
}

/** `recorded` null stands for a call that succeeded, or a stream that stays open. */
function compareStatus(
  recorded: RecordedStatus | null,
  came: { readonly code: number; readonly details: string },
): string[] {
  const cameText = `${came.code} ${came.details}`;
  if (recorded === null) return [`status: none recorded, ${cameText} came`];
  const isSame =
    recorded.code === came.code &&
    // The text of an OK is the library's business.
    (recorded.anyMessage === true || recorded.code === 0 || recorded.message === came.details);
  return isSame ? [] : [`status: ${recorded.code} ${recorded.message} recorded, ${cameText} came`];
}

function metadataOf(step: Step): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(step.metadata ?? {})) metadata.set(key, value);
  return metadata;
}

function fromBase64(text: string): Buffer {
  return Buffer.from(text, "base64");
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function waitFor(
  stream: OpenStream,
  isDone: () => boolean,
  timeoutMs: number,
): Promise<void> {
  if (isDone()) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, timeoutMs);
    stream.wake = () => {
      if (!isDone()) return;
      clearTimeout(timer);
      resolve();
    };
  });
  stream.wake = () => {};
}
