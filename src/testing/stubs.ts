/** Globals that reach other systems. */
const REACHING = ["fetch", "WebSocket", "WebSocketStream", "EventSource"];

/**
 * Runs work with globals replaced. What reaches other systems and is not replaced throws, so that a test sends nothing.
 *
 * @param who Who runs, for the error.
 * @param stubs The replacements, by name.
 * @param work The work.
 */
export async function withStubs<T>(
  who: string,
  stubs: Readonly<Record<string, unknown>>,
  work: () => Promise<T>,
): Promise<T> {
  const names = new Set([...REACHING, ...Object.keys(stubs)]);
  const before = new Map([...names].map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]));
  for (const name of names) {
    const refuse = function (): never {
      throw new Error(`"${who}" uses ${name} in a test; pass a stub of it: { ${name}: … }`);
    };
    const value = Object.hasOwn(stubs, name) ? stubs[name] : refuse;
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  try {
    return await work();
  } finally {
    for (const [name, descriptor] of before) {
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else delete (globalThis as Record<string, unknown>)[name];
    }
  }
}
