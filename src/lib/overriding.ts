/**
 * Returns an object that does some things in another way, and all else as the original.
 *
 * @param original The original.
 * @param own What is done in another way.
 */
export function overriding<T extends object>(original: T, own: Partial<T>): T {
  return new Proxy(original, {
    get: (target, name) => {
      if (name in own) return own[name as keyof T];
      const value = target[name as keyof T];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
