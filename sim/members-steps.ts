/** The steps of the members world. */
import type { WayWeather } from "../src/env/sim/index.ts";
import type { Change } from "./members-changes.ts";
import type { Rot } from "./members-damage.ts";
import type { End, Halt } from "./members-node.ts";
import type { Request } from "./members-requests.ts";

/** One way: from, to. */
export type Way = readonly [number, number];

/** Every step is followed by `ms` of simulated time. */
export type MembersStep = { readonly ms: number } & (
  | { readonly do: "run" }
  | { readonly do: "request"; readonly request: Request }
  | { readonly do: "crash"; readonly member: number; readonly end: End }
  | ({ readonly do: "crashSoon"; readonly member: number } & Halt)
  /** All of them at once, each in its way. */
  | { readonly do: "outage"; readonly ends: readonly End[] }
  | { readonly do: "stop"; readonly member: number }
  /** `asOld`: should its disk be lost, as if it were not. */
  | { readonly do: "start"; readonly member: number; readonly asOld: boolean }
  /** It ends, should it run, and its disk is lost. */
  | { readonly do: "wipe"; readonly member: number; readonly end: End }
  /** It ends, should it run, and bits rot in its files. `isBeyond`: also where a majority is damaged then. */
  | {
      readonly do: "rot";
      readonly member: number;
      readonly end: End;
      readonly rot: Rot;
      readonly isBeyond: boolean;
    }
  | {
      readonly do: "weather";
      readonly ways: readonly Way[];
      readonly weather: Partial<WayWeather>;
    }
  | { readonly do: "cut"; readonly ways: readonly Way[] }
  | { readonly do: "mend" }
  /** Every link between the two breaks. */
  | { readonly do: "break"; readonly way: Way }
  | { readonly do: "pause"; readonly member: number; readonly forMs: number }
  | { readonly do: "skew"; readonly member: number; readonly skewMs: number }
  | {
      readonly do: "slowDisk";
      readonly member: number;
      readonly operation: "write" | "sync";
      /** Null: until the machine dies. */
      readonly delayMs: number | null;
      readonly times: number;
    }
  | {
      readonly do: "failWrite";
      readonly member: number;
      readonly operation: "write" | "sync";
      readonly path: "log" | "votes" | "data" | "members";
      readonly skip: number;
    }
  | { readonly do: "full"; readonly member: number; readonly spareBytes: number }
  | { readonly do: "room"; readonly member: number }
  | { readonly do: "change"; readonly member: number; readonly change: Change }
  | { readonly do: "handOver"; readonly member: number; readonly to: number }
  /** Faults end, and everything must work again. */
  | { readonly do: "heal" }
);
