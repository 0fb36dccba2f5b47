/**
 * What a person needs to see when no order explains a history: where the best order ends, what state that leaves,
 * which operation had ended and fits nowhere, and what else was going on. Only operations that began before that end
 * are named, for nothing later matters (checker.ts).
 */
import type { Model } from "./checker.ts";
import { describeSpan, type Operation } from "./history.ts";

const SHOWN_MAX = 12;

export function explainBlocked<State, Input, Output>(
  model: Model<State, Input, Output>,
  name: string,
  order: readonly Operation<Input, Output>[],
  state: State,
  blocked: Operation<Input, Output>,
  overlapping: readonly Operation<Input, Output>[],
): string {
  const show = (operation: Operation<Input, Output>): string =>
    `  ${describeSpan(operation)}: ${model.describe(operation.input, operation.output)}`;
  const where = name === "" ? "" : ` of "${name}"`;
  const lines = [
    `not linearizable as a ${model.name}: no order${where} has a place for`,
    show(blocked),
  ];
  const shown = order.slice(-SHOWN_MAX);
  if (order.length === 0) lines.push("The order that gets furthest is empty.");
  else {
    const skipped = order.length - shown.length;
    const length = skipped === 0 ? "is" : `has ${order.length} operations and ends with`;
    lines.push(`The order that gets furthest ${length}`, ...shown.map(show));
  }
  lines.push(`which leaves the state ${model.describeState(state)}.`);
  if (overlapping.length > 0) {
    lines.push(`Not in it, but begun before time ${blocked.returnedAt}:`);
    lines.push(...overlapping.slice(0, SHOWN_MAX).map(show));
    const more = overlapping.length - SHOWN_MAX;
    if (more > 0) lines.push(`  and ${more} more`);
  }
  return lines.join("\n");
}
