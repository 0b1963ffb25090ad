import { Redis } from "ioredis";
import { redisUrl } from "./services.ts";

/** A connection of the test's own. */
export function connectRedis(url = redisUrl()): Redis {
  return new Redis(url);
}

/** A key prefix of the test's own; its keys go with the test. */
export function withPrefix(url = redisUrl()): { readonly prefix: string } & AsyncDisposable {
  const prefix = `${crypto.randomUUID().slice(0, 8)}:`;
  return {
    prefix,
    [Symbol.asyncDispose]: async () => {
      const redis = connectRedis(url);
      const keys = await redis.keys(`${prefix}*`);
      if (keys.length > 0) await redis.del(...keys);
      await redis.quit();
    },
  };
}
