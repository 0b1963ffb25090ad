/**
 * Awaits a promise, but not for longer than a time.
 *
 * @param milliseconds The time.
 * @param work The promise; what it comes to later is ignored.
 * @param late Creates the error.
 * @returns Its result.
 * @throws {Error} The error, if the promise is not settled in time.
 */
export async function deadline<T>(milliseconds: number, work: Promise<T>, late: () => Error): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), milliseconds);
  });
  work.catch(() => {});
  try {
    return await Promise.race([work, over]);
  } finally {
    clearTimeout(timer);
  }
}
