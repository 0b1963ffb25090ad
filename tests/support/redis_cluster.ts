import { connectRedis } from "./redis.ts";
import { RedisServer } from "./services.ts";

const SLOTS = 16_384;

/** A Redis cluster of one's own. */
export class RedisCluster implements AsyncDisposable {
  readonly url: string;
  readonly nodes: readonly RedisServer[];

  private constructor(nodes: readonly RedisServer[]) {
    this.nodes = nodes;
    this.url = `${nodes[0].url}?cluster=true`;
  }

  /** Starts one; every node has its share of the slots. */
  static async start(count = 3): Promise<RedisCluster> {
    const args = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--cluster-node-timeout", "2000"];
    // Nodes talk to each other on a port of their own, ten thousand above.
    const nodes = await Promise.all(Array.from({ length: count }, () => RedisServer.start(args)));
    const admins = nodes.map(({ url }) => connectRedis(url));
    for (const [i, admin] of admins.entries()) {
      const [first, end] = [i, i + 1].map((n) => Math.round(n * SLOTS / count));
      await admin.call("cluster", "addslotsrange", first, end - 1);
      if (i > 0) await admins[0].call("cluster", "meet", "127.0.0.1", nodes[i].port);
    }
    const ready = `cluster_state:ok\r\ncluster_slots_assigned:${SLOTS}\r\n`;
    for (const admin of admins) {
      while (!String(await admin.call("cluster", "info")).includes(ready)) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      await admin.quit();
    }
    return new RedisCluster(nodes);
  }

  /** Deletes everything. */
  async flush(): Promise<void> {
    for (const { url } of this.nodes) {
      const admin = connectRedis(url);
      await admin.flushall();
      await admin.quit();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.nodes) await node.stop();
  }
}
