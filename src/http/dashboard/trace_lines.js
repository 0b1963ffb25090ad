/**
 * A trace as lines, from the first cause on: a message, below it the groups that handled it, below each what it wrote.
 * Each has a key that stays the same when the trace is read again.
 */
export function linesOf({ roots }) {
  const lines = [];
  // Not by calling itself: a trace may be deeper than the stack.
  const open = roots.map((message) => ({ message, by: null, depth: 0 })).reverse();
  while (open.length > 0) {
    const { message, by, depth } = open.pop();
    lines.push({ key: by ? `${message.id} ${by.group}` : message.id, message, by, depth });
    const below = by ? by.led.map((one) => ({ message: one, by: null, depth: depth + 1 })) : [
      ...message.handled.map((handling) => ({ message, by: handling, depth: depth + 1 })),
      ...message.led.map((one) => ({ message: one, by: null, depth: depth + 1 })),
    ];
    open.push(...below.reverse());
  }
  return lines;
}

/** From when to when the messages of a trace were written; `null` if none was. What is scheduled is still to come. */
export function spanOf(trace) {
  let [from, to] = [Infinity, -Infinity];
  const open = [...trace.roots];
  while (open.length > 0) {
    const { time, state, handled, led } = open.pop();
    if (time !== null && state !== "scheduled") [from, to] = [Math.min(from, time), Math.max(to, time)];
    for (const by of handled) {
      if (by.time !== null) to = Math.max(to, by.time);
      open.push(...by.led);
    }
    open.push(...led);
  }
  return from === Infinity ? null : { from, to };
}
