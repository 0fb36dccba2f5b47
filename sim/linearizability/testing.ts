/**
 * Histories for tests: written by hand, or made by clients of a machine that carries out one operation at a time at
 * a moment between invocation and answer, so that it is linearizable by construction.
 */
import type { Random } from "../../src/base/index.ts";
import { HistoryRecorder, type Operation } from "./history.ts";

/** An operation before it has an id. */
export type Draft<Input, Output> = Omit<Operation<Input, Output>, "id">;

export function ok<Input, Output>(
  process: number,
  input: Input,
  output: Output,
  invokedAt: number,
  returnedAt: number,
): Draft<Input, Output> {
  return { process, input, output, outcome: "ok", invokedAt, returnedAt };
}

export function open<Input>(process: number, input: Input, invokedAt: number): Draft<Input, never> {
  const nothing = { output: undefined, outcome: "unknown", returnedAt: Infinity } as const;
  return { process, input, invokedAt, ...nothing };
}

export function failed<Input>(
  process: number,
  input: Input,
  invokedAt: number,
  returnedAt: number,
): Draft<Input, never> {
  return { process, input, output: undefined, outcome: "fail", invokedAt, returnedAt };
}

/** Gives each operation its place as its id. */
export function history<Input, Output>(
  ...operations: readonly Draft<Input, Output>[]
): Operation<Input, Output>[] {
  return operations.map((operation, id) => ({ id, ...operation }));
}

export interface GenerateOptions<Input, Output> {
  readonly operations: number;
  readonly clients: number;
  /** Of so many of a hundred operations nobody learns the outcome; half of these happen, at any later time. */
  readonly unknownPercent: number;
  readonly random: Random;
  /** What a client asks next. `ordinal` counts all operations. */
  readonly ask: (ordinal: number) => Input;
  /** The machine. */
  readonly carryOut: (input: Input) => Output;
}

/** What one client waits for. */
interface Request<Input, Output> {
  readonly id: number;
  readonly input: Input;
  output: Output | undefined;
}

export function generateHistory<Input, Output>(
  options: GenerateOptions<Input, Output>,
): readonly Operation<Input, Output>[] {
  const { random, carryOut } = options;
  const recorder = new HistoryRecorder<Input, Output>();
  const clients: (Request<Input, Output> | null)[] = Array.from(
    { length: options.clients },
    () => null,
  );
  /** Requests on their way of which nobody will hear. */
  const strays: Input[] = [];
  let asked = 0;
  for (let time = 0; asked < options.operations || clients.some((one) => one !== null); time++) {
    if (strays.length > 0 && random.percent(3)) {
      carryOut(strays.splice(random.below(strays.length), 1)[0] as Input);
    }
    const client = random.below(clients.length);
    const request = clients[client] ?? null;
    if (request === null) {
      if (asked === options.operations) continue;
      const input = options.ask(asked++);
      const id = recorder.invoke(client, input, time);
      if (!random.percent(options.unknownPercent))
        clients[client] = { id, input, output: undefined };
      else if (random.percent(50)) strays.push(input);
    } else if (request.output === undefined) {
      request.output = carryOut(request.input);
    } else {
      recorder.ok(request.id, request.output, time);
      clients[client] = null;
    }
  }
  return recorder.operations();
}
