/** A thread of the enumeration: plays the scenarios that it is given, until there is none left. */
import { parentPort } from "node:worker_threads";
import type { ScenarioNumber } from "./exhaustive.ts";
import { runEnumerationSeed } from "./profiles.ts";

const port = parentPort;
port?.on("message", (number: ScenarioNumber) => {
  if (number === undefined) port.close();
  else port.postMessage(runEnumerationSeed(number));
});
