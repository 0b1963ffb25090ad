/**
 * Makes a generator that can be left at any time: `return()` of a plain one that waits is heard only when it has gone on.
 *
 * @param make Makes the generator, which ends when its signal aborts.
 * @param signal Ends it as well.
 */
export function stoppable<T>(
  make: (signal: AbortSignal) => AsyncGenerator<T, void, undefined>,
  signal?: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  const stop = new AbortController();
  const generator = make(signal ? AbortSignal.any([signal, stop.signal]) : stop.signal);
  return {
    next: () => generator.next(),
    return: (value) => {
      stop.abort("done");
      return generator.return(value);
    },
    throw: (error) => {
      stop.abort("done");
      return generator.throw(error);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
    async [Symbol.asyncDispose]() {
      await this.return();
    },
  };
}
