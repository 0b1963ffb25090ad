/**
 * Waits for something, but not for ever.
 *
 * @param milliseconds How long at most.
 * @param work What to wait for.
 * @returns What it came to; `undefined` when the time was over first.
 */
export async function within<T>(milliseconds: number, work: Promise<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
