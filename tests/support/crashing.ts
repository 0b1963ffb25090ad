/** What a port throws once its process is dead. */
export class ProcessDied extends Error {}

/** Decides when a process dies: before or after one of its calls to the outside. */
export class Fuse {
  /** Whether it has blown. */
  dead = false;
  #left: number;

  /** Burns for so many steps: each call has one before it is carried out, and one after. */
  constructor(steps: number) {
    this.#left = steps;
  }

  /** Wraps a port: once the fuse has blown, nothing gets through any more. */
  wrap<T extends object>(port: T): T {
    return new Proxy(port, {
      get: (target, name) => {
        const value = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        return async (...given: unknown[]) => {
          if (this.dead) throw new ProcessDied();
          this.#burn();
          const result = await value.apply(target, given);
          this.#burn();
          return result;
        };
      },
    });
  }

  #burn(): void {
    this.#left--;
    if (this.#left <= 0) this.dead = true;
    if (this.dead) throw new ProcessDied();
  }
}
